//! The parts of an MP4 or QuickTime file that symphonia does not act on: which track is the audio
//! track, its edit list, and whether the file is all there. Structures per ISO/IEC 14496-12.
//!
//! The other tracks are hidden from symphonia (their `trak` and `trex` boxes become `free`), so
//! that the video's sample tables take no memory and the video's samples are never fetched.

use crate::source::{BlockSource, Patch, RangeRead, StorageError};

/// More tracks than this are not looked at; files in the wild have fewer than twenty.
const TRACKS_MAX: usize = 256;
/// More edits than this are not looked at: cuts come in dozens.
const EDITS_MAX: u32 = 1024;
/// More boxes than this inside another are not looked at.
const BOXES_MAX: usize = 4096;
/// More boxes than this at the top are not looked at: two per fragment, a fragment every second,
/// for six days. A file made of empty boxes must not keep us busy.
const TOP_BOXES_MAX: usize = 1_000_000;

/// One entry of an edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// How long it lasts, in the movie's timescale; 0 is "to the end" (fragmented files).
    pub duration: u64,
    /// Where in the media it begins, in the media's timescale; `None` is an empty edit.
    pub media_time: Option<u64>,
}

/// An audio track as its `trak` box describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// The track's number.
    pub id: u32,
    /// The movie timescale: ticks per second of [`Edit::duration`].
    pub movie_timescale: u32,
    /// The media timescale: ticks per second of [`Edit::media_time`].
    pub timescale: u32,
    /// The sample entry's four characters: what the audio is encoded in.
    pub format: [u8; 4],
    /// The edit list; empty where there is none.
    pub edits: Vec<Edit>,
    /// The samples are in fragments, so that the index does not know how many there are.
    pub fragmented: bool,
    enabled: bool,
}

/// What was found in the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Mp4 {
    /// The file does not begin as an MP4 or QuickTime file.
    Other,
    /// It does, and its index is missing because the file stops before it.
    Truncated,
    /// It does, and it has no audio track.
    NoAudio,
    /// The default audio track, and what hides all others.
    Audio {
        /// The track to convert.
        track: AudioTrack,
        /// Hides the tracks that are not converted.
        patches: Vec<Patch>,
        /// A box reaches beyond the end of the file.
        cut: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct Header {
    kind: [u8; 4],
    start: u64,
    body: u64,
    end: u64,
}

/// Reads the structure of the file.
///
/// # Errors
/// The store's failure alone; a file that makes no sense is one of the outcomes.
pub fn read<R: RangeRead>(source: &mut BlockSource<R>) -> Result<Mp4, StorageError> {
    let size = source.size();
    match header(source, 0, size)? {
        Some(first) if matches!(&first.kind, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"pnot") => {}
        _ => return Ok(Mp4::Other),
    }
    let (mut position, mut moov, mut cut) = (0, None, false);
    for _ in 0..TOP_BOXES_MAX {
        let Some(found) = header(source, position, size)? else {
            break;
        };
        cut |= found.end > size;
        if &found.kind == b"moov" && found.end <= size {
            moov.get_or_insert(found);
        }
        position = found.end;
    }
    // What is left over is shorter than a header: the file stops inside one.
    cut |= position < size && size - position < 8;
    let Some(moov) = moov else {
        return Ok(if cut { Mp4::Truncated } else { Mp4::Other });
    };
    let (tracks, patches) = movie(source, moov)?;
    let chosen = tracks
        .iter()
        .position(|t| t.enabled)
        .or(if tracks.is_empty() { None } else { Some(0) });
    let Some(track) = chosen.map(|at| tracks[at].clone()) else {
        return Ok(Mp4::NoAudio);
    };
    let hidden = patches.into_iter().filter(|(id, _)| *id != track.id);
    let patches = hidden.map(|(_, patch)| patch).collect();
    Ok(Mp4::Audio {
        track,
        patches,
        cut,
    })
}

/// The header at `position`, or `None` where no box begins there. Its end may lie beyond `end`.
fn header<R: RangeRead>(
    source: &mut BlockSource<R>,
    position: u64,
    end: u64,
) -> Result<Option<Header>, StorageError> {
    let mut bytes = [0; 16];
    let got = source.peek(position, &mut bytes)?;
    if got < 8 || position + 8 > end {
        return Ok(None);
    }
    let (short, kind) = (be(&bytes[..4]), [bytes[4], bytes[5], bytes[6], bytes[7]]);
    let (header_len, len) = match short {
        0 => (8, end - position),
        1 if got == 16 => (16, be(&bytes[8..16])),
        1 => return Ok(None),
        _ => (8, short),
    };
    let Some(box_end) = position.checked_add(len).filter(|_| len >= header_len) else {
        return Ok(None);
    };
    Ok(Some(Header {
        kind,
        start: position,
        body: position + header_len,
        end: box_end,
    }))
}

fn children<R: RangeRead>(
    source: &mut BlockSource<R>,
    parent: Header,
) -> Result<Vec<Header>, StorageError> {
    let (mut found, mut position) = (Vec::new(), parent.body);
    while found.len() < BOXES_MAX
        && let Some(child) = header(source, position, parent.end)?
        && child.end <= parent.end
    {
        position = child.end;
        found.push(child);
    }
    Ok(found)
}

fn descend<R: RangeRead>(
    source: &mut BlockSource<R>,
    parent: Header,
    path: &[&[u8; 4]],
) -> Result<Option<Header>, StorageError> {
    let mut at = parent;
    for kind in path {
        match children(source, at)?
            .into_iter()
            .find(|child| &child.kind == *kind)
        {
            Some(child) => at = child,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

type Hidden = (u32, Patch);

fn hide(id: u32, found: Header) -> Hidden {
    (
        id,
        Patch {
            position: found.start + 4,
            bytes: *b"free",
        },
    )
}

fn movie<R: RangeRead>(
    source: &mut BlockSource<R>,
    moov: Header,
) -> Result<(Vec<AudioTrack>, Vec<Hidden>), StorageError> {
    let (mut tracks, mut patches) = (Vec::new(), Vec::new());
    let (mut movie_timescale, mut fragmented) = (1, false);
    for child in children(source, moov)? {
        match &child.kind {
            b"mvhd" => movie_timescale = timescale(source, child)?.unwrap_or(1),
            b"trak" if patches.len() < TRACKS_MAX => {
                let Some(id) = track_id(source, child)? else {
                    continue;
                };
                patches.push(hide(id.0, child));
                if let Some(mut track) = audio_track(source, child)? {
                    (track.id, track.enabled) = id;
                    tracks.push(track);
                }
            }
            b"mvex" => {
                fragmented = true;
                for trex in children(source, child)?
                    .into_iter()
                    .filter(|c| &c.kind == b"trex")
                {
                    let body = source.bytes(trex.body, 8)?;
                    if body.len() == 8 {
                        patches.push(hide(be(&body[4..8]) as u32, trex));
                    }
                }
            }
            _ => {}
        }
    }
    for track in &mut tracks {
        (track.movie_timescale, track.fragmented) = (movie_timescale, fragmented);
    }
    Ok((tracks, patches))
}

/// The track's number, and whether it is enabled (`tkhd`).
fn track_id<R: RangeRead>(
    source: &mut BlockSource<R>,
    trak: Header,
) -> Result<Option<(u32, bool)>, StorageError> {
    let Some(tkhd) = descend(source, trak, &[b"tkhd"])? else {
        return Ok(None);
    };
    let body = source.bytes(tkhd.body, 24)?;
    if body.len() < 24 {
        return Ok(None);
    }
    let at = if body[0] == 1 { 20 } else { 12 };
    Ok(Some((be(&body[at..at + 4]) as u32, body[3] & 1 != 0)))
}

fn audio_track<R: RangeRead>(
    source: &mut BlockSource<R>,
    trak: Header,
) -> Result<Option<AudioTrack>, StorageError> {
    let Some(hdlr) = descend(source, trak, &[b"mdia", b"hdlr"])? else {
        return Ok(None);
    };
    if source.bytes(hdlr.body, 12)?.get(8..12) != Some(b"soun") {
        return Ok(None);
    }
    let Some(mdhd) = descend(source, trak, &[b"mdia", b"mdhd"])? else {
        return Ok(None);
    };
    let format = match descend(source, trak, &[b"mdia", b"minf", b"stbl", b"stsd"])? {
        Some(stsd) => source
            .bytes(stsd.body + 12, 4)?
            .try_into()
            .unwrap_or_default(),
        None => [0; 4],
    };
    let edits = match descend(source, trak, &[b"edts", b"elst"])? {
        Some(elst) => edits(source, elst)?,
        None => Vec::new(),
    };
    let timescale = timescale(source, mdhd)?.unwrap_or(1);
    let fragmented = false;
    Ok(Some(AudioTrack {
        id: 0,
        movie_timescale: 1,
        timescale,
        format,
        edits,
        fragmented,
        enabled: false,
    }))
}

/// The timescale of an `mvhd` or `mdhd` box.
fn timescale<R: RangeRead>(
    source: &mut BlockSource<R>,
    found: Header,
) -> Result<Option<u32>, StorageError> {
    let body = source.bytes(found.body, 24)?;
    let at = if body.first() == Some(&1) { 20 } else { 12 };
    Ok(body
        .get(at..at + 4)
        .map(|bytes| be(bytes) as u32)
        .filter(|timescale| *timescale > 0))
}

fn edits<R: RangeRead>(
    source: &mut BlockSource<R>,
    elst: Header,
) -> Result<Vec<Edit>, StorageError> {
    let head = source.bytes(elst.body, 8)?;
    if head.len() < 8 {
        return Ok(Vec::new());
    }
    let width = if head[0] == 1 { 8 } else { 4 };
    let count = (be(&head[4..8]) as u32).min(EDITS_MAX) as usize;
    let body = source.bytes(elst.body + 8, count * (2 * width + 4))?;
    let entries = body.chunks_exact(2 * width + 4).map(|entry| {
        let media_time = be(&entry[width..2 * width]);
        let empty = entry[width] & 0x80 != 0;
        Edit {
            duration: be(&entry[..width]),
            media_time: (!empty).then_some(media_time),
        }
    });
    Ok(entries.collect())
}

fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
impl AudioTrack {
    /// A track with nothing but what `timeline.rs` looks at.
    pub fn for_test(movie_timescale: u32, timescale: u32, edits: Vec<Edit>) -> Self {
        let format = *b"mp4a";
        Self {
            id: 1,
            movie_timescale,
            timescale,
            format,
            edits,
            fragmented: false,
            enabled: true,
        }
    }
}
