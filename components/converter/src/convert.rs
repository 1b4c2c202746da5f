//! The pipeline: decoded sound in, MP3 frames out, nothing kept for longer than a packet.

use crate::encode::Mp3Encoder;
use crate::failure::{ConvertError, Failure};
use crate::input::Input;
use crate::mix::Sound;
use crate::resample::{Resample, target_rate};
use crate::settings::Mp3Quality;
use crate::source::RangeRead;

/// What goes in front of the audio frames, and what the result is.
#[derive(Debug, Clone, PartialEq)]
pub struct Mp3 {
    /// The ID3v2 tag and the info frame, in this order.
    pub front: Vec<u8>,
    /// Samples of each channel.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
}

impl Mp3 {
    /// The length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(self.rate)
    }
}

/// Where the pipeline's results go while it runs.
pub trait Receiver {
    /// The next audio frames, in order.
    ///
    /// # Errors
    /// Whatever ends the conversion.
    fn audio(&mut self, bytes: &[u8]) -> Result<(), ConvertError>;

    /// How far it is, from 0 to 1. Called after every packet.
    ///
    /// # Errors
    /// Whatever ends the conversion.
    fn progress(&mut self, fraction: f64) -> Result<(), ConvertError>;
}

/// Everything behind the decoder, which exists once the first sound has come out of it.
struct Output {
    resample: Option<Resample>,
    encoder: Mp3Encoder,
    source_rate: u32,
    channels: u8,
    rate: u32,
}

impl Output {
    fn new(source_rate: u32, channels: u8, quality: Mp3Quality) -> Result<Self, ConvertError> {
        let rate = target_rate(source_rate);
        Ok(Self {
            resample: Resample::new(source_rate, channels)?,
            encoder: Mp3Encoder::new(rate, channels, quality)?,
            source_rate,
            channels,
            rate,
        })
    }

    fn push(&mut self, sound: &mut Sound, to: &mut dyn Receiver) -> Result<(), ConvertError> {
        // The number of channels may change midway; the MP3's does not.
        match (self.channels, sound.right.is_empty()) {
            (1, false) => {
                let pairs = sound.left.iter_mut().zip(&sound.right);
                pairs.for_each(|(left, right)| *left = (*left + right) / 2.0);
                sound.right.clear();
            }
            (2, true) => sound.right.extend_from_slice(&sound.left),
            _ => {}
        }
        if let Some(resample) = &mut self.resample {
            resample.push(sound)?;
        }
        self.encoder.encode(sound, |bytes| to.audio(bytes))
    }

    fn finish(&mut self, sound: &mut Sound, to: &mut dyn Receiver) -> Result<(), ConvertError> {
        if let Some(resample) = &mut self.resample {
            resample.finish(sound)?;
            self.encoder.encode(sound, |bytes| to.audio(bytes))?;
        }
        self.encoder.finish(|bytes| to.audio(bytes))
    }
}

/// Converts a file: its audio frames go to `to`, what belongs in front of them is given back.
///
/// # Errors
/// A [`Failure`] of the file, or the platform's trouble; what was written by then is worthless.
pub fn convert<R: RangeRead + 'static>(
    reader: R,
    name: &str,
    quality: Mp3Quality,
    to: &mut dyn Receiver,
) -> Result<Mp3, ConvertError> {
    let (mut input, tags) = Input::open(reader, name)?;
    let mut output: Option<Output> = None;
    let mut sound = Sound::default();
    while input.next(&mut sound)? {
        if sound.frames() > 0 {
            if output.is_none() {
                output = Some(Output::new(input.rate(), input.channels(), quality)?);
            }
            if let Some(output) = &mut output {
                if output.source_rate != input.rate() {
                    return Err(Failure::Unsupported(
                        "a sample rate that changes midway".to_owned(),
                    )
                    .into());
                }
                output.push(&mut sound, to)?;
            }
        }
        to.progress(input.progress())?;
    }
    let mut output = output.ok_or(Failure::Empty)?;
    output.finish(&mut sound, to)?;
    let mut front = tags.id3();
    front.extend(output.encoder.info_frame());
    Ok(Mp3 {
        front,
        samples: output.encoder.frames(),
        rate: output.rate,
    })
}
