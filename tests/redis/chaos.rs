//! Nothing is lost when anything dies: the storm, as far as every run of the tests can have it.

use super::storm::{self, Plan};

/// The bench makes ten thousand.
const MESSAGES: u64 = 400;

const BLOWS: u64 = 24;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_booked_twice_while_hosts_and_redis_die_and_are_cut_off() {
    let plan = Plan {
        messages: MESSAGES,
        blows: BLOWS,
        seed: storm::seed(),
    };
    let report = storm::run(&plan).await;
    assert!(report.deliveries >= MESSAGES, "{report}");
    eprintln!("seed {}: {report}", plan.seed);
}
