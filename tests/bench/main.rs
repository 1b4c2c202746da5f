//! The figures: what a request, a call, a message, a conversion and a start cost, as one markdown
//! table.
//!
//! `cargo bench -p wharf-tests` runs the real binary, built as it is deployed (profile `dist`) unless
//! `WHARF_BINARY` names another, and beside it what it is compared with; the table carries the machine,
//! the commit and the spread. Options choose sections and counts: `cargo bench -p wharf-tests -- --only
//! serve,calls --rounds 3 --seconds 2`.
//!
//! It asserts nothing of the figures: a shared machine makes no promises.

#![allow(
    clippy::unwrap_used,
    reason = "a figure that cannot be measured ends the bench with its reason, as a test would"
)]

mod calls;
mod chaos;
mod consumer;
mod convert;
mod idle;
mod latency;
mod load;
mod plain;
mod process;
mod rollout;
mod serve;
mod settings;
mod start;
mod streams;
mod table;
mod throughput;

#[path = "../media/app.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod app;
#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
mod harness;

mod media {
    pub use super::app::{User, manifest};
}
#[path = "../rollouts"]
mod rollouts {
    #[allow(dead_code, reason = "the tests use the rest of it")]
    pub mod load;
    pub mod soak;
    pub mod timeline;
}

#[path = "../redis"]
mod redis {
    #[allow(dead_code, reason = "the tests use the rest of it")]
    pub mod fleet;
    pub mod storm;
}

use settings::{Section, Settings};
use table::Table;

fn main() {
    if std::env::args().any(|argument| argument == plain::ARGUMENT) {
        return plain::serve();
    }
    let settings = match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}\n{}", settings::USAGE);
            std::process::exit(2);
        }
    };
    if !cfg!(target_os = "linux") {
        println!("The figures need Linux: they read /proc and pin processes to cores.");
        return;
    }
    harness::artifacts::deployed();
    let mut table = Table::new(&settings);
    for section in &settings.sections {
        match section {
            Section::Serve => serve::measure(&settings, &mut table),
            Section::Calls => calls::measure(&settings, &mut table),
            Section::Convert => convert::measure(&settings, &mut table),
            Section::Start => start::measure(&settings, &mut table),
            Section::Rollout => rollout::measure(&settings, &mut table),
            Section::Streams => streams::measure(&settings, &mut table),
            Section::Chaos => chaos::measure(&settings, &mut table),
        }
    }
    println!("{table}");
}
