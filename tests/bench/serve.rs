//! Requests: the same hello component under `wharf serve` and under `wasmtime serve`, in turns, and
//! beside them what hyper alone takes.

use std::path::Path;
use std::process::Command;

use super::harness::manifest::Scratch;
use super::harness::{artifacts, scratch};
use super::load::{self, Load, Run};
use super::plain;
use super::process::{Announces, Cores, Server, output_of};
use super::settings::Settings;
use super::table::{Aim, Row, Spread, Table, number};

/// The release that the aims were set against, which is also the runtime within `wharf`.
const RELEASE: &str = "wasmtime 48.";

/// What can be tuned by options: memory, tables and stacks kept resident, and scanned for what was
/// written. Support for concurrency within a component cannot be switched off: `wasmtime serve`
/// runs every request with it.
const TUNED: [&str; 2] = [
    "-O",
    "pooling-allocator=y,pooling-memory-keep-resident=1048576,pooling-table-keep-resident=65536,\
     pooling-async-stack-keep-resident=65536,pooling-pagemap-scan=y",
];

/// Instances reused so often that instantiating them no longer shows.
const REUSED: [&str; 2] = ["--max-instance-reuse-count", "1000"];
const FRESH: [&str; 2] = ["--max-instance-reuse-count", "1"];

/// One comparison: the same guest, the same options on both sides.
struct Figure {
    name: &'static str,
    guest: &'static str,
    options: &'static [&'static str],
    aim: Option<Aim>,
    /// `wasmtime serve` takes part a second time, tuned.
    tuned: bool,
    /// hyper alone takes part.
    plain: bool,
}

const FIGURES: [Figure; 4] = [
    Figure {
        name: "GET hello, 0.2, fresh instance per request",
        guest: "readme",
        options: &FRESH,
        aim: Some(Aim(0.45)),
        tuned: true,
        plain: false,
    },
    Figure {
        name: "GET hello, 0.2, instance reused 1000 times",
        guest: "readme",
        options: &REUSED,
        aim: Some(Aim(0.6)),
        tuned: false,
        plain: true,
    },
    Figure {
        name: "GET hello, 0.3, instance reused 128 times, 16 requests at once (both defaults)",
        guest: "hello3",
        options: &[],
        aim: Some(Aim(0.9)),
        tuned: false,
        plain: false,
    },
    Figure {
        name: "GET hello, 0.3, fresh instance per request",
        guest: "hello3",
        options: &FRESH,
        aim: None,
        tuned: false,
        plain: false,
    },
];

/// One of those who serve.
#[derive(Clone, Copy)]
enum Contender {
    Wharf,
    Wasmtime,
    Tuned,
    Plain,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Wharf => "`wharf serve`",
            Self::Wasmtime => "`wasmtime serve`",
            Self::Tuned => "`wasmtime serve`, tuned",
            Self::Plain => "hyper alone, no component",
        }
    }

    fn start(self, guest: &Path, options: &[&str], state: &Scratch, core: Option<usize>) -> Server {
        match self {
            Self::Wharf => {
                let mut command = wharf(guest, state);
                Server::start(command.args(options), Announces::Json, core)
            }
            Self::Plain => Server::start(&mut plain::command(), Announces::Json, core),
            Self::Wasmtime | Self::Tuned => {
                let mut command = Command::new("wasmtime");
                command.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"]);
                if let Self::Tuned = self {
                    command.args(TUNED);
                }
                command.args(options).arg(guest);
                Server::start(&mut command, Announces::Sentence, core)
            }
        }
    }
}

/// `wharf serve` with its ordinary limits, routing and metrics.
pub fn wharf(guest: &Path, state: &Scratch) -> Command {
    let mut command = artifacts::command();
    // Its lifecycle is of no interest beside the table.
    command.env("WHARF_LOG", "error").arg("serve").arg(guest);
    command.args(["--addr", "127.0.0.1:0", "--print-addresses", "--state-dir"]);
    command.arg(state.path());
    command
}

/// The version of the `wasmtime` on the path, or why there is nothing to compare with.
fn wasmtime() -> Result<String, String> {
    let install = "`cargo install --locked wasmtime-cli@48.0.8` installs it";
    let version = output_of(Command::new("wasmtime").arg("--version"));
    let version = version.map_err(|error| format!("no wasmtime: {error}; {install}"))?;
    if version.starts_with(RELEASE) {
        return Ok(version);
    }
    Err(format!("{version} is not {RELEASE}x; {install}"))
}

pub fn measure(settings: &Settings, table: &mut Table) {
    let version = wasmtime();
    let cores = Cores::apart();
    for figure in &FIGURES {
        let mut contenders = vec![Contender::Wharf];
        match &version {
            Ok(_) => contenders.push(Contender::Wasmtime),
            Err(why) => table.skip(figure.name, Contender::Wasmtime.name(), why),
        }
        if version.is_ok() && figure.tuned {
            contenders.push(Contender::Tuned);
        }
        if figure.plain {
            contenders.push(Contender::Plain);
        }
        let runs = alternate(figure, &contenders, settings, cores);
        report(figure, &contenders, &runs, table);
    }
    let place = match cores {
        Some(cores) => format!(
            "server on core {}, load on core {}",
            cores.server, cores.load
        ),
        None => "server and load on the same cores: there are not two".to_owned(),
    };
    table.note(format!(
        "Requests: {}; {place}; a new process for each run, which is under load for 1 s before it \
         counts. CPU is the user and system time of the server's process.",
        version.unwrap_or_else(|why| why)
    ));
}

/// A B A B ...: each contender's runs, in the order of the contenders.
fn alternate(
    figure: &Figure,
    contenders: &[Contender],
    settings: &Settings,
    cores: Option<Cores>,
) -> Vec<Vec<Run>> {
    let guest = artifacts::guest(figure.guest);
    let state = scratch();
    let load = Load {
        path: "/",
        connections: settings.connections,
        run: settings.run,
    };
    let mut runs: Vec<Vec<Run>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..settings.rounds {
        for (contender, runs) in contenders.iter().zip(&mut runs) {
            let core = cores.map(|cores| cores.server);
            let server = contender.start(&guest, figure.options, &state, core);
            runs.push(load::run(&load, &server, cores));
        }
    }
    runs
}

fn report(figure: &Figure, contenders: &[Contender], runs: &[Vec<Run>], table: &mut Table) {
    let spreads: Vec<Spread> = runs
        .iter()
        .map(|runs| Spread::of(runs.iter().map(|run| run.cpu_micros)))
        .collect();
    for (index, contender) in contenders.iter().enumerate() {
        let own = &spreads[index];
        let mut row = Row::new(figure.name, contender.name(), own, "µs CPU per request")
            .beside(beside(&runs[index]));
        if let Contender::Wharf = contender {
            for (other, spread) in contenders.iter().zip(&spreads).skip(1) {
                let aim = match other {
                    Contender::Wasmtime => figure.aim,
                    Contender::Wharf | Contender::Tuned | Contender::Plain => None,
                };
                row = row.ratio(own, spread, other.name(), aim);
            }
        }
        table.add(row);
    }
}

fn beside(runs: &[Run]) -> String {
    let median = |of: fn(&Run) -> f64| number(Spread::of(runs.iter().map(of)).median());
    format!(
        "{} requests/s, p50 {} ms, p99 {} ms",
        median(|run| run.requests_per_second),
        median(|run| run.p50_ms),
        median(|run| run.p99_ms)
    )
}
