//! Judging a canary: the candidate against the active revision, over the same time.
//!
//! Pure: two samples in, a verdict out.

use std::fmt;
use std::time::Duration;

use crate::runtime::Sample;

/// Pieces of work on each side without which nothing is decided. With fewer, a single failure would
/// be more than the error ratio that is tolerated.
pub const SAMPLES_MIN: u64 = 100;

/// How much larger the candidate's error ratio may be: one point.
const ERROR_RATIO_EXCESS_MAX: f64 = 0.01;

/// How much larger the candidate's traps for each piece of work may be: half a point. A trap is worse
/// than an error that the component chose to answer.
const TRAP_RATIO_EXCESS_MAX: f64 = 0.005;

/// Pieces of work on each side below which the p99 latency is not looked at, whatever the minimum: of
/// fewer it is the slowest one, which says nothing.
const P99_SAMPLES_MIN: u64 = 50;

/// How many times the active revision's p99 latency the candidate's may be.
const P99_FACTOR_MAX: u32 = 2;

/// What comes on top of it: among latencies of a millisecond, twice as much is noise.
const P99_SLACK: Duration = Duration::from_millis(5);

/// What the samples say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is too little to judge by.
    TooFew {
        /// Of the side that has fewer.
        samples: u64,
    },
    /// The candidate is no worse.
    Good,
    /// It is worse, in this way.
    Bad(String),
}

/// Compares what both did over the same time.
pub fn judge(active: &Sample, candidate: &Sample, samples_min: u64) -> Verdict {
    let samples = active.ended().min(candidate.ended());
    if samples < samples_min.max(1) {
        return Verdict::TooFew { samples };
    }
    if candidate.trap_ratio() > active.trap_ratio() + TRAP_RATIO_EXCESS_MAX {
        let (new, old) = (candidate.traps, active.traps);
        return Verdict::Bad(format!(
            "it trapped {new} times in {}, the active revision {old} times in {}",
            candidate.ended(),
            active.ended()
        ));
    }
    if candidate.error_ratio() > active.error_ratio() + ERROR_RATIO_EXCESS_MAX {
        return Verdict::Bad(format!(
            "{} of its {} pieces of work failed, {} of {} of the active revision's",
            candidate.failed,
            candidate.ended(),
            active.failed,
            active.ended()
        ));
    }
    if samples < P99_SAMPLES_MIN {
        return Verdict::Good;
    }
    match (active.p99(), candidate.p99()) {
        (Some(old), Some(new)) if new > old * P99_FACTOR_MAX + P99_SLACK => Verdict::Bad(format!(
            "its p99 latency was {}, the active revision's {}",
            Milliseconds(new),
            Milliseconds(old)
        )),
        (Some(_) | None, _) => Verdict::Good,
    }
}

/// What a sample came to, for people.
pub struct Words<'a>(pub &'a Sample);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sample = self.0;
        write!(f, "{} done, {} failed", sample.ended(), sample.failed)?;
        match sample.p99() {
            Some(p99) => write!(f, ", p99 {}", Milliseconds(p99)),
            None => Ok(()),
        }
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Stats;

    fn sample(ended: u64, failed: u64, latency: Duration) -> Sample {
        let stats = Stats::default();
        for n in 0..ended {
            stats.ended(n < failed, latency);
        }
        stats.sample()
    }

    const FAST: Duration = Duration::from_millis(2);

    #[test]
    fn one_failure_of_three_decides_nothing() {
        let verdict = judge(&sample(1000, 0, FAST), &sample(3, 1, FAST), SAMPLES_MIN);
        assert_eq!(verdict, Verdict::TooFew { samples: 3 });
    }

    #[test]
    fn every_tenth_failure_is_bad_and_one_in_a_hundred_is_not() {
        let active = sample(1000, 0, FAST);
        let verdict = judge(&active, &sample(200, 20, FAST), SAMPLES_MIN);
        assert!(matches!(verdict, Verdict::Bad(_)), "{verdict:?}");
        assert_eq!(
            judge(&active, &sample(100, 1, FAST), SAMPLES_MIN),
            Verdict::Good
        );
    }

    #[test]
    fn failures_that_both_have_are_not_the_candidates() {
        let verdict = judge(
            &sample(1000, 300, FAST),
            &sample(100, 30, FAST),
            SAMPLES_MIN,
        );
        assert_eq!(verdict, Verdict::Good);
    }

    #[test]
    fn five_times_slower_is_bad_and_noise_among_milliseconds_is_not() {
        let slow = Duration::from_millis(20);
        let active = sample(1000, 0, slow);
        let verdict = judge(&active, &sample(100, 0, slow * 5), SAMPLES_MIN);
        assert!(matches!(verdict, Verdict::Bad(_)), "{verdict:?}");
        let verdict = judge(
            &sample(1000, 0, FAST),
            &sample(100, 0, FAST * 4),
            SAMPLES_MIN,
        );
        assert_eq!(verdict, Verdict::Good);
    }

    #[test]
    fn traps_are_bad_although_they_are_few() {
        let stats = Stats::default();
        for n in 0..200 {
            stats.ended(n < 2, FAST);
        }
        stats.trapped();
        stats.trapped();
        let verdict = judge(&sample(1000, 0, FAST), &stats.sample(), SAMPLES_MIN);
        assert!(matches!(verdict, Verdict::Bad(_)), "{verdict:?}");
    }
}
