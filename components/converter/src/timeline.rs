//! Which of the decoded samples belong to the recording.
//!
//! Encoders put priming before the first sample and padding after the last; containers say how
//! much, each in its own way and units. A [`Plan`] is what `input.rs` makes of that, in the units
//! of the container; a [`Timeline`] is the same in samples, once the decoder's rate is known, and
//! cuts the decoded sound down to it.

use std::ops::Range;

use crate::mix::Sound;
use crate::mp4;

/// More padding than this at the end is not believed: the longest packets (Opus, 120 ms) are far
/// shorter, and the samples have to be held back.
const PADDING_SECONDS_MAX: u64 = 2;

/// A point in time or a length of it: `value` units of which one second has `per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// How many units.
    pub value: u64,
    /// How many units make a second; never 0.
    pub per_second: u64,
}

impl Ticks {
    /// The nearest whole number of samples at this rate.
    pub fn samples(self, rate: u32) -> u64 {
        let per_second = u128::from(self.per_second.max(1));
        let samples = (u128::from(self.value) * u128::from(rate) + per_second / 2) / per_second;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    /// The same in seconds.
    pub fn seconds(self) -> f64 {
        self.value as f64 / self.per_second.max(1) as f64
    }
}

/// One stretch of the decoded sound that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub start: Ticks,
    /// Where it ends; `None` where the sound does.
    pub end: Option<Ticks>,
}

/// What to keep, in the container's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The stretches to keep, in ascending order and apart.
    pub parts: Vec<Part>,
    /// How much to drop at the very end of what was decoded.
    pub padding: Ticks,
}

const NOTHING: Ticks = Ticks {
    value: 0,
    per_second: 1,
};

impl Plan {
    /// Everything after `start`, except for `padding` at the end.
    pub fn trimmed(start: Ticks, padding: Ticks) -> Self {
        Self {
            parts: vec![Part { start, end: None }],
            padding,
        }
    }

    /// Everything.
    pub fn whole() -> Self {
        Self::trimmed(NOTHING, NOTHING)
    }

    /// What an MP4 edit list keeps. `media_end` is the length of all samples in the track's
    /// timescale, where it is known.
    ///
    /// Empty edits delay the audio against the video; without the video they are nothing, so the
    /// MP3 begins with the first sample. Edits that repeat or reorder the media cannot be
    /// streamed; then everything between the first and the last of them is kept.
    pub fn edited(track: &mp4::AudioTrack, media_end: Option<u64>) -> Self {
        let ticks = |value| Ticks {
            value,
            per_second: track.timescale.into(),
        };
        let mut parts: Vec<Part> = Vec::new();
        for edit in &track.edits {
            let Some(start) = edit.media_time else {
                continue;
            };
            let end = if edit.duration == 0 {
                media_end
            } else {
                Some(edit_end(track, start, *edit, media_end))
            };
            let part = Part {
                start: ticks(start),
                end: end.map(ticks),
            };
            match parts.last_mut() {
                Some(last) if last.end.is_none_or(|end| end.value >= start) => {
                    last.start = ticks(last.start.value.min(start));
                    last.end = last
                        .end
                        .zip(part.end)
                        .map(|(a, b)| ticks(a.value.max(b.value)));
                }
                _ => parts.push(part),
            }
        }
        if parts.is_empty() {
            parts.push(Part {
                start: ticks(0),
                end: media_end.map(ticks),
            });
        }
        Self {
            parts,
            padding: NOTHING,
        }
    }

    /// The length of what is kept, where that is known beforehand.
    pub fn seconds(&self) -> Option<f64> {
        let parts = self.parts.iter();
        parts
            .map(|part| Some(part.end?.seconds() - part.start.seconds()))
            .sum()
    }

    /// The plan in samples at this rate.
    pub fn at(&self, rate: u32) -> Timeline {
        let parts = self.parts.iter();
        let parts = parts.map(|part| {
            let start = part.start.samples(rate);
            start
                ..part
                    .end
                    .map_or(u64::MAX, |end| end.samples(rate))
                    .max(start)
        });
        let padding = self.padding.samples(rate);
        let padding = if padding > PADDING_SECONDS_MAX * u64::from(rate) {
            0
        } else {
            padding
        };
        Timeline {
            parts: parts.collect(),
            padding: padding as usize,
            position: 0,
            held: Sound::default(),
        }
    }
}

/// Where an edit ends in the media. Durations are rounded to the movie's timescale, often whole
/// milliseconds; an end that is within one such unit of the media's end is the media's end.
fn edit_end(track: &mp4::AudioTrack, start: u64, edit: mp4::Edit, media_end: Option<u64>) -> u64 {
    let (media, movie) = (
        u128::from(track.timescale),
        u128::from(track.movie_timescale.max(1)),
    );
    let length = (u128::from(edit.duration) * media + movie / 2) / movie;
    let end = start.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    let unit = u64::try_from(media.div_ceil(movie)).unwrap_or(1);
    match media_end {
        Some(media_end) if end.saturating_add(unit) >= media_end => media_end,
        _ => end,
    }
}

/// Cuts sound that arrives in order.
#[derive(Debug)]
pub struct Timeline {
    parts: Vec<Range<u64>>,
    padding: usize,
    position: u64,
    held: Sound,
}

impl Timeline {
    /// How many samples were pushed so far, whether kept or not.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Nothing that may still come is kept.
    pub fn is_over(&self) -> bool {
        self.parts
            .last()
            .is_none_or(|part| self.position >= part.end)
    }

    /// Cuts the next stretch of sound, in place. What is left may be empty.
    pub fn push(&mut self, sound: &mut Sound) {
        let start = self.position;
        self.position += sound.frames() as u64;
        let mut kept = 0;
        for part in &self.parts {
            let from = part.start.clamp(start, self.position) - start;
            let to = part.end.clamp(start, self.position) - start;
            let range = from as usize..to as usize;
            if range.is_empty() {
                continue;
            }
            for plane in [&mut sound.left, &mut sound.right] {
                if range.start != kept && plane.len() >= range.end {
                    plane.copy_within(range.clone(), kept);
                }
            }
            kept += range.len();
        }
        sound.left.truncate(kept);
        sound.right.truncate(kept);
        if self.padding > 0 {
            hold(&mut self.held.left, &mut sound.left, self.padding);
            hold(&mut self.held.right, &mut sound.right, self.padding);
        }
    }
}

/// Keeps the last `count` samples of everything so far in `held` and leaves the rest in `plane`.
fn hold(held: &mut Vec<f32>, plane: &mut Vec<f32>, count: usize) {
    held.append(plane);
    plane.extend(held.drain(..held.len().saturating_sub(count)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::Edit;

    fn kept(mut timeline: Timeline, packets: &[usize]) -> Vec<f32> {
        let (mut all, mut next) = (Vec::new(), 0);
        for len in packets {
            let left: Vec<f32> = (next..next + len).map(|i| i as f32).collect();
            next += len;
            let mut sound = Sound {
                right: left.clone(),
                left,
            };
            timeline.push(&mut sound);
            assert_eq!(sound.left, sound.right);
            all.extend(sound.left);
        }
        all
    }

    fn track(edits: Vec<Edit>) -> mp4::AudioTrack {
        mp4::AudioTrack::for_test(1000, 48_000, edits)
    }

    fn samples(range: Range<usize>) -> Vec<f32> {
        range.map(|i| i as f32).collect()
    }

    #[test]
    fn priming_and_padding_are_dropped() {
        let plan = Plan::trimmed(
            Ticks {
                value: 6_500_000,
                per_second: 1_000_000_000,
            },
            Ticks {
                value: 100,
                per_second: 48_000,
            },
        );
        assert_eq!(kept(plan.at(48_000), &[960, 960, 960]), samples(312..2780));
        assert_eq!(kept(plan.at(48_000), &[50; 40]), samples(312..1900));
    }

    #[test]
    fn an_edit_skips_priming_and_ends_with_the_media() {
        let edits = vec![Edit {
            duration: 100,
            media_time: Some(1024),
        }];
        let plan = Plan::edited(&track(edits), Some(1024 + 4790));
        assert_eq!(
            kept(plan.at(48_000), &[1024; 6]),
            samples(1024..1024 + 4790)
        );
    }

    #[test]
    fn empty_edits_pad_nothing_and_cuts_are_cut() {
        let edits = vec![
            Edit {
                duration: 500,
                media_time: None,
            },
            Edit {
                duration: 10,
                media_time: Some(100),
            },
            Edit {
                duration: 10,
                media_time: Some(1000),
            },
        ];
        let plan = Plan::edited(&track(edits), Some(48_000));
        let mut expected = samples(100..580);
        expected.extend(samples(1000..1480));
        assert_eq!(kept(plan.at(48_000), &[2048]), expected);
        assert_eq!(kept(plan.at(48_000), &[7; 300]), expected);
        assert!((plan.seconds().unwrap() - 0.02).abs() < 1e-9);
    }

    #[test]
    fn edits_that_go_back_keep_the_stretch_between() {
        let edits = vec![
            Edit {
                duration: 10,
                media_time: Some(1000),
            },
            Edit {
                duration: 10,
                media_time: Some(100),
            },
        ];
        let plan = Plan::edited(&track(edits), Some(48_000));
        assert_eq!(kept(plan.at(48_000), &[4096]), samples(100..1480));
    }

    #[test]
    fn a_timeline_says_when_it_is_over() {
        let edits = vec![Edit {
            duration: 10,
            media_time: Some(0),
        }];
        let mut timeline = Plan::edited(&track(edits), Some(48_000)).at(48_000);
        let mut sound = Sound {
            left: vec![0.0; 480],
            right: Vec::new(),
        };
        assert!(!timeline.is_over());
        timeline.push(&mut sound);
        assert!(timeline.is_over());
        assert_eq!(timeline.position(), 480);
    }
}
