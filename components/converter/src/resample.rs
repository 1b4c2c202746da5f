//! Rates that an MP3 cannot have, to the nearest that it can.

use rubato::audioadapter_buffers::direct::SequentialSliceOfSlices;
use rubato::{Fft, FixedSync, Indexing, Resampler};

use crate::encode::RATES;
use crate::failure::{ConvertError, Failure};
use crate::mix::Sound;

/// Frames that go in at once.
const CHUNK_FRAMES: usize = 1024;
/// The filter is as long as the ratio's smaller terms; past this its memory is out of proportion.
const RATIO_TERM_MAX: u32 = 50_000;
/// Below this it is not sound.
const RATE_MIN: u32 = 1_000;

/// The MP3 rate for a source's rate: its own if it has one, else the next above, and for high
/// rates the one of its family (44.1 or 48 kHz).
pub fn target_rate(rate: u32) -> u32 {
    match RATES.into_iter().find(|known| *known >= rate) {
        Some(known) => known,
        None if rate.is_multiple_of(11_025) => 44_100,
        None => 48_000,
    }
}

/// A resampler that keeps the length exact: its own delay is taken out, its tail is drawn out.
pub struct Resample {
    inner: Fft<f32>,
    channels: usize,
    ratio: (u64, u64),
    pending: Sound,
    output: [Vec<f32>; 2],
    delay_left: usize,
    frames_in: u64,
    frames_out: u64,
}

fn failed(error: impl std::fmt::Display) -> ConvertError {
    ConvertError::Encoder(format!("resampling: {error}"))
}

impl Resample {
    /// A resampler from this rate to its [`target_rate`]; `None` where they are the same.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] for rates that no recording has.
    pub fn new(rate: u32, channels: u8) -> Result<Option<Self>, ConvertError> {
        let target = target_rate(rate);
        if target == rate {
            return Ok(None);
        }
        if rate < RATE_MIN || rate / greatest_common_divisor(rate, target) > RATIO_TERM_MAX {
            return Err(Failure::Unsupported(format!("a sample rate of {rate} Hz")).into());
        }
        let channels = usize::from(channels);
        let inner = Fft::new(
            rate as usize,
            target as usize,
            CHUNK_FRAMES,
            channels,
            FixedSync::Input,
        )
        .map_err(failed)?;
        let room = inner.output_frames_max();
        Ok(Some(Self {
            delay_left: inner.output_delay(),
            output: [
                vec![0.0; room],
                vec![0.0; if channels == 2 { room } else { 0 }],
            ],
            inner,
            channels,
            ratio: (u64::from(target), u64::from(rate)),
            pending: Sound::default(),
            frames_in: 0,
            frames_out: 0,
        }))
    }

    /// Resamples in place. Some of the sound stays inside until the next call.
    ///
    /// # Errors
    /// [`ConvertError::Encoder`] if the resampler refuses its own sizes.
    pub fn push(&mut self, sound: &mut Sound) -> Result<(), ConvertError> {
        self.frames_in += sound.frames() as u64;
        self.pending.left.append(&mut sound.left);
        self.pending.right.append(&mut sound.right);
        let mut used = 0;
        while self.pending.frames() - used >= self.inner.input_frames_next() {
            used += self.step(used, None, sound)?;
        }
        self.pending.left.drain(..used);
        let right = used.min(self.pending.right.len());
        self.pending.right.drain(..right);
        Ok(())
    }

    /// Draws out what is still inside, so that the length is right to the sample.
    ///
    /// # Errors
    /// As [`Resample::push`].
    pub fn finish(&mut self, sound: &mut Sound) -> Result<(), ConvertError> {
        sound.clear();
        let total = (self.frames_in * self.ratio.0 + self.ratio.1 / 2) / self.ratio.1;
        let room = self.inner.input_frames_next();
        let mut left_over = self.pending.frames();
        self.pending.left.resize(left_over.max(room), 0.0);
        self.pending.right.resize(
            if self.channels == 2 {
                left_over.max(room)
            } else {
                0
            },
            0.0,
        );
        while self.frames_out < total {
            self.step(0, Some(left_over), sound)?;
            left_over = 0;
        }
        let surplus = usize::try_from(self.frames_out - total).unwrap_or(0);
        let keep = sound.frames().saturating_sub(surplus);
        sound.left.truncate(keep);
        sound.right.truncate(keep);
        Ok(())
    }

    /// One chunk from `offset` of what is pending; gives how much of it was used.
    fn step(
        &mut self,
        offset: usize,
        partial: Option<usize>,
        into: &mut Sound,
    ) -> Result<usize, ConvertError> {
        let [left_out, right_out] = &mut self.output;
        let frames = self.pending.frames();
        let room = left_out.len();
        let inputs = [&self.pending.left[..], &self.pending.right[..]];
        let mut outputs = [&mut left_out[..], &mut right_out[..]];
        let input = SequentialSliceOfSlices::new(&inputs[..self.channels], self.channels, frames)
            .map_err(failed)?;
        let mut output =
            SequentialSliceOfSlices::new_mut(&mut outputs[..self.channels], self.channels, room)
                .map_err(failed)?;
        let mut indexing = Indexing::new().input_offset(offset);
        indexing.partial_len = partial;
        let (used, made) = self
            .inner
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .map_err(failed)?;
        let skip = self.delay_left.min(made);
        self.delay_left -= skip;
        self.frames_out += (made - skip) as u64;
        into.left.extend_from_slice(&self.output[0][skip..made]);
        if self.channels == 2 {
            into.right.extend_from_slice(&self.output[1][skip..made]);
        }
        Ok(used)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_go_to_the_nearest_that_an_mp3_has() {
        for (from, to) in [
            (44_100, 44_100),
            (96_000, 48_000),
            (88_200, 44_100),
            (176_400, 44_100),
        ] {
            assert_eq!(target_rate(from), to);
        }
        assert_eq!(
            (target_rate(6_000), target_rate(37_800), target_rate(18_900)),
            (8_000, 44_100, 22_050)
        );
        assert!(matches!(Resample::new(44_100, 2), Ok(None)));
        assert!(matches!(
            Resample::new(999, 2),
            Err(ConvertError::Failed(Failure::Unsupported(_)))
        ));
    }

    #[test]
    fn the_length_is_exact_and_a_sine_stays_in_place() {
        for (rate, channels, total) in [
            (96_000_u32, 2_u8, 96_123_usize),
            (6_000, 1, 7_001),
            (88_200, 1, 50),
        ] {
            let mut resample = Resample::new(rate, channels).unwrap().unwrap();
            let target = target_rate(rate);
            let tone = |i: usize, rate: u32| {
                (i as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin()
            };
            let source: Vec<f32> = (0..total).map(|i| tone(i, rate)).collect();
            let (mut out, mut sound) = (Vec::new(), Sound::default());
            for piece in source.chunks(777) {
                sound.clear();
                sound.left.extend_from_slice(piece);
                if channels == 2 {
                    sound.right.extend_from_slice(piece);
                }
                resample.push(&mut sound).unwrap();
                out.extend_from_slice(&sound.left);
            }
            resample.finish(&mut sound).unwrap();
            out.extend_from_slice(&sound.left);
            let expected = (total as f64 * f64::from(target) / f64::from(rate)).round() as usize;
            assert_eq!(out.len(), expected);
            let middle = out.len() / 4..out.len() * 3 / 4;
            for (sample, i) in out[middle.clone()].iter().zip(middle) {
                assert!(
                    (sample - tone(i, target)).abs() < 0.02,
                    "sample {i} at {rate}"
                );
            }
        }
    }
}
