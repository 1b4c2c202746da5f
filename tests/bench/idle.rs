//! What it costs that many subscriptions wait for messages that do not come.

use std::fmt::Write as _;
use std::time::Duration;

use super::harness::scratch;
use super::process::cpu_seconds_by;
use super::settings::Settings;
use super::streams::{embedded, on, redis};
use super::table::{Aim, Row, Spread, Table, number};

const SUBJECTS: usize = 1000;

/// Per cent of one core, host and Redis together.
const AIM: Aim = Aim(5.0);

/// A host that has just started has this much to do yet.
const UNTIL_IDLE: Duration = Duration::from_secs(5);

/// Long enough that ticks of a hundredth of a second are fine enough.
const WATCHED_AT_LEAST: Duration = Duration::from_secs(10);

fn application() -> String {
    let mut text = "[component.noop]\nartifact = \"{noop.wasm}\"\n".to_owned();
    for number in 0..SUBJECTS {
        let _ = writeln!(text, "[[subscription]]\nsubject = \"idle.{number}\"");
        text.push_str("component = \"noop\"\n");
    }
    text
}

/// Per cent of a core that each of these processes takes, from when they are idle.
async fn watch<const N: usize>(pids: [u32; N], settings: &Settings) -> [f64; N] {
    tokio::time::sleep(UNTIL_IDLE).await;
    let before = pids.map(cpu_seconds_by);
    let watched = settings.run.max(WATCHED_AT_LEAST);
    tokio::time::sleep(watched).await;
    let after = pids.map(cpu_seconds_by);
    std::array::from_fn(|index| 100.0 * (after[index] - before[index]) / watched.as_secs_f64())
}

pub async fn measure(settings: &Settings, table: &mut Table) {
    let figure = format!("{SUBJECTS} idle subjects, a subscription each");
    let application = application();
    let (mut hosts, mut servers, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let redis = redis();
        let host = on(&redis, "idle", &application, &scratch()).start().await;
        let [of_host, of_redis] = watch([host.pid(), redis.id()], settings).await;
        hosts.push(of_host);
        servers.push(of_redis);
        both.push(of_host + of_redis);
    }
    let both = Spread::of(both);
    let beside = format!(
        "the host's process {} %, Redis {} %",
        number(Spread::of(hosts).median()),
        number(Spread::of(servers).median())
    );
    let of = "`wharf up` on Redis: host's process and Redis";
    let row = Row::new(&figure, of, &both, "% of one core").beside(beside);
    table.add(row.aim(&both, AIM, "% of one core"));

    let host = embedded(&application, &scratch()).start().await;
    let [of_host] = watch([host.pid()], settings).await;
    let of = "`wharf up` on the embedded store";
    table.add(Row::new(
        &figure,
        of,
        &Spread::of([of_host]),
        "% of one core",
    ));
}
