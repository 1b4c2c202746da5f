//! The parts of a Matroska or WebM file that symphonia does not pass on: which audio track is the
//! default one, its codec delay and the padding of its last block to the sample, and whether the
//! file is all there. Elements per RFC 9559.
//!
//! Only headers are read: the walk hops from cluster to cluster and looks into the last two.

use crate::source::{BlockSource, RangeRead, StorageError};

/// More elements than this are not walked over (a cluster a second, for six days).
const ELEMENTS_MAX: usize = 1_000_000;
/// Longer values than this are not read: ours are numbers and short names.
const VALUE_BYTES_MAX: u64 = 64;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const FLAG_DEFAULT: u32 = 0x88;
const CODEC_ID: u32 = 0x86;
const CODEC_DELAY: u32 = 0x56aa;
const AUDIO: u32 = 0xe1;
const CHANNELS: u32 = 0x9f;
const CLUSTER: u32 = 0x1f43_b675;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

const TRACK_TYPE_AUDIO: u64 = 2;

/// An audio track as its `TrackEntry` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// The track's number, as blocks name it.
    pub number: u32,
    /// Matroska's name of the codec, such as `A_AC3`.
    pub codec: String,
    /// How many channels the track says it has.
    pub channels: u64,
    /// How much the decoder gives before the first sample that counts, in nanoseconds.
    pub delay_ns: u64,
    /// How much of the last block does not count, in nanoseconds.
    pub padding_ns: u64,
    default: bool,
}

/// What was found in the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Mkv {
    /// The file does not begin as a Matroska file.
    Other,
    /// It does, and stops before its tracks are described.
    Truncated,
    /// It does, and it has no audio track.
    NoAudio,
    /// The default audio track.
    Audio {
        /// The track to convert.
        track: AudioTrack,
        /// An element reaches beyond the end of the file.
        cut: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    body: u64,
    /// `None` where the size is unknown: the element lasts until one that cannot be inside it.
    end: Option<u64>,
}

/// Reads the structure of the file.
///
/// # Errors
/// The store's failure alone; a file that makes no sense is one of the outcomes.
pub fn read<R: RangeRead>(source: &mut BlockSource<R>) -> Result<Mkv, StorageError> {
    let size = source.size();
    let Some(head) = element(source, 0, size)?.filter(|e| e.id == EBML) else {
        return Ok(Mkv::Other);
    };
    let Some(segment) =
        element(source, head.end.unwrap_or(size), size)?.filter(|e| e.id == SEGMENT)
    else {
        return Ok(Mkv::Truncated);
    };
    let mut cut = segment.end.is_some_and(|end| end > size);
    let (mut position, mut tracks, mut clusters) = (segment.body, None, [None, None]);
    for _ in 0..ELEMENTS_MAX {
        let Some(found) = element(source, position, size)? else {
            break;
        };
        let end = found.end.unwrap_or(size);
        cut |= end > size;
        match found.id {
            TRACKS if tracks.is_none() && end <= size => {
                tracks = Some(audio_tracks(source, found)?)
            }
            CLUSTER => clusters = [clusters[1], Some(found)],
            _ => {}
        }
        position = end;
    }
    let Some(tracks) = tracks else {
        return Ok(Mkv::Truncated);
    };
    let chosen = tracks.iter().find(|track| track.default).or(tracks.first());
    let Some(mut track) = chosen.cloned() else {
        return Ok(Mkv::NoAudio);
    };
    for cluster in clusters.into_iter().flatten() {
        if let Some(padding_ns) = last_padding(source, cluster, track.number)? {
            track.padding_ns = padding_ns;
        }
    }
    Ok(Mkv::Audio { track, cut })
}

/// The element at `position`, or `None` where none begins before `end`.
fn element<R: RangeRead>(
    source: &mut BlockSource<R>,
    position: u64,
    end: u64,
) -> Result<Option<Element>, StorageError> {
    let mut bytes = [0; 12];
    let got = if position < end {
        source.peek(position, &mut bytes)?
    } else {
        0
    };
    let Some(id_len) = bytes
        .first()
        .map(|b| b.leading_zeros() as usize + 1)
        .filter(|len| *len <= 4)
    else {
        return Ok(None);
    };
    let size_len = bytes[id_len].leading_zeros() as usize + 1;
    if size_len > 8 || id_len + size_len > got {
        return Ok(None);
    }
    let id = number(&bytes[..id_len]) as u32;
    let mask = (1_u64 << (7 * size_len)) - 1;
    let len = number(&bytes[id_len..id_len + size_len]) & mask;
    let body = position + (id_len + size_len) as u64;
    let element_end = if len == mask {
        None
    } else {
        body.checked_add(len)
    };
    Ok(Some(Element {
        id,
        body,
        end: element_end,
    }))
}

/// The children of `parent`, as many as there are in the file.
fn children<R: RangeRead>(
    source: &mut BlockSource<R>,
    parent: Element,
) -> Result<Vec<Element>, StorageError> {
    let end = parent.end.unwrap_or(source.size()).min(source.size());
    let (mut found, mut position) = (Vec::new(), parent.body);
    while found.len() < ELEMENTS_MAX / 10
        && let Some(child) = element(source, position, end)?
        && let Some(child_end) = child.end
    {
        if parent.end.is_none() && child.id > 0x00ff_ffff {
            // An element of the level above ends one of unknown size.
            break;
        }
        position = child_end;
        found.push(child);
    }
    Ok(found)
}

fn value<R: RangeRead>(
    source: &mut BlockSource<R>,
    element: Element,
) -> Result<Vec<u8>, StorageError> {
    let len = element
        .end
        .map_or(0, |end| end - element.body)
        .min(VALUE_BYTES_MAX);
    source.bytes(element.body, len as usize)
}

fn audio_tracks<R: RangeRead>(
    source: &mut BlockSource<R>,
    tracks: Element,
) -> Result<Vec<AudioTrack>, StorageError> {
    let mut found = Vec::new();
    for entry in children(source, tracks)?
        .into_iter()
        .filter(|e| e.id == TRACK_ENTRY)
    {
        let mut kind = 0;
        let mut track = AudioTrack {
            number: 0,
            codec: String::new(),
            channels: 1,
            delay_ns: 0,
            padding_ns: 0,
            default: true,
        };
        for child in children(source, entry)? {
            match child.id {
                TRACK_NUMBER => track.number = number(&value(source, child)?) as u32,
                TRACK_TYPE => kind = number(&value(source, child)?),
                FLAG_DEFAULT => track.default = number(&value(source, child)?) != 0,
                CODEC_DELAY => track.delay_ns = number(&value(source, child)?),
                CODEC_ID => {
                    let name = value(source, child)?;
                    track.codec = String::from_utf8_lossy(&name)
                        .trim_end_matches('\0')
                        .to_owned();
                }
                AUDIO => {
                    if let Some(channels) = children(source, child)?
                        .into_iter()
                        .find(|e| e.id == CHANNELS)
                    {
                        track.channels = number(&value(source, channels)?);
                    }
                }
                _ => {}
            }
        }
        if kind == TRACK_TYPE_AUDIO {
            found.push(track);
        }
    }
    Ok(found)
}

/// The padding of the last block of this track in a cluster: 0 where the block says nothing, `None`
/// where the cluster has no block of it.
fn last_padding<R: RangeRead>(
    source: &mut BlockSource<R>,
    cluster: Element,
    track: u32,
) -> Result<Option<u64>, StorageError> {
    let mut padding = None;
    for child in children(source, cluster)? {
        match child.id {
            SIMPLE_BLOCK if block_track(source, child)? == Some(track) => padding = Some(0),
            BLOCK_GROUP => {
                let parts = children(source, child)?;
                let Some(block) = parts.iter().find(|part| part.id == BLOCK) else {
                    continue;
                };
                if block_track(source, *block)? != Some(track) {
                    continue;
                }
                let discard = parts.iter().find(|part| part.id == DISCARD_PADDING);
                padding = Some(match discard {
                    Some(discard) => signed(&value(source, *discard)?).max(0) as u64,
                    None => 0,
                });
            }
            _ => {}
        }
    }
    Ok(padding)
}

fn block_track<R: RangeRead>(
    source: &mut BlockSource<R>,
    block: Element,
) -> Result<Option<u32>, StorageError> {
    let bytes = source.bytes(block.body, 4)?;
    let Some(len) = bytes
        .first()
        .map(|b| b.leading_zeros() as usize + 1)
        .filter(|len| *len <= 4)
    else {
        return Ok(None);
    };
    let mask = (1_u64 << (7 * len)) - 1;
    Ok(bytes.get(..len).map(|bytes| (number(bytes) & mask) as u32))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let bits = 64 - 8 * bytes.len().min(8) as u32;
    if bytes.is_empty() {
        0
    } else {
        (number(bytes) << bits) as i64 >> bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_of_any_width() {
        assert_eq!(signed(&[0xff]), -1);
        assert_eq!(signed(&[0x00, 0x80]), 128);
        assert_eq!(signed(&[0x80, 0, 0, 0, 0, 0, 0, 0]), i64::MIN);
        assert_eq!(signed(&[]), 0);
    }
}
