//! Random access to an uploaded file, by ranges, in bounded memory.
//!
//! A [`BlockSource`] is what the demuxers read: it fetches blocks of [`BLOCK_BYTES`] and keeps the
//! [`BLOCKS_MAX`] used last, so that a file with its index at the end (moov, cues) and its audio in
//! the middle is read without fetching anything twice, and a file of any length takes 2 MiB.
//!
//! [`Patch`]es overlay single bytes of the file as the demuxer sees it. `mp4.rs` hides the tracks
//! that are not converted with them, so that a video's samples are never fetched.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

/// One fetch. Large enough that a host call costs nothing beside it, small enough that skipping
/// over video still pays.
pub const BLOCK_BYTES: u64 = 256 * 1024;

/// How many blocks are kept: index, audio, cover art and tail, each with a neighbour.
pub const BLOCKS_MAX: usize = 8;

/// The blob store (or a file, in tests) did not do what was asked of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {object}: {reason}")]
pub struct StorageError {
    /// What was being done.
    pub operation: &'static str,
    /// The object that it was done to.
    pub object: String,
    /// The store's own words.
    pub reason: String,
}

/// Something that is read by byte ranges.
pub trait RangeRead: Send + Sync {
    /// The size of the whole in bytes; it does not change.
    fn size(&self) -> u64;

    /// Reads exactly `len` bytes from `start` into `into` (cleared first). `start + len` is at most
    /// the size.
    ///
    /// # Errors
    /// The store's failure; the caller gives up and the delivery is tried again.
    fn read_range(&mut self, start: u64, len: u64, into: &mut Vec<u8>) -> Result<(), StorageError>;
}

/// Bytes that the demuxer sees instead of the file's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where in the file.
    pub position: u64,
    /// What stands there.
    pub bytes: [u8; 4],
}

/// What the reading side tells while a demuxer owns the source.
#[derive(Debug, Default)]
pub struct Gauge {
    position: AtomicU64,
    fault: Mutex<Option<StorageError>>,
}

impl Gauge {
    /// The furthest byte that was read so far.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The storage failure that a demuxer saw as an I/O error, if there was one. Demuxers do not
    /// pass errors on faithfully, so whoever sees any error asks here first.
    pub fn take_fault(&self) -> Option<StorageError> {
        self.fault.lock().ok()?.take()
    }

    fn set_fault(&self, error: StorageError) {
        if let Ok(mut fault) = self.fault.lock() {
            *fault = Some(error);
        }
    }
}

struct Block {
    index: u64,
    used_at: u64,
    bytes: Vec<u8>,
}

/// A seekable reader over a [`RangeRead`], with a block cache.
pub struct BlockSource<R> {
    reader: R,
    size: u64,
    position: u64,
    clock: u64,
    blocks: Vec<Block>,
    patches: Vec<Patch>,
    gauge: Arc<Gauge>,
}

impl<R: RangeRead> BlockSource<R> {
    /// A source at position 0 with nothing fetched yet.
    pub fn new(reader: R) -> Self {
        let size = reader.size();
        Self {
            reader,
            size,
            position: 0,
            clock: 0,
            blocks: Vec::with_capacity(BLOCKS_MAX),
            patches: Vec::new(),
            gauge: Arc::new(Gauge::default()),
        }
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The handle through which progress and storage failures stay visible.
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Overlays the file with these bytes from now on.
    pub fn set_patches(&mut self, patches: Vec<Patch>) {
        self.patches = patches;
    }

    /// Fills as much of `into` as the file has from `start` on, and says how much that was. Reads
    /// from a cached block if there is one and else just these bytes, so that walking over headers
    /// that lie far apart does not fetch a block for each.
    ///
    /// # Errors
    /// The store's failure.
    pub fn peek(&mut self, start: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        let len = (into.len() as u64).min(self.size.saturating_sub(start));
        if len == 0 {
            return Ok(0);
        }
        let target = &mut into[..len as usize];
        let (index, offset) = (start / BLOCK_BYTES, (start % BLOCK_BYTES) as usize);
        let cached = self.blocks.iter().find(|block| block.index == index);
        if let Some(bytes) = cached.and_then(|b| b.bytes.get(offset..offset + target.len())) {
            target.copy_from_slice(bytes);
        } else {
            let mut bytes = Vec::new();
            self.reader.read_range(start, len, &mut bytes)?;
            target.copy_from_slice(&bytes);
        }
        Ok(target.len())
    }

    /// The bytes `start..start + len`, or fewer at the end of the file.
    ///
    /// # Errors
    /// The store's failure.
    pub fn bytes(&mut self, start: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; len];
        let got = self.peek(start, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    fn block(&mut self, index: u64) -> Result<usize, StorageError> {
        self.clock += 1;
        if let Some(at) = self.blocks.iter().position(|block| block.index == index) {
            self.blocks[at].used_at = self.clock;
            return Ok(at);
        }
        let at = if self.blocks.len() < BLOCKS_MAX {
            let bytes = Vec::with_capacity(BLOCK_BYTES as usize);
            self.blocks.push(Block {
                index,
                used_at: 0,
                bytes,
            });
            self.blocks.len() - 1
        } else {
            let oldest = self
                .blocks
                .iter()
                .enumerate()
                .min_by_key(|(_, block)| block.used_at);
            oldest.map_or(0, |(at, _)| at)
        };
        let start = index * BLOCK_BYTES;
        let len = BLOCK_BYTES.min(self.size - start);
        let block = &mut self.blocks[at];
        // Until the bytes are there the block must not answer for any index.
        block.index = u64::MAX;
        self.reader.read_range(start, len, &mut block.bytes)?;
        (block.index, block.used_at) = (index, self.clock);
        Ok(at)
    }
}

fn overlay(patches: &[Patch], start: u64, bytes: &mut [u8]) {
    for patch in patches {
        for (i, byte) in patch.bytes.iter().enumerate() {
            let position = patch.position + i as u64;
            if let Some(target) = position
                .checked_sub(start)
                .and_then(|at| bytes.get_mut(usize::try_from(at).ok()?))
            {
                *target = *byte;
            }
        }
    }
}

impl<R: RangeRead> Read for BlockSource<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || into.is_empty() {
            return Ok(0);
        }
        let offset = (self.position % BLOCK_BYTES) as usize;
        let at = self.block(self.position / BLOCK_BYTES).map_err(|error| {
            self.gauge.set_fault(error.clone());
            io::Error::other(error)
        })?;
        let available = self.blocks[at].bytes.get(offset..).unwrap_or_default();
        let len = available.len().min(into.len());
        into[..len].copy_from_slice(&available[..len]);
        overlay(&self.patches, self.position, &mut into[..len]);
        self.position += len as u64;
        self.gauge
            .position
            .fetch_max(self.position, Ordering::Relaxed);
        Ok(len)
    }
}

impl<R: RangeRead> Seek for BlockSource<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.size.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))?;
        Ok(self.position)
    }
}

impl<R: RangeRead> MediaSource for BlockSource<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted {
        bytes: Vec<u8>,
        fetches: usize,
    }

    impl RangeRead for Counted {
        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_range(
            &mut self,
            start: u64,
            len: u64,
            into: &mut Vec<u8>,
        ) -> Result<(), StorageError> {
            self.fetches += 1;
            into.clear();
            into.extend_from_slice(&self.bytes[start as usize..(start + len) as usize]);
            Ok(())
        }
    }

    fn source(len: usize) -> BlockSource<Counted> {
        let bytes = (0..len).map(|i| (i % 251) as u8).collect();
        BlockSource::new(Counted { bytes, fetches: 0 })
    }

    #[test]
    fn reads_across_blocks_and_stops_at_the_end() {
        let len = BLOCK_BYTES as usize * 2 + 17;
        let mut source = source(len);
        let mut all = Vec::new();
        source.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), len);
        assert!(all.iter().enumerate().all(|(i, b)| *b == (i % 251) as u8));
        assert_eq!(source.reader.fetches, 3);
    }

    #[test]
    fn keeps_a_bounded_number_of_blocks() {
        let mut source = source(BLOCK_BYTES as usize * 40);
        let mut byte = [0];
        for block in 0..40 {
            source.seek(SeekFrom::Start(block * BLOCK_BYTES)).unwrap();
            source.read_exact(&mut byte).unwrap();
            source.seek(SeekFrom::Start(0)).unwrap();
            source.read_exact(&mut byte).unwrap();
        }
        assert_eq!(source.blocks.len(), BLOCKS_MAX);
        assert_eq!(
            source.reader.fetches, 40,
            "the block in constant use is never fetched again"
        );
        let kept: usize = source
            .blocks
            .iter()
            .map(|block| block.bytes.capacity())
            .sum();
        assert!(kept <= BLOCKS_MAX * BLOCK_BYTES as usize);
    }

    #[test]
    fn patches_show_through_at_any_cut() {
        let mut source = source(100);
        source.set_patches(vec![Patch {
            position: 10,
            bytes: *b"free",
        }]);
        source.seek(SeekFrom::Start(12)).unwrap();
        let mut two = [0; 2];
        source.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ee");
        source.seek(SeekFrom::Start(8)).unwrap();
        let mut six = [0; 7];
        source.read_exact(&mut six).unwrap();
        assert_eq!(&six, &[8, 9, b'f', b'r', b'e', b'e', 14]);
    }
}
