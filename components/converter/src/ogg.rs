//! Whether an Ogg file is all there: its last page must end with the file (RFC 3533, section 6).
//! And what it holds, for when symphonia will not say.

use crate::source::{BlockSource, RangeRead, StorageError};

/// A page is at most 27 + 255 + 255 * 255 bytes long, so the last one begins within this.
const PAGE_BYTES_MAX: u64 = 65_307;
const HEADER_BYTES: usize = 27;

/// True for an Ogg file whose last page is not complete.
///
/// # Errors
/// The store's failure.
pub fn is_cut<R: RangeRead>(source: &mut BlockSource<R>) -> Result<bool, StorageError> {
    if source.bytes(0, 4)? != b"OggS" {
        return Ok(false);
    }
    let start = source.size().saturating_sub(PAGE_BYTES_MAX);
    let tail = source.bytes(start, PAGE_BYTES_MAX as usize)?;
    Ok(last_page_is_cut(&tail))
}

/// What the first stream of an Ogg file is encoded in, by the first bytes of its first packet;
/// `None` if the file is not Ogg.
pub fn codec_name(head: &[u8]) -> Option<&'static str> {
    const NAMES: [(&[u8], &str); 5] = [
        (b"Speex   ", "Speex"),
        (b"OpusHead", "Opus"),
        (b"\x01vorbis", "Vorbis"),
        (b"\x7fFLAC", "FLAC"),
        (b"PCM     ", "Ogg PCM"),
    ];
    let segments = usize::from(*head.strip_prefix(b"OggS")?.get(HEADER_BYTES - 5)?);
    let packet = head.get(HEADER_BYTES + segments..).unwrap_or_default();
    let known = NAMES.iter().find(|(magic, _)| packet.starts_with(magic));
    Some(known.map_or("an unknown codec", |(_, name)| name))
}

fn last_page_is_cut(tail: &[u8]) -> bool {
    let mut complete = false;
    let mut position = 0;
    while let Some(at) = find(&tail[position..]).map(|at| at + position) {
        match page_end(&tail[at..]) {
            Some(len) if at + len <= tail.len() => {
                complete = true;
                position = at + len;
            }
            // The capture pattern inside of audio is not a page unless its version says so.
            _ if tail.get(at + 4).is_none_or(|version| *version == 0) => return true,
            _ => position = at + 4,
        }
    }
    let rest = &tail[position..];
    !complete || (!rest.is_empty() && b"OggS".starts_with(rest))
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"OggS")
}

/// The length of the page that begins here, if its header is all there.
fn page_end(page: &[u8]) -> Option<usize> {
    let segments = usize::from(*page.get(HEADER_BYTES - 1)?);
    let table = page.get(HEADER_BYTES..HEADER_BYTES + segments)?;
    let body: usize = table.iter().map(|len| usize::from(*len)).sum();
    (page[4] == 0).then_some(HEADER_BYTES + segments + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: usize) -> Vec<u8> {
        let mut page = b"OggS".to_vec();
        page.resize(HEADER_BYTES - 1, 0);
        page.extend([1, body as u8]);
        page.resize(page.len() + body, 7);
        page
    }

    #[test]
    fn complete_and_cut_pages() {
        let two = [page(200), page(100)].concat();
        assert!(!last_page_is_cut(&two));
        for cut in [1, 50, 101, 110, 127] {
            assert!(
                last_page_is_cut(&two[..two.len() - cut]),
                "without the last {cut} bytes"
            );
        }
        assert!(
            !last_page_is_cut(&two[30..]),
            "the tail begins inside a page"
        );
        assert!(last_page_is_cut(b"nothing at all"));
    }
}
