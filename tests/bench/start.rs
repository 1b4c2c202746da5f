//! Starts: from the start of the process to the first answer, and what memory it holds when idle.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::harness::manifest::Scratch;
use super::harness::{artifacts, scratch};
use super::load::first_answer_ms;
use super::process::{Announces, Server};
use super::serve;
use super::settings::Settings;
use super::table::{Aim, Row, Spread, Table};

/// Longer than an idle instance is kept, and than a start leaves anything to do.
const UNTIL_IDLE: Duration = Duration::from_secs(3);

/// Milliseconds from a process's start to its first response, once its code is compiled.
const WARM: Aim = Aim(100.0);

/// `wharf up` as a user starts it, on free ports.
pub fn up(manifest: &Path, state: &Scratch) -> Command {
    let mut command = artifacts::command();
    command.env("WHARF_LOG", "error").arg("up").arg(manifest);
    command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--print-addresses", "--state-dir"]);
    command.arg(state.path());
    command
}

pub fn measure(settings: &Settings, table: &mut Table) {
    let hello = artifacts::guest("hello");
    let media = artifacts::application();
    of("`wharf serve`, hello 0.2", settings, table, |state| {
        serve::wharf(&hello, state)
    });
    of(
        "`wharf up`, the media application",
        settings,
        table,
        |state| up(&media, state),
    );
}

fn of(name: &str, settings: &Settings, table: &mut Table, command: impl Fn(&Scratch) -> Command) {
    let (mut first, mut warm, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let state = scratch();
        let start = || {
            let server = Server::start(&mut command(&state), Announces::Json, None);
            let elapsed_ms = first_answer_ms(&server, "/");
            (server, elapsed_ms)
        };
        first.push(start().1);
        let (server, elapsed_ms) = start();
        warm.push(elapsed_ms);
        std::thread::sleep(UNTIL_IDLE);
        idle.push(server.memory_mib("VmRSS:"));
    }
    let figure = "start of the process to the first response";
    let beside = "empty state directory: everything is compiled";
    table.add(Row::new(figure, name, &Spread::of(first), "ms").beside(beside));
    let warm = Spread::of(warm);
    let row = Row::new(figure, name, &warm, "ms").aim(&warm, WARM, "ms");
    table.add(row.beside("compiled code is cached"));
    let beside = format!("VmRSS, {} s after the first response", UNTIL_IDLE.as_secs());
    table.add(Row::new("memory when idle", name, &Spread::of(idle), "MiB").beside(beside));
}
