//! The promise as a whole: hundreds of swaps under load, and nothing is dropped.

use super::soak;

/// Each takes a few tenths of a second beside the load on two cores. The bench makes a thousand.
const SWAPS: usize = 208;

#[tokio::test(flavor = "multi_thread")]
async fn every_component_is_swapped_in_turn_and_nothing_is_lost_doubled_or_answered_by_the_wrong_one()
 {
    let report = soak::run(SWAPS).await;
    assert_eq!(report.swaps, SWAPS);
    eprintln!(
        "{} requests, {} messages and {} conversions during {SWAPS} swaps in {:?}; p99 {:?}",
        report.requests, report.messages, report.uploads, report.took, report.p99
    );
}
