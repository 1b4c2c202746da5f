//! Waiting for something to become true, within a limit.

use std::time::Duration;

use tokio::time::Instant;

/// How often is looked: short beside anything that a person would notice.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it answers; panics with `what` after `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    let mut rounds = tokio::time::interval(INTERVAL);
    loop {
        rounds.tick().await;
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
    }
}

/// Asserts that `probe` stays silent for `long`: for what must not happen.
pub async fn never_within(what: &str, long: Duration, mut probe: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + long;
    let mut rounds = tokio::time::interval(INTERVAL);
    while Instant::now() < deadline {
        rounds.tick().await;
        assert!(!probe().await, "{what}");
    }
}
