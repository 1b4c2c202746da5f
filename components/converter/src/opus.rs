//! Opus packets through ropus, which decodes up to two channels to floats and more through the
//! multistream decoder to 24 bits. Headers per RFC 7845 (Ogg, Matroska) and the `dOps` box of MP4,
//! which symphonia passes on as the same bytes in the other byte order and with version 0.

use ropus::{DecodeMode, Decoder, OpusMSDecoder};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;

/// Opus is always decoded at this rate.
pub const RATE: u32 = 48_000;

/// The longest packet, 120 ms.
const PACKET_FRAMES_MAX: usize = 5760;
/// Mapping families 0 and 1 go up to here.
const CHANNELS_MAX: u8 = 8;
const FULL_SCALE_24: f32 = 8_388_608.0;

enum Inner {
    Few {
        decoder: Box<Decoder>,
        pcm: Vec<f32>,
    },
    Many {
        decoder: Box<OpusMSDecoder>,
        pcm: Vec<i32>,
    },
}

/// What an Opus identification header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusHead {
    /// How many channels.
    pub channels: u8,
    /// How many samples at 48 kHz come before the first one that counts.
    pub pre_skip: u16,
    gain: i16,
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
}

impl OpusHead {
    /// Reads the header, or gives `None` if it is not one that we can decode by.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let body = bytes.strip_prefix(b"OpusHead")?;
        let (&version, &channels) = (body.first()?, body.get(1)?);
        let pair = |at: usize| Some([*body.get(at)?, *body.get(at + 1)?]);
        let word = if version == 0 {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        let (pre_skip, gain) = (word(pair(2)?), word(pair(8)?) as i16);
        let family = *body.get(10)?;
        if channels == 0 || channels > CHANNELS_MAX || family > 1 || (family == 0 && channels > 2) {
            return None;
        }
        let (streams, coupled, mapping) = if family == 0 {
            (1, channels - 1, (0..channels).collect())
        } else {
            let mapping = body.get(13..13 + usize::from(channels))?;
            (*body.get(11)?, *body.get(12)?, mapping.to_vec())
        };
        Some(Self {
            channels,
            pre_skip,
            gain,
            streams,
            coupled,
            mapping,
        })
    }
}

/// The decoder of one Opus track.
pub struct OpusTrack {
    inner: Inner,
    channels: u8,
}

impl OpusTrack {
    /// A decoder for a track with these parameters; `None` if its header is missing or unknown.
    pub fn new(params: &AudioCodecParameters) -> Option<Self> {
        let head = OpusHead::read(params.extra_data.as_deref()?)?;
        let samples = PACKET_FRAMES_MAX * usize::from(head.channels);
        let inner = if head.channels <= 2 {
            let channels = if head.channels == 1 {
                ropus::Channels::Mono
            } else {
                ropus::Channels::Stereo
            };
            let mut decoder = Decoder::new(RATE, channels).ok()?;
            decoder.set_gain(head.gain.into()).ok()?;
            Inner::Few {
                decoder: Box::new(decoder),
                pcm: vec![0.0; samples],
            }
        } else {
            let mut decoder = OpusMSDecoder::new(
                RATE as i32,
                head.channels.into(),
                head.streams.into(),
                head.coupled.into(),
                &head.mapping,
            )
            .ok()?;
            decoder.set_gain(head.gain.into());
            Inner::Many {
                decoder: Box::new(decoder),
                pcm: vec![0; samples],
            }
        };
        Some(Self {
            inner,
            channels: head.channels,
        })
    }

    /// How many channels come out, in Vorbis order.
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// Decodes one packet into one plane for each channel, without what the packet marks as trimmed.
    ///
    /// # Errors
    /// The decoder's words about a packet that it cannot decode.
    pub fn decode(&mut self, packet: &Packet, planes: &mut Vec<Vec<f32>>) -> Result<(), String> {
        planes.resize_with(self.channels.into(), Vec::new);
        planes.iter_mut().for_each(Vec::clear);
        if packet.data.is_empty() {
            return Ok(());
        }
        let (skip, drop) = (
            packet.trim_start.get() as usize,
            packet.trim_end.get() as usize,
        );
        match &mut self.inner {
            Inner::Few { decoder, pcm } => {
                let frames = decoder
                    .decode_float(&packet.data, pcm, DecodeMode::Normal)
                    .map_err(|error| error.to_string())?;
                split(pcm, frames, skip, drop, planes, |sample| sample);
            }
            Inner::Many { decoder, pcm } => {
                let len =
                    i32::try_from(packet.data.len()).map_err(|_| "packet too long".to_owned())?;
                let frames = decoder
                    .decode24(
                        Some(&packet.data),
                        len,
                        pcm,
                        PACKET_FRAMES_MAX as i32,
                        false,
                    )
                    .map_err(|code| format!("opus error {code}"))?;
                let frames = usize::try_from(frames).unwrap_or(0);
                split(pcm, frames, skip, drop, planes, |sample| {
                    sample as f32 / FULL_SCALE_24
                });
            }
        }
        Ok(())
    }
}

/// Interleaved samples into planes, less `skip` frames at the start and `drop` at the end.
fn split<S: Copy>(
    pcm: &[S],
    frames: usize,
    skip: usize,
    drop: usize,
    planes: &mut [Vec<f32>],
    convert: impl Fn(S) -> f32,
) {
    let channels = planes.len();
    let end = frames.saturating_sub(drop).min(pcm.len() / channels.max(1));
    let kept = pcm
        .get(skip.min(end) * channels..end * channels)
        .unwrap_or_default();
    for (at, plane) in planes.iter_mut().enumerate() {
        plane.extend(kept.chunks_exact(channels).map(|frame| convert(frame[at])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_ogg_and_of_mp4() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        let mp4 = b"OpusHead\x00\x02\x01\x38\x00\x00\xbb\x80\x00\x00\x00";
        let head = OpusHead::read(ogg).unwrap();
        assert_eq!(
            (head.channels, head.pre_skip, head.streams, head.coupled),
            (2, 312, 1, 1)
        );
        assert_eq!(OpusHead::read(mp4).unwrap(), head);
    }

    #[test]
    fn headers_that_promise_too_much() {
        let nine = b"OpusHead\x01\x09\x38\x01\x80\xbb\x00\x00\x00\x00\x01\x05\x04\0\x01\x02\x03\x04\x05\x06\x07\x08";
        let family = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x03";
        let short = b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01\x04\x02\0";
        for bytes in [&nine[..], family, short, b"OpusTags", b""] {
            assert_eq!(OpusHead::read(bytes), None);
        }
    }
}
