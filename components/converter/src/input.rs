//! Opening an upload: which container it is, which track is the audio track, what decodes it, how
//! much of it counts and how long it ought to be. Then: its decoded sound, stretch by stretch.

use std::io;
use std::sync::Arc;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::{Hint, Probe, ProbeOptions};
use symphonia::core::formats::well_known::*;
use symphonia::core::formats::{FormatId, FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::decode::Decoder;
use crate::failure::{ConvertError, Failure};
use crate::mix::Sound;
use crate::opus::OpusHead;
use crate::source::{BlockSource, Gauge, RangeRead};
use crate::tags::Tags;
use crate::timeline::{Plan, Ticks, Timeline};
use crate::{format_name, mkv, mp3_info, mp4, ogg};

/// How far into the file a container may begin. Text, pictures and archives contain what looks
/// like the start of an MP3 frame sooner or later; an MP3 has its own near the beginning.
const PROBE_DEPTH_BYTES: u32 = 4096;

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

/// Decoded sound may be this much shorter than the container says before the file counts as
/// truncated: encoders leave out their last packet, and durations are rounded.
const SHORTFALL_MAX: Ticks = Ticks {
    value: 500,
    per_second: 1000,
};

/// So many undecodable packets are always skipped, as silence of their length...
const BAD_PACKETS_FREE: u64 = 25;
/// ...and beyond that one in so many.
const BAD_PACKETS_ONE_IN: u64 = 20;

/// An upload that is being decoded.
pub struct Input {
    reader: Box<dyn FormatReader>,
    gauge: Arc<Gauge>,
    size: u64,
    track_id: u32,
    decoder: Decoder,
    plan: Plan,
    timeline: Option<Timeline>,
    /// How much the decoder ought to give, before anything is cut from it.
    declared: Option<Ticks>,
    /// The same where it is good enough for a progress bar alone.
    estimated: Option<Ticks>,
    packets: u64,
    bad_packets: u64,
}

/// What the container says beyond what symphonia passes on.
#[derive(Default)]
struct Layout {
    track_id: Option<u32>,
    /// What the track's format is called, for when nothing here knows it.
    name: String,
    mp4: Option<mp4::AudioTrack>,
    mkv: Option<mkv::AudioTrack>,
    mp3: Option<mp3_info::Mp3Info>,
    cut: bool,
}

impl Input {
    /// Opens a file. `name` is what the user calls it.
    ///
    /// # Errors
    /// A [`Failure`] that says what is wrong with the file, or the store's own.
    pub fn open<R: RangeRead + 'static>(
        reader: R,
        name: &str,
    ) -> Result<(Self, Tags), ConvertError> {
        let mut source = BlockSource::new(reader);
        let gauge = source.gauge();
        let size = source.size();
        let layout = layout(&mut source)?;
        let mut reader = probe(source).map_err(|error| match gauge.take_fault() {
            Some(fault) => ConvertError::Storage(fault),
            None if layout.cut && is_end(&error) => Failure::Truncated.into(),
            None if layout.track_id.is_some() && layout.cut => Failure::Truncated.into(),
            None => Failure::NotMedia.into(),
        })?;
        let tags = Tags::of(reader.as_mut(), name);
        let format = reader.format_info().format;
        let track = choose(reader.as_ref(), &layout)?;
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err(Failure::Unsupported(layout.name).into());
        };
        let decoder = Decoder::new(params)?;
        let declared = declared(format, track, &layout);
        // Fragments and clusters do not say how many there ought to be: all that can be known is
        // that the last one is not all there.
        if layout.cut && declared.is_none() {
            return Err(Failure::Truncated.into());
        }
        let plan = plan(format, track, &layout, params.extra_data.as_deref());
        let length = track.duration.zip(track.time_base).or_else(|| {
            let info = reader.media_info();
            info.duration.zip(info.time_base)
        });
        let estimated = length.map(|(length, base)| Ticks {
            value: length.get().saturating_mul(u64::from(base.numer.get())),
            per_second: u64::from(base.denom.get()),
        });
        let input = Self {
            track_id: track.id,
            gauge,
            size,
            decoder,
            plan,
            timeline: None,
            declared,
            estimated: declared.or(estimated).filter(|length| length.value > 0),
            packets: 0,
            bad_packets: 0,
            reader,
        };
        Ok((input, tags))
    }

    /// Samples per second of the sound; known once some has come out.
    pub fn rate(&self) -> u32 {
        self.decoder.rate()
    }

    /// 1 or 2; known once some sound has come out.
    pub fn channels(&self) -> u8 {
        self.decoder.outputs()
    }

    /// How much of the file is behind us, from 0 to 1: by the time in it, or by bytes where it does
    /// not say how long it is.
    pub fn progress(&self) -> f64 {
        let by_time = self
            .timeline
            .as_ref()
            .zip(self.estimated)
            .map(|(timeline, length)| {
                timeline.position() as f64 / (length.seconds() * f64::from(self.rate())).max(1.0)
            });
        by_time
            .unwrap_or(self.gauge.position() as f64 / self.size.max(1) as f64)
            .clamp(0.0, 1.0)
    }

    /// Puts the next stretch of sound into `into`, which may stay empty, and gives false at the end.
    ///
    /// # Errors
    /// [`Failure::Damaged`] past the bound on bad packets, [`Failure::Truncated`] at an end that
    /// comes too early, or the store's failure.
    pub fn next(&mut self, into: &mut Sound) -> Result<bool, ConvertError> {
        into.clear();
        if self.timeline.as_ref().is_some_and(Timeline::is_over) {
            return Ok(false);
        }
        let packet = match self.reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == self.track_id => packet,
            Ok(Some(_)) => return Ok(true),
            Ok(None) => return self.end().map(|()| false),
            Err(error) => return self.recover(&error),
        };
        self.packets += 1;
        if self.decoder.decode(&packet, into).is_err() {
            self.forgive()?;
            self.fill(&packet, into);
        }
        let rate = self.decoder.rate();
        if rate > 0 {
            let timeline = self.timeline.get_or_insert_with(|| self.plan.at(rate));
            timeline.push(into);
        }
        Ok(true)
    }

    /// Counts one more bad packet.
    fn forgive(&mut self) -> Result<(), Failure> {
        self.bad_packets += 1;
        let bound = BAD_PACKETS_FREE.max(self.packets / BAD_PACKETS_ONE_IN);
        if self.bad_packets > bound {
            Err(Failure::Damaged)
        } else {
            Ok(())
        }
    }

    /// Silence in place of a packet that could not be decoded, so that what follows stays in time.
    fn fill(&self, packet: &Packet, into: &mut Sound) {
        into.clear();
        let base = self
            .reader
            .tracks()
            .iter()
            .find(|t| t.id == self.track_id)
            .and_then(|t| t.time_base);
        let Some(base) = base else { return };
        let length = Ticks {
            value: packet.dur.get().saturating_mul(u64::from(base.numer.get())),
            per_second: u64::from(base.denom.get()),
        };
        // A second is longer than any packet; more would be a damaged duration.
        let frames = length
            .samples(self.decoder.rate())
            .min(u64::from(self.decoder.rate())) as usize;
        into.left.resize(frames, 0.0);
        into.right.resize(
            if self.decoder.outputs() == 2 {
                frames
            } else {
                0
            },
            0.0,
        );
    }

    /// After an error of the demuxer: the end of the file, a new chain link, or a bad packet.
    fn recover(&mut self, error: &Error) -> Result<bool, ConvertError> {
        if let Some(fault) = self.gauge.take_fault() {
            return Err(fault.into());
        }
        match error {
            Error::IoError(_) => self.end().map(|()| false),
            Error::ResetRequired => {
                let track = self
                    .reader
                    .default_track(TrackType::Audio)
                    .ok_or(Failure::Damaged)?;
                if let Some(CodecParameters::Audio(params)) = &track.codec_params {
                    self.decoder = Decoder::new(params)?;
                    self.track_id = track.id;
                }
                Ok(true)
            }
            _ => {
                self.packets += 1;
                self.forgive()?;
                Ok(true)
            }
        }
    }

    /// The demuxer has no more packets. Is that all that there ought to be?
    fn end(&self) -> Result<(), ConvertError> {
        let Some(timeline) = &self.timeline else {
            let failure = if self.bad_packets > 0 {
                Failure::Damaged
            } else {
                Failure::Empty
            };
            return Err(failure.into());
        };
        let rate = self.decoder.rate();
        let declared = self.declared.map_or(0, |declared| declared.samples(rate));
        if timeline.position() + SHORTFALL_MAX.samples(rate) < declared {
            return Err(Failure::Truncated.into());
        }
        Ok(())
    }
}

fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}

/// Reads what symphonia does not tell, and hides what it need not read.
fn layout<R: RangeRead>(source: &mut BlockSource<R>) -> Result<Layout, ConvertError> {
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
            return Ok(Layout {
                track_id,
                name,
                mp4: Some(track),
                cut,
                ..Layout::default()
            });
        }
    }
    match mkv::read(source)? {
        mkv::Mkv::Other => {}
        mkv::Mkv::Truncated => return Err(Failure::Truncated.into()),
        mkv::Mkv::NoAudio => return Err(Failure::NoAudio.into()),
        mkv::Mkv::Audio { track, cut } => {
            let name = format_name::of_mkv(&track.codec, track.channels);
            return Ok(Layout {
                track_id: Some(track.number),
                name,
                mkv: Some(track),
                cut,
                ..Layout::default()
            });
        }
    }
    let name = "an unknown codec".to_owned();
    Ok(Layout {
        name,
        cut: ogg::is_cut(source)?,
        mp3: mp3_info::read(source)?,
        ..Layout::default()
    })
}

fn probe<R: RangeRead + 'static>(source: BlockSource<R>) -> Result<Box<dyn FormatReader>, Error> {
    let options = ProbeOptions {
        max_probe_depth: PROBE_DEPTH_BYTES,
        ..ProbeOptions::default()
    };
    let mut probe = Probe::new_with_options(&options);
    symphonia::default::register_enabled_formats(&mut probe);
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    probe.probe(
        &Hint::new(),
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    )
}

/// The track that the container names, else symphonia's default.
fn choose<'a>(reader: &'a dyn FormatReader, layout: &Layout) -> Result<&'a Track, Failure> {
    match layout.track_id {
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
fn declared(format: FormatId, track: &Track, layout: &Layout) -> Option<Ticks> {
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
            let mp4 = layout.mp4.as_ref().filter(|mp4| !mp4.fragmented)?;
            Some(Ticks {
                value: track.duration?.get(),
                per_second: mp4.timescale.into(),
            })
        }
        FORMAT_ID_MP1 | FORMAT_ID_MP2 | FORMAT_ID_MP3 => layout.mp3.map(|info| Ticks {
            value: info.samples,
            per_second: info.rate.into(),
        }),
        FORMAT_ID_OGG => samples(
            track
                .num_frames?
                .checked_add_signed(-track.start_ts.get())?,
        ),
        FORMAT_ID_WAVE | FORMAT_ID_AIFF | FORMAT_ID_CAF | FORMAT_ID_FLAC => {
            samples(track.num_frames?)
        }
        _ => None,
    }
}

/// What of the decoded sound counts. The Ogg, MP3 and ADTS demuxers mark it on their packets.
fn plan(format: FormatId, track: &Track, layout: &Layout, extra_data: Option<&[u8]>) -> Plan {
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
    if let Some(mp4) = &layout.mp4 {
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
    if let Some(mkv) = &layout.mkv {
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
