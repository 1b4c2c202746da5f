//! LAME, set as ffmpeg sets it: quality 3, joint stereo, the source's rate kept.
//!
//! LAME begins its output with a placeholder for the Xing/LAME frame, whose contents (length,
//! delay, padding, seek table) are known only at the end. The placeholder is taken out here, and
//! [`Mp3Encoder::info_frame`] gives what has to stand before the audio in its place.

use std::num::NonZeroU32;

use mp3lame_encoder::{
    Builder, DualPcm, Encoder, FlushGap, MonoPcm, VbrMode, max_required_buffer_size,
};

use crate::failure::ConvertError;
use crate::mix::Sound;
use crate::settings::Mp3Quality;

/// The rates that an MP3 can have (MPEG 2.5, 2 and 1).
pub const RATES: [u32; 9] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
];

/// What goes into LAME at once: its output buffer is sized by it.
const CHUNK_FRAMES: usize = 4608;

/// One MP3 in the making.
pub struct Mp3Encoder {
    lame: Encoder,
    output: Vec<u8>,
    /// What came out before the size of the placeholder was known; `None` once it is taken out.
    head: Option<Vec<u8>>,
    channels: u8,
    frames: u64,
}

fn lame_error(error: impl std::fmt::Display) -> ConvertError {
    ConvertError::Encoder(error.to_string())
}

impl Mp3Encoder {
    /// An encoder for sound of this rate (one of [`RATES`]) and 1 or 2 channels.
    ///
    /// # Errors
    /// [`ConvertError::Encoder`] if LAME refuses the parameters.
    pub fn new(rate: u32, channels: u8, quality: Mp3Quality) -> Result<Self, ConvertError> {
        let mut builder = Builder::new().ok_or_else(|| lame_error("out of memory"))?;
        builder.set_num_channels(channels).map_err(lame_error)?;
        builder.set_sample_rate(rate).map_err(lame_error)?;
        builder
            .set_output_sample_rate(NonZeroU32::new(rate))
            .map_err(lame_error)?;
        builder
            .set_quality(mp3lame_encoder::Quality::VeryNice)
            .map_err(lame_error)?;
        match quality {
            Mp3Quality::Constant(bitrate) => builder.set_brate(bitrate).map_err(lame_error)?,
            Mp3Quality::Variable(level) => {
                builder.set_vbr_mode(VbrMode::Mtrh).map_err(lame_error)?;
                builder.set_vbr_quality(level).map_err(lame_error)?;
            }
        }
        builder.set_to_write_vbr_tag(true).map_err(lame_error)?;
        let lame = builder.build().map_err(lame_error)?;
        let output = Vec::with_capacity(max_required_buffer_size(CHUNK_FRAMES));
        Ok(Self {
            head: lame.is_lame_tag_written().then(Vec::new),
            lame,
            output,
            channels,
            frames: 0,
        })
    }

    /// How many samples of each channel went in.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Encodes the next stretch of sound and hands what comes out to `write`, in pieces that may be
    /// empty. Samples that are not numbers (a damaged file can decode to them) become silence.
    ///
    /// # Errors
    /// [`ConvertError::Encoder`], or what `write` fails with.
    pub fn encode(
        &mut self,
        sound: &mut Sound,
        mut write: impl FnMut(&[u8]) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        for plane in [&mut sound.left, &mut sound.right] {
            plane
                .iter_mut()
                .for_each(|sample| *sample = if sample.is_finite() { *sample } else { 0.0 });
        }
        let mut start = 0;
        while start < sound.frames() {
            let range = start..sound.frames().min(start + CHUNK_FRAMES);
            start = range.end;
            self.frames += range.len() as u64;
            self.output.clear();
            let left = &sound.left[range.clone()];
            let encoded = if self.channels == 1 {
                self.lame.encode_to_vec(MonoPcm(left), &mut self.output)
            } else {
                let right = sound.right.get(range).unwrap_or(left);
                self.lame
                    .encode_to_vec(DualPcm { left, right }, &mut self.output)
            };
            encoded.map_err(lame_error)?;
            write(self.audio())?;
        }
        Ok(())
    }

    /// Ends the MP3: the last frames go to `write`.
    ///
    /// # Errors
    /// As [`Mp3Encoder::encode`].
    pub fn finish(
        &mut self,
        mut write: impl FnMut(&[u8]) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        self.output.clear();
        self.lame
            .flush_to_vec::<FlushGap>(&mut self.output)
            .map_err(lame_error)?;
        write(self.audio())
    }

    /// The frame that stands before the audio, once it is finished.
    pub fn info_frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.lame.lame_tag_size());
        self.lame.lame_tag_encode_to_vec(&mut frame);
        frame
    }

    /// The output without the placeholder, whose size LAME tells once it has encoded a frame.
    fn audio(&mut self) -> &[u8] {
        if let Some(mut head) = self.head.take() {
            head.append(&mut self.output);
            let placeholder = self.lame.lame_tag_size();
            if placeholder == 0 || head.len() < placeholder {
                self.head = Some(head);
            } else {
                self.output.extend_from_slice(&head[placeholder..]);
            }
        }
        &self.output
    }
}
