//! The Xing/LAME frame at the start of an MP3, read back: how long is it? Asked about our own
//! results when a job is delivered twice, and about uploaded MP3s to tell whether they are whole.
//! Layout: http://gabriel.mp3-tech.org/mp3infotag.html

use crate::source::{BlockSource, RangeRead, StorageError};

/// What the info frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mp3Info {
    /// Samples of each channel, without the encoder's delay and padding.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
}

impl Mp3Info {
    /// The length in seconds.
    pub fn seconds(self) -> f64 {
        self.samples as f64 / f64::from(self.rate)
    }
}

/// Reads the info frame; `None` where the file does not begin with one.
///
/// # Errors
/// The store's failure.
pub fn read<R: RangeRead>(source: &mut BlockSource<R>) -> Result<Option<Mp3Info>, StorageError> {
    let head = source.bytes(0, 10)?;
    let start = match head.as_slice() {
        [b'I', b'D', b'3', _, _, _, size @ ..] if size.len() == 4 => {
            10 + size
                .iter()
                .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
        }
        _ => 0,
    };
    Ok(parse(&source.bytes(start, 256)?))
}

fn parse(frame: &[u8]) -> Option<Mp3Info> {
    let [0xff, second, third, fourth, ..] = *frame else {
        return None;
    };
    // Sync, and layer III.
    if second & 0xe0 != 0xe0 || second >> 1 & 3 != 1 {
        return None;
    }
    let base = [44_100, 48_000, 32_000]
        .get(usize::from(third >> 2 & 3))
        .copied()?;
    let mono = fourth >> 6 == 3;
    let (rate, samples_per_frame, side_info): (u32, u64, usize) = match (second >> 3 & 3, mono) {
        (3, false) => (base, 1152, 32),
        (3, true) => (base, 1152, 17),
        (2, false) => (base / 2, 576, 17),
        (2, true) => (base / 2, 576, 9),
        (0, false) => (base / 4, 576, 17),
        (0, true) => (base / 4, 576, 9),
        _ => return None,
    };
    let tag = frame.get(4 + side_info..)?;
    let number = |at: usize| tag.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let has_frames = number(4)? & 1 != 0;
    if !(tag.starts_with(b"Xing") || tag.starts_with(b"Info")) || !has_frames {
        return None;
    }
    let frames = u64::from(number(8)?);
    // With all four optional fields the encoder's part begins at 120 and its trimming 21 later.
    let trimmed = match (number(4)? & 0xf, tag.get(141..144)) {
        (0xf, Some(&[a, b, c])) => {
            (u64::from(a) << 4 | u64::from(b) >> 4) + (u64::from(b & 0xf) << 8 | u64::from(c))
        }
        _ => 0,
    };
    Some(Mp3Info {
        samples: (frames * samples_per_frame).saturating_sub(trimmed),
        rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_info_frame() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"RIFF\0\0\0\0WAVE"), None);
        assert_eq!(parse(&[0xff, 0xfb, 0xb0, 0x40]), None);
        assert_eq!(parse(&[0xff; 200]), None);
    }
}
