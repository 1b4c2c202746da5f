//! Compares sounds: decoded by ffmpeg, aligned, correlated.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{artifacts, scratch};

/// The rate that everything is compared at.
pub const RATE: usize = 44_100;

/// How far two sounds may be apart: 10 ms, under what an ear takes for simultaneous.
const SHIFT_MAX: isize = 441;

/// One sound, both channels.
pub struct Sound {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Sound {
    /// Decodes a file's sound with ffmpeg, at [`RATE`] and in stereo.
    pub fn decode(bytes: &[u8]) -> Self {
        artifacts::tools();
        // Through a file: mp4 with its index at the end needs to seek.
        let dir = scratch();
        let path = dir.path().join("sound");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-i"])
            .arg(&path)
            .args([
                "-vn",
                "-ac",
                "2",
                "-ar",
                &RATE.to_string(),
                "-f",
                "f32le",
                "-",
            ])
            .stderr(Stdio::inherit())
            .output()
            .expect("ffmpeg is installed");
        assert!(output.status.success(), "ffmpeg cannot decode it");
        let samples: Vec<f32> = output
            .stdout
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        Self {
            left: samples.iter().step_by(2).copied().collect(),
            right: samples.iter().skip(1).step_by(2).copied().collect(),
        }
    }

    pub fn seconds(&self) -> f64 {
        self.left.len() as f64 / RATE as f64
    }

    /// Asserts that `result` is this sound: as long within 50 ms, aligned within 10 ms, and with a
    /// correlation above 0.99 on both channels.
    #[track_caller]
    pub fn assert_same(&self, result: &Self, what: &str) {
        let apart = (self.seconds() - result.seconds()).abs();
        assert!(
            apart <= 0.05,
            "{what}: {} s became {} s",
            self.seconds(),
            result.seconds()
        );
        let shift = self.shift_of(result);
        assert!(
            shift.abs() <= SHIFT_MAX,
            "{what}: shifted by {shift} samples"
        );
        for (name, a, b) in [
            ("left", &self.left, &result.left),
            ("right", &self.right, &result.right),
        ] {
            let correlation = correlation(a, b, shift);
            assert!(
                correlation > 0.99,
                "{what}: {name} correlates {correlation}, at {shift}"
            );
        }
    }

    /// How many samples later the same sound is in `other`: where a second from the middle fits best.
    fn shift_of(&self, other: &Self) -> isize {
        let middle = self.left.len() / 2;
        let window = &self.left[middle..(middle + RATE).min(self.left.len())];
        let fit = |shift: isize| -> f32 {
            let start = middle as isize + shift;
            let Ok(start) = usize::try_from(start) else {
                return f32::MIN;
            };
            let end = (start + window.len()).min(other.left.len());
            let other = other.left.get(start..end).unwrap_or_default();
            window.iter().zip(other).map(|(a, b)| a * b).sum()
        };
        let range = -4 * SHIFT_MAX..=4 * SHIFT_MAX;
        range
            .max_by(|a, b| fit(*a).total_cmp(&fit(*b)))
            .expect("the range is not empty")
    }
}

/// Pearson's correlation of `a` with `b` moved by `shift`, where both are.
fn correlation(a: &[f32], b: &[f32], shift: isize) -> f64 {
    let a = &a[usize::try_from(-shift).unwrap_or(0).min(a.len())..];
    let b = &b[usize::try_from(shift).unwrap_or(0).min(b.len())..];
    let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa.sqrt() * bb.sqrt())
}

#[test]
fn the_comparison_notices_a_shift_a_swap_and_silence() {
    let wave = |step: f32| -> Vec<f32> {
        (0..RATE * 3)
            .map(|i| (i as f32 * step * (1.0 + i as f32 / 1e6)).sin())
            .collect()
    };
    let (left, right) = (wave(0.05), wave(0.08));
    assert!(correlation(&left, &left, 0) > 0.999);
    assert!(correlation(&left, &right, 0) < 0.5);
    assert!(
        correlation(&left, &vec![0.0; left.len()], 0).is_nan(),
        "and so not above anything"
    );
    let sound = Sound {
        left: left.clone(),
        right: right.clone(),
    };
    let later = Sound {
        left: [vec![0.0; 300], left].concat(),
        right: [vec![0.0; 300], right].concat(),
    };
    assert_eq!(sound.shift_of(&later), 300);
    sound.assert_same(&later, "within 10 ms");
}
