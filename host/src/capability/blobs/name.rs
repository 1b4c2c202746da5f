//! Object names to paths and back: any text of 1 to 512 bytes is a name, and no two names meet.
//!
//! A name is data, never a path: `/`, `..`, upper-case letters (file systems that ignore case), NUL
//! and everything else outside `a-z 0-9 - _` and inner dots become `!` and two hex digits. What is
//! then longer than a file name may be is cut into directories, whose names end in `!`: so no
//! directory has the name of an object.

use object_store::path::Path;

use super::BlobError;
use crate::name::ContainerName;

/// Longest object name, in bytes of UTF-8. Half of what S3 allows (1,024), because escaping may make
/// three bytes of one.
pub const OBJECT_NAME_BYTES_MAX: usize = 512;

/// Longest part of a path. File systems allow 255; the backend adds `#` and a number while it writes.
const SEGMENT_BYTES_MAX: usize = 200;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where a container's objects are.
pub(super) fn prefix(container: &ContainerName) -> Path {
    Path::parse(container.as_str()).expect("a container's name is one plain segment")
}

/// Where an object is.
pub(super) fn path(container: &ContainerName, object: &str) -> Result<Path, BlobError> {
    if object.is_empty() || object.len() > OBJECT_NAME_BYTES_MAX {
        return Err(BlobError::BadName {
            bytes: object.len(),
        });
    }
    let mut path = container.as_str().to_owned();
    let escaped = escape(object);
    let mut rest = escaped.as_str();
    while rest.len() > SEGMENT_BYTES_MAX {
        let (segment, longer) = rest.split_at(SEGMENT_BYTES_MAX);
        path.extend(["/", segment, "!"]);
        rest = longer;
    }
    path.extend(["/", rest]);
    Ok(Path::parse(path).expect("an escaped name has plain segments"))
}

/// The name of the object at `path`, or `None` where no name leads to it.
pub(super) fn object(path: &Path) -> Option<String> {
    let (container, object) = path.as_ref().split_once('/')?;
    let mut escaped = String::with_capacity(object.len());
    let mut segments = object.split('/').peekable();
    while let Some(segment) = segments.next() {
        let plain = if segments.peek().is_some() {
            segment.strip_suffix('!')?
        } else {
            segment
        };
        escaped.push_str(plain);
    }
    let object = unescape(&escaped)?;
    let expected = self::path(&container.parse().ok()?, &object).ok()?;
    (expected == *path).then_some(object)
}

fn escape(name: &str) -> String {
    let bytes = name.as_bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut escaped = String::with_capacity(bytes.len());
    for (index, &byte) in bytes.iter().enumerate() {
        // A dot stays between letters or digits only, so that no part is `.` or `..`.
        let inner = || {
            index > 0 && plain(bytes[index - 1]) && bytes.get(index + 1).copied().is_some_and(plain)
        };
        if plain(byte) || matches!(byte, b'-' | b'_') || (byte == b'.' && inner()) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('!');
            escaped.push(char::from(HEX[usize::from(byte >> 4)]));
            escaped.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'!' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn container() -> ContainerName {
        "uploads".parse().unwrap()
    }

    #[test]
    fn tricks_stay_inside_the_container_and_apart_from_each_other() {
        let long = [
            "a".repeat(200),
            "a".repeat(201),
            "a".repeat(400),
            "a".repeat(512),
        ];
        let mut names: Vec<String> = [
            "plain",
            "Plain",
            "PLAIN",
            ".",
            "..",
            "...",
            "../x",
            "..\\x",
            "/",
            "//",
            "/etc/passwd",
            "a/b",
            "a//b",
            "a/./b",
            "a/../b",
            "a/",
            "a",
            "a.",
            ".a",
            "a.b",
            "a..b",
            "%2e%2e",
            "!2e",
            "!",
            "a!",
            "\0",
            "a\0b",
            "a#1",
            "#1",
            "C:\\x",
            "nul",
            " ",
            "\u{e9}",
            "e\u{301}",
            "\u{1f600}",
            "a%2Fb",
            "~",
            "-",
            "_",
        ]
        .map(str::to_owned)
        .into();
        names.extend(long.clone());
        names.extend([
            format!("{}!", long[0]),
            format!("{}/a", long[0]),
            "\u{ffff}".repeat(170),
        ]);
        names.push(format!("{}..", "a".repeat(199)));
        names.push(format!("{}.b", "a".repeat(200)));
        let mut paths = BTreeMap::new();
        for name in &names {
            let path = path(&container(), name).unwrap();
            let text = path.as_ref().to_owned();
            assert!(text.starts_with("uploads/"), "{name:?}: {text}");
            for part in text.split('/') {
                assert!(!part.is_empty() && part.len() <= 201 && !matches!(part, "." | ".."));
                assert!(
                    part.bytes().all(|b| b"!-_.".contains(&b)
                        || b.is_ascii_digit()
                        || b.is_ascii_lowercase())
                );
            }
            assert_eq!(object(&path).as_ref(), Some(name));
            assert_eq!(
                paths.insert(text, name),
                None,
                "{name:?} meets another name"
            );
        }
        for one in paths.keys() {
            assert!(
                !paths
                    .keys()
                    .any(|other| other.starts_with(&format!("{one}/"))),
                "{one}"
            );
        }
    }

    #[test]
    fn readable_names_stay_readable() {
        let path = path(&container(), "0af3-9.mp3").unwrap();
        assert_eq!(path.as_ref(), "uploads/0af3-9.mp3");
    }

    #[test]
    fn empty_and_long_names_are_refused() {
        for bad in [String::new(), "a".repeat(513), "\u{e9}".repeat(257)] {
            let error = path(&container(), &bad).unwrap_err();
            assert!(matches!(error, BlobError::BadName { bytes } if bytes == bad.len()));
        }
    }

    #[test]
    fn files_that_somebody_else_put_there_have_no_name() {
        for strange in [
            "uploads/A",
            "uploads/a/b",
            "uploads/!zz",
            "uploads/!61",
            "uploads",
        ] {
            assert_eq!(object(&Path::from(strange)), None, "{strange}");
        }
    }
}
