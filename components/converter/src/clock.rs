//! Timestamps against samples: what was lost between two packets.
//!
//! Pages of a damaged Ogg file, pauses of a recorder: what is missing becomes silence, so that the
//! MP3 is as long as the recording. Only a sudden jump counts: clocks drift against each other, and
//! laced Matroska packets without durations all bear the time of the first.

use symphonia::core::units::{TimeBase, Timestamp};

use crate::timeline::Ticks;

/// A shorter jump in the timestamps is rounding or jitter.
const GAP_MIN: Ticks = Ticks {
    value: 100,
    per_second: 1000,
};

/// A longer jump is not believed.
const GAP_MAX: Ticks = Ticks {
    value: 10,
    per_second: 1,
};

/// How far the timestamps are ahead of the samples.
#[derive(Debug, Default)]
pub struct Clock {
    ahead: Option<i64>,
}

impl Clock {
    /// How many samples are missing before the packet whose timestamp is `at` samples, when
    /// `position` samples came out so far.
    pub fn lost(&mut self, at: i64, position: u64, rate: u32) -> usize {
        let ahead = at.saturating_sub_unsigned(position);
        let before = *self.ahead.get_or_insert(ahead);
        let jump = ahead.saturating_sub(before);
        if jump > GAP_MIN.samples(rate) as i64 && jump <= GAP_MAX.samples(rate) as i64 {
            // The silence itself takes the samples back to where they ought to be.
            return jump as usize;
        }
        self.ahead = Some(before.max(ahead));
        0
    }
}

/// A length in a time base of the container.
pub fn ticks(value: u64, base: TimeBase) -> Ticks {
    Ticks {
        value: value.saturating_mul(base.numer.get().into()),
        per_second: base.denom.get().into(),
    }
}

/// A timestamp in samples; `None` where it is beyond all counting.
pub fn samples(at: Timestamp, base: TimeBase, rate: u32) -> Option<i64> {
    let samples = ticks(at.get().unsigned_abs(), base).samples(rate);
    let samples = i64::try_from(samples).ok()?;
    Some(if at.is_negative() { -samples } else { samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_drift_and_lacing_lose_nothing() {
        let mut clock = Clock::default();
        for packet in 0_u64..2000 {
            // Eight packets to a block, a little rounding, and a clock that runs fast.
            let block = packet / 8 * 8 * 1024;
            let at = block as i64 + (packet % 3) as i64 * 40 + packet as i64;
            assert_eq!(clock.lost(at, packet * 1024, 48_000), 0, "packet {packet}");
        }
    }

    #[test]
    fn a_gap_is_found_once() {
        let mut clock = Clock::default();
        assert_eq!(clock.lost(-312, 0, 48_000), 0);
        assert_eq!(clock.lost(648 + 24_000, 960, 48_000), 24_000);
        assert_eq!(clock.lost(1608 + 24_000, 1920 + 24_000, 48_000), 0);
        assert_eq!(
            clock.lost(1 << 60, 2880 + 24_000, 48_000),
            0,
            "nobody pauses for an age"
        );
        assert_eq!(clock.lost(i64::MIN, u64::MAX, 48_000), 0);
    }
}
