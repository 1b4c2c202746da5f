//! What the MP3 says about itself: the source's tags, or at least its file name, as an ID3v2.4 tag
//! (https://id3.org/id3v2.4.0-structure) in UTF-8.

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::StandardTag;

/// Longer texts are cut: they are names, and players show a line of them.
const TEXT_CHARS_MAX: usize = 500;

/// The texts that are carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// What it is called.
    pub title: String,
    /// By whom.
    pub artist: String,
    /// Part of what.
    pub album: String,
    /// When it was recorded or released.
    pub date: String,
    /// Which kind.
    pub genre: String,
    /// Which number within the album.
    pub track: String,
}

impl Tags {
    /// The tags of the source, with the file's name as the title where there is none.
    pub fn of(reader: &mut dyn FormatReader, file_name: &str) -> Self {
        let mut tags = Self::default();
        let mut metadata = reader.metadata();
        loop {
            if let Some(revision) = metadata.current() {
                revision
                    .media
                    .tags
                    .iter()
                    .filter_map(|tag| tag.std.as_ref())
                    .for_each(|tag| tags.take(tag));
            }
            if metadata.pop().is_none() {
                break;
            }
        }
        if tags.title.is_empty() {
            tags.title = clean(stem(file_name));
        }
        tags
    }

    /// Takes one tag over, if it is one of ours; what comes later is newer.
    fn take(&mut self, tag: &StandardTag) {
        let (field, text) = match tag {
            StandardTag::TrackTitle(text) => (&mut self.title, text.to_string()),
            StandardTag::Artist(text) => (&mut self.artist, text.to_string()),
            StandardTag::Album(text) => (&mut self.album, text.to_string()),
            StandardTag::Genre(text) => (&mut self.genre, text.to_string()),
            StandardTag::RecordingDate(text) | StandardTag::ReleaseDate(text) => {
                (&mut self.date, text.to_string())
            }
            StandardTag::RecordingYear(year) | StandardTag::ReleaseYear(year) => {
                (&mut self.date, year.to_string())
            }
            StandardTag::TrackNumber(number) => (&mut self.track, number.to_string()),
            _ => return,
        };
        let text = clean(&text);
        if !text.is_empty() {
            *field = text;
        }
    }

    /// The ID3v2.4 tag; empty if there is nothing to say.
    pub fn id3(&self) -> Vec<u8> {
        let texts = [
            (b"TIT2", &self.title),
            (b"TPE1", &self.artist),
            (b"TALB", &self.album),
            (b"TDRC", &self.date),
            (b"TCON", &self.genre),
            (b"TRCK", &self.track),
        ];
        let mut frames = Vec::new();
        for (id, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            frames.extend_from_slice(id);
            frames.extend_from_slice(&synchsafe(text.len() + 1));
            // No flags, then the encoding: 3 is UTF-8.
            frames.extend_from_slice(&[0, 0, 3]);
            frames.extend_from_slice(text.as_bytes());
        }
        if frames.is_empty() {
            return frames;
        }
        let mut tag = b"ID3\x04\x00\x00".to_vec();
        tag.extend_from_slice(&synchsafe(frames.len()));
        tag.append(&mut frames);
        tag
    }
}

/// 28 bits in four bytes of seven.
fn synchsafe(len: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (len >> shift & 0x7f) as u8)
}

/// One line without control characters.
fn clean(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable
        .take(TEXT_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// A file's name without directories and extension.
fn stem(name: &str) -> &str {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match base.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_well_formed() {
        let tags = Tags {
            title: "Grüße".into(),
            track: "7".into(),
            ..Tags::default()
        };
        let bytes = tags.id3();
        assert_eq!(&bytes[..6], b"ID3\x04\0\0");
        assert_eq!(bytes[9] as usize, bytes.len() - 10);
        assert_eq!(&bytes[10..21], b"TIT2\0\0\0\x08\0\0\x03");
        assert_eq!(&bytes[21..28], "Grüße".as_bytes());
        assert_eq!(&bytes[28..], b"TRCK\0\0\0\x02\0\0\x037");
        assert!(Tags::default().id3().is_empty());
        let long = Tags {
            title: "x".repeat(300),
            ..Tags::default()
        }
        .id3();
        assert_eq!(&long[6..10], &[0, 0, 2, 55]);
    }

    #[test]
    fn names_become_titles() {
        for (name, title) in [
            ("a/b.c.mp4", "b.c"),
            ("C:\\x\\holiday.mov", "holiday"),
            (".mp4", ".mp4"),
            ("x", "x"),
        ] {
            assert_eq!(stem(name), title);
        }
        assert_eq!(clean(" a\nb\u{0}c "), "abc");
    }
}
