//! File names as people give them, made safe, and put back into a header.
//!
//! A name is only ever shown and offered as a download's name: objects and keys are named by job.
//! The rules for `Content-Disposition` are RFC 6266 and RFC 8187.

use std::fmt::Write as _;

/// Longest name that is kept, in bytes: what file systems take.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest extension, dot included, that survives when a name is cut.
const EXTENSION_BYTES_MAX: usize = 16;
/// What a file is called whose name has nothing left.
const NAMELESS: &str = "upload";

/// Takes a name as a client sent it and gives its last path part without control characters or
/// invisible direction marks, at most [`NAME_BYTES_MAX`] bytes, never empty.
pub fn sanitize(raw: &str) -> String {
    let base = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = base.chars().filter(|c| !is_hidden(*c)).collect();
    let name = visible.trim();
    if name.is_empty() || name.chars().all(|c| c == '.') {
        return NAMELESS.to_owned();
    }
    cut(name)
}

/// Control characters, and the marks that turn writing direction: `"exe.mp4"` must look like what
/// it is.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Shortens a name at a character's edge and keeps a short extension.
fn cut(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => &name[dot..],
        _ => "",
    };
    let mut end = NAME_BYTES_MAX - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

/// The name of the result of a file called `source`: its extension becomes `mp3`.
pub fn of_result(source: &str) -> String {
    let stem = match source.rfind('.') {
        Some(dot) if dot > 0 => &source[..dot],
        _ => source,
    };
    sanitize(&format!("{stem}.mp3"))
}

/// A `Content-Disposition` value that offers a file as `name`: an ASCII fallback for old clients and
/// `filename*` for all others.
pub fn attachment(name: &str) -> String {
    let fallback: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    format!(
        "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
        percent_encode(name)
    )
}

/// Encodes everything but `attr-char` of RFC 8187, section 3.2.1.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String succeeds");
        }
    }
    encoded
}

/// Decodes an `ext-value` of RFC 8187 (`UTF-8''na%C3%AFve.mp4`). Gives nothing when the charset is
/// neither UTF-8 nor ISO-8859-1 or the bytes are not in it.
pub fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = percent_decode(text)?;
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parts_and_control_characters_are_removed() {
        assert_eq!(sanitize("../../etc/passwd"), "passwd");
        assert_eq!(sanitize("C:\\Users\\me\\clip.mov"), "clip.mov");
        assert_eq!(
            sanitize("a\r\nSet-Cookie: x\u{0}.mp4"),
            "aSet-Cookie: x.mp4"
        );
        assert_eq!(sanitize("evil\u{202e}4pm.exe"), "evil4pm.exe");
        assert_eq!(sanitize(" naïve 日本.mp4 "), "naïve 日本.mp4");
    }

    #[test]
    fn a_name_with_nothing_left_gets_one() {
        for raw in ["", ".", "..", "a/", "\u{7}", "   ", "x\\..\\.."] {
            assert_eq!(sanitize(raw), NAMELESS, "{raw:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
        let name = sanitize(&format!("{}.webm", "é".repeat(300)));
        assert!(name.len() <= NAME_BYTES_MAX && name.len() > NAME_BYTES_MAX - 2);
        assert!(name.ends_with("é.webm"));
        assert_eq!(sanitize(&"x".repeat(999)).len(), NAME_BYTES_MAX);
        assert_eq!(
            sanitize(&format!("a.{}", "x".repeat(999))).len(),
            NAME_BYTES_MAX
        );
    }

    #[test]
    fn a_result_is_called_after_its_source() {
        assert_eq!(of_result("holiday.final.mp4"), "holiday.final.mp3");
        assert_eq!(of_result("noext"), "noext.mp3");
        assert_eq!(of_result(".hidden"), ".hidden.mp3");
        let long = of_result(&format!("{}.a", "x".repeat(253)));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with(".mp3"));
    }

    #[test]
    fn a_header_carries_any_name() {
        assert_eq!(
            attachment("naïve \"50%\".mp3"),
            "attachment; filename=\"na_ve _50__.mp3\"; \
             filename*=UTF-8''na%C3%AFve%20%2250%25%22.mp3"
        );
        assert!(attachment("日本.mp3").is_ascii());
    }

    #[test]
    fn extended_values_are_decoded() {
        assert_eq!(
            decode_extended("UTF-8''na%C3%AFve.mp4").as_deref(),
            Some("naïve.mp4")
        );
        assert_eq!(
            decode_extended("iso-8859-1'en'%A3.mp4").as_deref(),
            Some("£.mp4")
        );
        assert_eq!(decode_extended("UTF-8''%FF"), None);
        assert_eq!(decode_extended("UTF-8''%4"), None);
        assert_eq!(decode_extended("koi8-r''x"), None);
        assert_eq!(decode_extended("plain"), None);
    }
}
