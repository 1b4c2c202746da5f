//! From packets to samples: symphonia's decoders behind one face with ropus for Opus.
//!
//! A decoder turns one packet into one [`Sound`]. It knows nothing of timelines: what belongs to
//! the recording and what is priming is `timeline.rs`'s matter, except for the trimming that
//! symphonia's demuxers mark on single packets (Ogg, MP3), which is applied here.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_OPUS,
};
use symphonia::core::packet::Packet;

use crate::failure::Failure;
use crate::format_name;
use crate::mix::{Mix, Order, Sound};
use crate::opus::OpusTrack;

/// More channels than this are refused before anything is allocated for them.
const CHANNELS_MAX: usize = 32;

/// A packet that cannot be decoded; the next one may well be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadPacket(String);

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusTrack),
}

/// The decoder of one track.
pub struct Decoder {
    codec: Codec,
    planes: Vec<Vec<f32>>,
    mix: Option<Mix>,
    channels: Channels,
    rate: u32,
}

impl Decoder {
    /// A decoder for a track with these parameters.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] with the format's name if nothing here decodes it.
    pub fn new(params: &AudioCodecParameters) -> Result<Self, Failure> {
        let unsupported = || Failure::Unsupported(format_name::of_params(params));
        if params
            .channels
            .as_ref()
            .is_some_and(|channels| channels.count() > CHANNELS_MAX)
        {
            return Err(unsupported());
        }
        let codec = if params.codec == CODEC_ID_OPUS {
            Codec::Opus(OpusTrack::new(params).ok_or_else(unsupported)?)
        } else {
            let options = AudioDecoderOptions::default();
            let made = symphonia::default::get_codecs().make_audio_decoder(params, &options);
            Codec::Symphonia(made.map_err(|_| unsupported())?)
        };
        Ok(Self {
            codec,
            planes: Vec::new(),
            mix: None,
            channels: Channels::None,
            rate: 0,
        })
    }

    /// Samples per second of what was decoded last; 0 before the first packet.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// How many channels come out, 1 or 2; 0 before the first packet.
    pub fn outputs(&self) -> u8 {
        self.mix.as_ref().map_or(0, Mix::outputs)
    }

    /// Decodes one packet into `into`, which may stay empty (decoders that need a packet to start).
    ///
    /// # Errors
    /// [`BadPacket`]; the decoder goes on with the next.
    pub fn decode(&mut self, packet: &Packet, into: &mut Sound) -> Result<(), BadPacket> {
        into.clear();
        match &mut self.codec {
            Codec::Symphonia(decoder) => {
                let buffer = match decoder.decode(packet) {
                    Ok(buffer) => buffer,
                    Err(error) => {
                        let reason = error.to_string();
                        if matches!(error, symphonia::core::errors::Error::ResetRequired) {
                            decoder.reset();
                        }
                        return Err(BadPacket(reason));
                    }
                };
                let spec = buffer.spec();
                if buffer.is_empty() || spec.rate() == 0 {
                    return Ok(());
                }
                if self.mix.is_none()
                    || self.channels != *spec.channels()
                    || self.rate != spec.rate()
                {
                    self.channels = spec.channels().clone();
                    self.rate = spec.rate();
                    self.mix = Mix::new(&self.channels, Order::Positions);
                }
                buffer.copy_to_vecs_planar(&mut self.planes);
            }
            Codec::Opus(opus) => {
                opus.decode(packet, &mut self.planes).map_err(BadPacket)?;
                if self.mix.is_none() {
                    self.channels = Channels::Discrete(opus.channels().into());
                    self.rate = crate::opus::RATE;
                    self.mix = Mix::new(&self.channels, Order::Vorbis);
                }
            }
        }
        if let Some(mix) = &self.mix {
            mix.apply(&mut self.planes, into);
        }
        Ok(())
    }
}
