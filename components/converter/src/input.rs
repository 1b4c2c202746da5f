//! An upload that is opened, and its decoded sound, stretch by stretch: cut to what counts, with
//! silence for what could not be decoded, and an end that is checked against what was promised.

use std::sync::Arc;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::{Hint, Probe, ProbeOptions};
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use crate::clock::{self, Clock};
use crate::decode::Decoder;
use crate::failure::{ConvertError, Failure};
use crate::layout::Layout;
use crate::mix::Sound;
use crate::source::{BlockSource, Gauge, RangeRead};
use crate::tags::Tags;
use crate::timeline::{Plan, Ticks, Timeline};

/// How far into the file a container may begin. Text, pictures and archives contain what looks
/// like the start of an MP3 frame sooner or later; an MP3 has its own near the beginning.
const PROBE_DEPTH_BYTES: u32 = 4096;

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
    time_base: Option<TimeBase>,
    decoder: Decoder,
    plan: Plan,
    cut: bool,
    timeline: Option<Timeline>,
    clock: Clock,
    /// How much the decoder ought to give, before anything is cut from it.
    declared: Option<Ticks>,
    /// The same where it is good enough for a progress bar alone.
    estimated: Option<Ticks>,
    packets: u64,
    bad_packets: u64,
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
        let layout = Layout::read(&mut source)?;
        let mut reader = probe(source).map_err(|_| match gauge.take_fault() {
            Some(fault) => ConvertError::Storage(fault),
            None if layout.cut => Failure::Truncated.into(),
            None if layout.known => Failure::Unsupported(layout.name.clone()).into(),
            None => Failure::NotMedia.into(),
        })?;
        let tags = Tags::of(reader.as_mut(), name);
        let format = reader.format_info().format;
        let track = layout.choose(reader.as_ref())?;
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err(Failure::Unsupported(layout.name).into());
        };
        let decoder = Decoder::new(params)?;
        let declared = layout.declared(format, track);
        // Fragments and clusters do not say how many there ought to be: all that can be known is
        // that the last one is not all there.
        if layout.cut && declared.is_none() {
            return Err(Failure::Truncated.into());
        }
        let plan = layout.plan(format, track, params.extra_data.as_deref());
        let length = track.duration.zip(track.time_base).or_else(|| {
            let info = reader.media_info();
            info.duration.zip(info.time_base)
        });
        let estimated = length.map(|(length, base)| clock::ticks(length.get(), base));
        let input = Self {
            track_id: track.id,
            time_base: track.time_base,
            gauge,
            size,
            decoder,
            plan,
            cut: layout.cut,
            timeline: None,
            clock: Clock::default(),
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
            let at = self
                .time_base
                .and_then(|base| clock::samples(packet.pts, base, rate));
            if let Some(at) = at.filter(|_| into.frames() > 0) {
                into.delay(self.clock.lost(at, timeline.position(), rate));
            }
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
        let Some(base) = self.time_base else { return };
        let length = clock::ticks(packet.dur.get(), base);
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
            // Past the end some demuxers find damage where there is nothing.
            _ if self.cut => self.end().map(|()| false),
            Error::ResetRequired => {
                let track = self
                    .reader
                    .default_track(TrackType::Audio)
                    .ok_or(Failure::Damaged)?;
                if let Some(CodecParameters::Audio(params)) = &track.codec_params {
                    self.decoder = Decoder::new(params)?;
                    (self.track_id, self.time_base) = (track.id, track.time_base);
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
            return Err(match (self.cut, self.bad_packets) {
                (true, _) => Failure::Truncated.into(),
                (false, 0) => Failure::Empty.into(),
                (false, _) => Failure::Damaged.into(),
            });
        };
        let rate = self.decoder.rate();
        let declared = self.declared.map_or(0, |declared| declared.samples(rate));
        if timeline.position() + SHORTFALL_MAX.samples(rate) < declared {
            return Err(Failure::Truncated.into());
        }
        Ok(())
    }
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
