//! What the commands share that speak to a running host.

mod ask;
mod follow;
mod parse;
mod progress;
mod table;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;

pub(super) use ask::{AskError, Client};
pub(super) use follow::{Until, follow, follow_all, verdict};
pub(super) use parse::setting;
pub(super) use progress::Progress;
pub(super) use table::{Side, Table};
pub(super) use words::{ago, bytes, number, share, took};

use crate::config::defaults;

/// Which host is asked, and how its answer is printed.
#[derive(Args)]
pub struct Options {
    /// The operators' address of the host. [default: what the host wrote to its state directory]
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<SocketAddr>,
    /// The state directory of the host, where its token is.
    #[arg(long, value_name = "DIR", default_value = defaults::STATE_DIR)]
    pub(super) state_dir: PathBuf,
    /// How the result is printed to standard output. Progress goes to standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Output,
}

/// How a result is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

impl Options {
    /// Prints a result: `text` makes what people read.
    pub(super) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(value)?),
            Output::Text => println!("{}", text(value).trim_end()),
        }
        Ok(())
    }
}

/// Runs what a command does. ^C ends it at once, unless it has said otherwise.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the command's thread cannot be prepared")?;
    runtime.block_on(work)
}

/// Who asks, for the history: the user at this machine.
pub(super) fn asker() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let machine = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok())
        .map(|text| text.trim().to_owned())
        .filter(|name| !name.is_empty())
        .or_else(|| variable("HOSTNAME"));
    format!("{user}@{}", machine.as_deref().unwrap_or("localhost"))
}
