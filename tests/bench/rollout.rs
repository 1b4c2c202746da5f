//! Rollouts: how long one takes, what the traffic notices of it, and what a thousand leave behind.
//!
//! The server is on no core of its own: what a rollout compiles is to run beside the traffic, not
//! instead of it. The load is on one core, as in the other sections.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::held::Held;
use super::harness::{Host, Launch, Manifest, Operator, Swap, artifacts, variant};
use super::load::{self, Load, Timed, quantile_of};
use super::process::Cores;
use super::rollouts::soak;
use super::settings::Settings;
use super::table::{Aim, Row, Spread, Table, number};

/// Before and after a switch, what counts as around it.
const AROUND: Duration = Duration::from_secs(1);

/// From one swap to the next, so that there is steady traffic in between.
const APART: Duration = Duration::from_secs(4);

/// Swaps before memory is looked at for the first time.
const WARM_UP: usize = 10;

/// What a swap changes.
#[derive(Clone, Copy)]
enum New {
    /// Its bytes, so that they are compiled.
    Bytes,
    /// Its environment alone.
    Configuration,
}

/// A component under the bench.
struct Subject {
    component: &'static str,
    host: Host,
    operator: Operator,
    bytes: Vec<u8>,
}

impl Subject {
    async fn hello() -> Self {
        let manifest = Manifest::serving("hello", "");
        let host = Launch::of(&manifest).start().await;
        Self::of("hello", host)
    }

    async fn converter() -> Self {
        let host = Launch::at(&artifacts::application()).start().await;
        Self::of("converter", host)
    }

    fn of(component: &'static str, host: Host) -> Self {
        let path = match component {
            "hello" => artifacts::guest("hello"),
            name => artifacts::root().join(format!("target/wasm32-wasip2/release/{name}.wasm")),
        };
        let operator = Operator::of(&host);
        Self {
            component,
            host,
            operator,
            bytes: std::fs::read(path).expect("it was built"),
        }
    }

    /// Swaps it, with the artifact uploaded before; the rollout, when it was asked for, and when its
    /// switch was announced.
    async fn swap(&self, new: New, round: usize) -> (Value, Instant, Instant) {
        let name = format!("round {round}");
        let mut swap = Swap::to_revision(&name);
        if let New::Bytes = new {
            let digest = self.operator.upload(variant(&self.bytes, &name)).await;
            swap = swap.artifact(&digest);
        }
        let asked = Instant::now();
        let id = self.operator.begin(self.component, swap).await;
        self.operator.events(id).await.decision().await;
        let announced = Instant::now();
        let rollout = self.operator.rollout(id).await;
        super::harness::operator::assert_success(&rollout);
        (rollout, asked, announced)
    }
}

pub fn measure(settings: &Settings, table: &mut Table) {
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");
    for new in [New::Bytes, New::Configuration] {
        let hello = runtime.block_on(Subject::hello());
        runtime.block_on(until_active(&hello, new, settings, table));
        let converter = runtime.block_on(Subject::converter());
        runtime.block_on(until_active(&converter, new, settings, table));
    }
    for new in [New::Bytes, New::Configuration] {
        around_a_switch(&runtime, new, settings, table);
    }
    beside_a_compile(&runtime, settings, table);
    runtime.block_on(memory(settings, table));
    let report = runtime.block_on(soak::run(settings.swaps));
    let failed = Spread::of([0.0]);
    let figure = format!(
        "{} swaps of every component in turn, under load",
        report.swaps
    );
    let row = Row::new(
        &figure,
        "requests failed, effects lost or doubled",
        &failed,
        "",
    );
    table.add(row.beside(format!(
        "{} requests, {} messages, {} conversions, in {} s; p99 of the page {} ms",
        report.requests,
        report.messages,
        report.uploads,
        number(report.took.as_secs_f64()),
        number(report.p99.as_secs_f64() * 1e3)
    )));
}

/// From asking for a swap, with the artifact uploaded, to the announcement of the switch.
async fn until_active(subject: &Subject, new: New, settings: &Settings, table: &mut Table) {
    let (mut totals, mut steps) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let (rollout, asked, announced) = subject.swap(new, round).await;
        totals.push((announced - asked).as_secs_f64() * 1e3);
        steps.push(rollout["steps"].as_array().expect("a list").clone());
        subject.operator.alone(subject.component).await;
    }
    let of = match new {
        New::Bytes => "new bytes, compiled",
        New::Configuration => "new configuration, code from the cache",
    };
    let figure = format!("{}: from artifact to active", subject.component);
    let row = Row::new(&figure, of, &Spread::of(totals), "ms");
    table.add(row.beside(step_by_step(&steps)));
}

/// The median of each step, in the order of the steps.
fn step_by_step(rounds: &[Vec<Value>]) -> String {
    let took = |steps: &[Value], name: &Value| {
        let step = steps.iter().find(|step| step["step"] == *name)?;
        step["took_ms"].as_f64()
    };
    let names = rounds[0].iter().map(|step| &step["step"]);
    let before_drain = names.filter(|name| !matches!(name.as_str(), Some("drain" | "retire")));
    let texts = before_drain.map(|name| {
        let spread = Spread::of(rounds.iter().filter_map(|steps| took(steps, name)));
        let name = name.as_str().expect("a name");
        format!("{name} {} ms", number(spread.median()))
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Latency in the seconds around a switch of `hello`, against that between them.
fn around_a_switch(
    runtime: &tokio::runtime::Runtime,
    new: New,
    settings: &Settings,
    table: &mut Table,
) {
    let subject = runtime.block_on(Subject::hello());
    let load = Load {
        path: "/",
        connections: settings.connections,
        run: settings.run,
    };
    let core = Cores::apart().map(|cores| cores.load);
    let (swaps, answers) = load::beside(&load, subject.host.http, core, || {
        let mut swaps = Vec::new();
        for round in 0..settings.rounds {
            std::thread::sleep(APART);
            let (_, asked, announced) = runtime.block_on(subject.swap(new, round));
            swaps.push((asked, announced));
        }
        std::thread::sleep(AROUND);
        swaps
    });
    // The first second is the load's own start.
    let begun = answers.first().expect("it was answered").0 + Duration::from_secs(1);
    let (mut near, mut steady) = (vec![Vec::new(); swaps.len()], Vec::new());
    for answer in answers.into_iter().filter(|answer| answer.0 > begun) {
        let close = |(asked, announced): &(Instant, Instant)| {
            answer.0 + AROUND > *asked && answer.0 < *announced + AROUND
        };
        match swaps.iter().position(close) {
            Some(index) => near[index].push(answer),
            None => steady.push(answer),
        }
    }
    let steady_p99 = Spread::of([quantile_of(&steady, 0.99)]);
    let p99 = Spread::of(near.iter().map(|answers| quantile_of(answers, 0.99)));
    let p50 = Spread::of(near.iter().map(|answers| quantile_of(answers, 0.50)));
    let of = match new {
        New::Bytes => "hello, new bytes, compiled",
        New::Configuration => "hello, new configuration",
    };
    let beside = format!(
        "p50 {} ms; steady: p50 {} ms, p99 {} ms",
        number(p50.median()),
        number(quantile_of(&steady, 0.50)),
        number(steady_p99.median())
    );
    let row = Row::new("p99 from 1 s before a swap to 1 s after it", of, &p99, "ms");
    let row = row.beside(beside);
    table.add(row.ratio(&p99, &steady_p99, "steady", Some(Aim(1.2))));
}

/// Requests of the gateway's page while the converter is compiled, against before.
fn beside_a_compile(runtime: &tokio::runtime::Runtime, settings: &Settings, table: &mut Table) {
    let subject = runtime.block_on(Subject::converter());
    let load = Load {
        path: "/",
        connections: settings.connections,
        run: settings.run,
    };
    let core = Cores::apart().map(|cores| cores.load);
    let ((before, compiles), answers) = load::beside(&load, subject.host.http, core, || {
        std::thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        std::thread::sleep(settings.run);
        let before = (begun, Instant::now());
        let compile = |round| runtime.block_on(compiled(&subject, round));
        (
            before,
            (0..settings.rounds).map(compile).collect::<Vec<_>>(),
        )
    });
    let rate = |(from, to): (Instant, Instant)| {
        let within = |answer: &&Timed| (from..to).contains(&answer.0);
        answers.iter().filter(within).count() as f64 / (to - from).as_secs_f64()
    };
    let steady = rate(before);
    let lost = Spread::of(
        compiles
            .iter()
            .map(|compile| (steady - rate(*compile)).max(0.0)),
    );
    let took = Spread::of(
        compiles
            .iter()
            .map(|(from, to)| (*to - *from).as_secs_f64()),
    );
    let row = Row::new(
        "requests lost while a candidate compiles",
        "the gateway's page, beside the converter",
        &lost,
        "requests/s",
    );
    table.add(row.beside(format!(
        "of {} requests/s; the compile takes {} s",
        number(steady),
        number(took.median())
    )));
}

/// Swaps in new bytes; when their compiling began and ended.
async fn compiled(subject: &Subject, round: usize) -> (Instant, Instant) {
    let name = format!("beside {round}");
    let digest = subject
        .operator
        .upload(variant(&subject.bytes, &name))
        .await;
    let swap = Swap::to_revision(&name).artifact(&digest);
    let id = subject.operator.begin(subject.component, swap).await;
    let mut events = subject.operator.events(id).await;
    events.until_begun("compile").await;
    let began = Instant::now();
    events
        .until(|event| event["event"] == "done" && event["step"] == "compile")
        .await;
    let ended = Instant::now();
    events.decision().await;
    subject.operator.alone(subject.component).await;
    (began, ended)
}

/// Resident memory after so many swaps, against that after the first few.
async fn memory(settings: &Settings, table: &mut Table) {
    let subject = Subject::hello().await;
    let held = async |swaps: std::ops::Range<usize>| {
        for round in swaps {
            subject.swap(New::Configuration, round).await;
        }
        subject.operator.alone(subject.component).await;
        Held::by(subject.host.pid())
    };
    let before = held(0..WARM_UP).await;
    let after = held(WARM_UP..WARM_UP + settings.swaps).await;
    let mib = |held: &Held| Spread::of([held.resident_kib / 1024.0]);
    let figure = format!("memory after {} swaps of hello", settings.swaps);
    let row = Row::new(&figure, "VmRSS", &mib(&after), "MiB").beside(format!(
        "{} MiB after {WARM_UP}; descriptors {} and {}, threads {} and {}",
        number(mib(&before).median()),
        before.descriptors,
        after.descriptors,
        before.threads,
        after.threads
    ));
    let to = format!("that after {WARM_UP}");
    table.add(row.ratio(&mib(&after), &mib(&before), &to, Some(Aim(1.1))));
}
