//! Object names to paths and back: any text of 1 to 512 bytes is a name, and no two names meet.
//!
//! A name is data, never a path: `/`, `..`, upper-case letters (file systems that ignore case), NUL
//! and everything else outside `a-z 0-9 - _` and inner dots become `!` and two hex digits. What is
//! then too long for a key of an object store is `!!` and the name in base32 instead. What is longer
//! than a file name may be is cut into directories, whose names end in `!`: so no directory has the
//! name of an object.

use object_store::path::Path;

use super::BlobError;
use crate::name::ContainerName;

/// Longest object name, in bytes of UTF-8. Half of what S3 allows (1,024), because escaping may make
/// three bytes of one.
pub const OBJECT_NAME_BYTES_MAX: usize = 512;

/// Longest text that a name becomes: `!!` and 512 bytes in base32. S3, GCS and Azure allow keys of
/// 1,024 bytes, of which prefix, container and cuts take up to 193.
const TEXT_BYTES_MAX: usize = 822;

/// Longest part of a path. File systems allow 255; the backend adds `#` and a number while it writes.
const SEGMENT_BYTES_MAX: usize = 200;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// RFC 4648, section 6, in lower case and without padding.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

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
    let mut text = escape(object);
    if text.len() > TEXT_BYTES_MAX {
        text = format!("!!{}", base32(object.as_bytes()));
    }
    let mut rest = text.as_str();
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
    let object = match escaped.strip_prefix("!!") {
        Some(digits) => from_base32(digits)?,
        None => unescape(&escaped)?,
    };
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

/// Five bits to a digit; the last ones are filled with zeros.
fn base32(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    for &byte in bytes {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            digits.push(char::from(BASE32[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        digits.push(char::from(BASE32[(held << (5 - bits) & 31) as usize]));
    }
    digits
}

fn from_base32(digits: &str) -> Option<String> {
    let mut name = Vec::with_capacity(digits.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = BASE32.iter().position(|&known| known == digit)?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            name.push((held >> bits & 255) as u8);
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
            "\u{ffff}".repeat(91),
            "\u{ffff}".repeat(92),
            "A".repeat(512),
            "B".repeat(511),
            "!".repeat(300),
        ]);
        names.push(format!("{}..", "a".repeat(199)));
        names.push(format!("{}.b", "a".repeat(200)));
        let mut paths = BTreeMap::new();
        for name in &names {
            let path = path(&container(), name).unwrap();
            let text = path.as_ref().to_owned();
            assert!(text.starts_with("uploads/"), "{name:?}: {text}");
            assert!(text.len() + 120 + 1 + 63 - "uploads".len() <= 1_024);
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
    fn base32_is_that_of_the_rfc() {
        for (text, digits) in [("f", "my"), ("fo", "mzxq"), ("foobar", "mzxw6ytboi")] {
            assert_eq!(base32(text.as_bytes()), digits);
            assert_eq!(from_base32(digits).unwrap(), text);
        }
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
            "uploads/!!my",
            "uploads",
        ] {
            assert_eq!(object(&Path::from(strange)), None, "{strange}");
        }
    }
}
