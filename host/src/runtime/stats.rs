//! What one revision's work came to: the figures that a canary is judged by.
//!
//! Metrics are counted by component, for operators, over the host's life. These are counted by
//! revision, and whoever compares two revisions takes the difference of two samples of each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use histogram::{AtomicHistogram, Histogram};

/// Buckets to each power of two are 2 to the power of this: latencies are known to 1/16.
const GROUPING_POWER: u8 = 4;

/// Latencies are counted up to 2 to the power of this, in microseconds: 19 hours.
const MAX_VALUE_POWER: u8 = 36;

/// Counters of one revision. Counting is a few atomic additions.
pub struct Stats {
    failed: AtomicU64,
    traps: AtomicU64,
    latency: AtomicHistogram,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            failed: AtomicU64::new(0),
            traps: AtomicU64::new(0),
            latency: AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER)
                .expect("the powers are in range"),
        }
    }
}

impl Stats {
    /// Counts a piece of work that ended: a request that was answered, a delivery that was handled, a
    /// typed call that returned, or any of them that failed.
    pub fn ended(&self, failed: bool, latency: Duration) {
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let largest = (1 << MAX_VALUE_POWER) - 1;
        self.latency
            .increment(micros.min(largest))
            .expect("the value is in range");
    }

    /// Counts a trap, whatever it was working for.
    pub fn trapped(&self) {
        self.traps.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn sample(&self) -> Sample {
        Sample {
            failed: self.failed.load(Ordering::Relaxed),
            traps: self.traps.load(Ordering::Relaxed),
            latency: self.latency.load(),
        }
    }
}

/// What a revision's work came to, over its life or between two moments of it.
#[derive(Clone)]
pub struct Sample {
    /// Pieces of work that failed.
    pub failed: u64,
    /// Traps.
    pub traps: u64,
    latency: Histogram,
}

impl Sample {
    /// What came after `earlier`, a sample of the same revision.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            failed: self.failed.saturating_sub(earlier.failed),
            traps: self.traps.saturating_sub(earlier.traps),
            latency: self
                .latency
                .wrapping_sub(&earlier.latency)
                .expect("all samples have the same buckets"),
        }
    }

    /// Pieces of work that ended, well or not.
    pub fn ended(&self) -> u64 {
        self.latency.as_slice().iter().sum()
    }

    /// The share of them that failed, from 0 to 1.
    pub fn error_ratio(&self) -> f64 {
        ratio(self.failed, self.ended())
    }

    /// Traps for each piece of work.
    pub fn trap_ratio(&self) -> f64 {
        ratio(self.traps, self.ended())
    }

    /// The latency that 99 of 100 stayed within; `None` where nothing ended.
    pub fn p99(&self) -> Option<Duration> {
        let bucket = self.latency.quantile_bucket(0.99).ok()??;
        Some(Duration::from_micros(bucket.end()))
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_only_what_came_between() {
        let stats = Stats::default();
        for _ in 0..100 {
            stats.ended(false, Duration::from_millis(1));
        }
        let before = stats.sample();
        for n in 0..200 {
            stats.ended(n % 10 == 0, Duration::from_millis(10));
        }
        stats.trapped();
        let between = stats.sample().since(&before);
        assert_eq!(between.ended(), 200);
        assert_eq!(between.error_ratio(), 0.1);
        assert_eq!(between.trap_ratio(), 0.005);
        let p99 = between.p99().expect("something ended").as_secs_f64();
        assert!((0.010..0.011).contains(&p99), "{p99}");
    }

    #[test]
    fn where_nothing_ended_nothing_is_said() {
        let sample = Stats::default().sample();
        assert_eq!(sample.ended(), 0);
        assert_eq!(sample.error_ratio(), 0.0);
        assert_eq!(sample.p99(), None);
    }

    #[test]
    fn the_longest_latency_is_counted() {
        let stats = Stats::default();
        stats.ended(true, Duration::MAX);
        assert_eq!(stats.sample().ended(), 1);
    }
}
