//! The storm as a whole: what the tests make with hundreds of messages, with ten thousand.

use super::redis::storm::{self, Plan};
use super::settings::Settings;
use super::table::{Row, Spread, Table};

/// Messages that are published from one blow to the next.
const MESSAGES_PER_BLOW: u64 = 40;

pub fn measure(settings: &Settings, table: &mut Table) {
    let messages = u64::from(settings.storm);
    let plan = Plan {
        messages,
        blows: messages.div_ceil(MESSAGES_PER_BLOW),
        seed: storm::seed(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");
    // It ends the bench where anything is lost, doubled, or given up that should not be.
    let report = runtime.block_on(storm::run(&plan));
    let figure = format!("{messages} messages through a storm (seed {})", plan.seed);
    let of = "effects lost, idempotent effects doubled, messages given up wrongly";
    let row = Row::new(&figure, of, &Spread::of([0.0]), "of them");
    table.add(row.beside(report.to_string()));
    table.note(format!(
        "Storm: {} hosts on one Redis (append-only file, appendfsync always), hosts and Redis killed \
         with SIGKILL and started again, Redis stopped for up to 3 s, connections cut in \
         mid-command and held up for up to 3 s; lease 2 s, 30 deliveries.",
        storm::HOSTS
    ));
}
