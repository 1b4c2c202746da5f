//! Which container a file is, and what it says beyond what symphonia passes on: the audio track,
//! how long it ought to be, how much of it counts.

use symphonia::core::codecs::CodecParameters;
use symphonia::core::formats::well_known::*;
use symphonia::core::formats::{FormatId, FormatReader, Track, TrackType};

use crate::failure::{ConvertError, Failure};
use crate::opus::OpusHead;
use crate::source::{BlockSource, RangeRead, StorageError};
use crate::timeline::{Plan, Ticks};
use crate::{format_name, mkv, mp3_info, mp4, ogg};

/// Containers that symphonia would take for the MPEG audio inside them.
const FOREIGN: [(usize, &[u8]); 8] = [
    (8, b"AVI "),
    (0, b"\x00\x00\x01\xba"),
    (0, b"FLV"),
    (0, b"\x30\x26\xb2\x75"),
    (0, b"\x47\x40"),
    (0, b"\x89PNG"),
    (0, b"\xff\xd8\xff"),
    (0, b"PK\x03\x04"),
];

/// More chunks than this are not looked at; there are ten kinds of them.
const CAF_CHUNKS_MAX: usize = 1000;

/// The structure of a file.
#[derive(Default)]
pub struct Layout {
    /// The container itself made sense.
    pub known: bool,
    /// The file ends before its structure does.
    pub cut: bool,
    /// What the track's format is called, for when nothing here decodes it.
    pub name: String,
    track_id: Option<u32>,
    mp4: Option<mp4::AudioTrack>,
    mkv: Option<mkv::AudioTrack>,
    mp3: Option<mp3_info::Mp3Info>,
}

impl Layout {
    /// Reads what symphonia does not tell, and hides what it need not read.
    ///
    /// # Errors
    /// A [`Failure`] where it can be seen already that there is nothing to convert, or the store's.
    pub fn read<R: RangeRead>(source: &mut BlockSource<R>) -> Result<Self, ConvertError> {
        let head = source.bytes(0, 16)?;
        if FOREIGN
            .iter()
            .any(|(at, magic)| head.get(*at..).is_some_and(|head| head.starts_with(magic)))
        {
            return Err(Failure::NotMedia.into());
        }
        match mp4::read(source)? {
            mp4::Mp4::Other => {}
            mp4::Mp4::Truncated => return Err(Failure::Truncated.into()),
            mp4::Mp4::NoAudio => return Err(Failure::NoAudio.into()),
            mp4::Mp4::Audio {
                track,
                patches,
                cut,
            } => {
                source.set_patches(patches);
                let (track_id, name) = (Some(track.id), format_name::of_mp4(track.format));
                return Ok(Self {
                    known: true,
                    track_id,
                    name,
                    mp4: Some(track),
                    cut,
                    ..Self::default()
                });
            }
        }
        match mkv::read(source)? {
            mkv::Mkv::Other => {}
            mkv::Mkv::Truncated => return Err(Failure::Truncated.into()),
            mkv::Mkv::NoAudio => return Err(Failure::NoAudio.into()),
            mkv::Mkv::Audio { track, cut } => {
                let name = format_name::of_mkv(&track.codec, track.channels);
                return Ok(Self {
                    known: true,
                    track_id: Some(track.number),
                    name,
                    mkv: Some(track),
                    cut,
                    ..Self::default()
                });
            }
        }
        let name = ogg::codec_name(&source.bytes(0, 64)?);
        let known = name.is_some();
        let name = name.unwrap_or("an unknown codec").to_owned();
        Ok(Self {
            known,
            name,
            cut: ogg::is_cut(source)? || form_is_cut(&head, source.size()) || caf_is_cut(source)?,
            mp3: mp3_info::read(source)?,
            ..Self::default()
        })
    }

    /// The track that the container names, else symphonia's default.
    ///
    /// # Errors
    /// [`Failure::NoAudio`].
    pub fn choose<'a>(&self, reader: &'a dyn FormatReader) -> Result<&'a Track, Failure> {
        match self.track_id {
            Some(id) => reader
                .tracks()
                .iter()
                .find(|track| track.id == id)
                .ok_or(Failure::NoAudio),
            None => {
                let audio = reader.default_track(TrackType::Audio);
                audio
                    .or_else(|| reader.first_track(TrackType::Audio))
                    .ok_or(Failure::NoAudio)
            }
        }
    }

    /// How much sound the container promises. Only where it is a promise: MP3s without an info frame,
    /// ADTS and fragmented files give estimates, Matroska the longest of all tracks.
    pub fn declared(&self, format: FormatId, track: &Track) -> Option<Ticks> {
        let rate = match &track.codec_params {
            Some(CodecParameters::Audio(params)) => u64::from(params.sample_rate?),
            _ => return None,
        };
        let samples = |value| {
            Some(Ticks {
                value,
                per_second: rate.max(1),
            })
        };
        match format {
            FORMAT_ID_ISOMP4 => {
                let mp4 = self.mp4.as_ref().filter(|mp4| !mp4.fragmented)?;
                Some(Ticks {
                    value: track.duration?.get(),
                    per_second: mp4.timescale.into(),
                })
            }
            FORMAT_ID_MP1 | FORMAT_ID_MP2 | FORMAT_ID_MP3 => self.mp3.map(|info| Ticks {
                value: info.samples,
                per_second: info.rate.into(),
            }),
            FORMAT_ID_OGG => {
                let start = track.start_ts.get().checked_neg()?;
                samples(track.num_frames?.checked_add_signed(start)?)
            }
            FORMAT_ID_WAVE | FORMAT_ID_AIFF | FORMAT_ID_CAF | FORMAT_ID_FLAC => {
                samples(track.num_frames?)
            }
            _ => None,
        }
    }

    /// What of the decoded sound counts. The Ogg, MP3 and ADTS demuxers mark it on their packets.
    pub fn plan(&self, format: FormatId, track: &Track, extra_data: Option<&[u8]>) -> Plan {
        let opus_skip = extra_data
            .and_then(OpusHead::read)
            .map(|head| head.pre_skip);
        let at_48_khz = |value| Ticks {
            value,
            per_second: crate::opus::RATE.into(),
        };
        let nanoseconds = |value| Ticks {
            value,
            per_second: 1_000_000_000,
        };
        if let Some(mp4) = &self.mp4 {
            return match opus_skip {
                Some(skip) if mp4.edits.is_empty() => {
                    Plan::trimmed(at_48_khz(skip.into()), at_48_khz(0))
                }
                _ => {
                    let media_end = track.duration.filter(|_| !mp4.fragmented);
                    Plan::edited(mp4, media_end.map(|end| end.get()))
                }
            };
        }
        if let Some(mkv) = &self.mkv {
            let start = opus_skip.map_or(nanoseconds(mkv.delay_ns), |skip| at_48_khz(skip.into()));
            return Plan::trimmed(start, nanoseconds(mkv.padding_ns));
        }
        match (format, opus_skip) {
            (FORMAT_ID_OGG, Some(skip)) => Plan::trimmed(at_48_khz(skip.into()), at_48_khz(0)),
            (FORMAT_ID_CAF, _) => {
                let per_second = track
                    .time_base
                    .map_or(1, |base| u64::from(base.denom.get()));
                let samples = |count: Option<u32>| Ticks {
                    value: count.unwrap_or(0).into(),
                    per_second,
                };
                Plan::trimmed(samples(track.delay), samples(track.padding))
            }
            _ => Plan::whole(),
        }
    }
}

/// An AIFF file says at its start how long it is. (A WAVE file's data chunk does it for itself.)
fn form_is_cut(head: &[u8], size: u64) -> bool {
    let declared = head
        .strip_prefix(b"FORM")
        .and_then(|rest| rest.first_chunk::<4>());
    declared.is_some_and(|bytes| u64::from(u32::from_be_bytes(*bytes)) + 8 > size)
}

/// A CAF file is a row of chunks that each say how long they are; only the last may leave it open.
fn caf_is_cut<R: RangeRead>(source: &mut BlockSource<R>) -> Result<bool, StorageError> {
    if source.bytes(0, 4)? != b"caff" {
        return Ok(false);
    }
    let (mut position, size) = (8_u64, source.size());
    for _ in 0..CAF_CHUNKS_MAX {
        let head = source.bytes(position, 12)?;
        let Some(len) = head.get(4..).and_then(|bytes| bytes.first_chunk::<8>()) else {
            return Ok(!head.is_empty());
        };
        match u64::try_from(i64::from_be_bytes(*len)) {
            Ok(len) => position = position.saturating_add(12).saturating_add(len),
            Err(_) => return Ok(false),
        }
        if position > size {
            return Ok(true);
        }
    }
    Ok(false)
}
