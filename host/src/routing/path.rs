//! The segments of a request's path, decoded one by one.

use std::borrow::Cow;

/// The segments of `path` between its slashes: none for `/` itself and for the empty path, and an
/// empty last one where it ends in a slash. `None` where it is not a path, such as `*`.
pub(super) fn first_segment(path: &str) -> Option<Rest<'_>> {
    match path {
        "" | "/" => Some(Rest(None)),
        _ => path.strip_prefix('/').map(|rest| Rest(Some(rest))),
    }
}

/// What is left of a path after some of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest<'a>(Option<&'a str>);

impl<'a> Rest<'a> {
    /// The next segment as it was sent, and what is left after it; `None` at the end.
    pub fn split(self) -> Option<(&'a str, Rest<'a>)> {
        let rest = self.0?;
        Some(match rest.split_once('/') {
            Some((segment, rest)) => (segment, Rest(Some(rest))),
            None => (rest, Rest(None)),
        })
    }
}

/// `segment` with its percent-encoding decoded; `None` where that is not UTF-8, which no literal
/// equals. A percent sign with no two hexadecimal digits behind it stands for itself.
pub(super) fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if both_hex(*high, *low).is_some() => {
                bytes.extend(both_hex(*high, *low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The byte that two hexadecimal digits stand for.
fn both_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Option<Vec<&str>> {
        let mut rest = first_segment(path)?;
        let mut segments = Vec::new();
        while let Some((segment, after)) = rest.split() {
            segments.push(segment);
            rest = after;
        }
        Some(segments)
    }

    #[test]
    fn a_path_is_split_at_its_own_slashes_alone() {
        let some = |segments: &[&'static str]| Some(segments.to_vec());
        assert_eq!(segments(""), some(&[]));
        assert_eq!(segments("/"), some(&[]));
        assert_eq!(segments("/a"), some(&["a"]));
        assert_eq!(segments("/a/"), some(&["a", ""]));
        assert_eq!(segments("//a"), some(&["", "a"]));
        assert_eq!(segments("//"), some(&["", ""]));
        assert_eq!(segments("/a%2Fb/.."), some(&["a%2Fb", ".."]));
        assert_eq!(segments("*"), None);
    }

    #[test]
    fn a_segment_is_decoded_once() {
        for (sent, meant) in [
            ("", Some("")),
            ("jobs", Some("jobs")),
            ("%6Aobs", Some("jobs")),
            ("a%2fb", Some("a/b")),
            ("%2E%2e", Some("..")),
            ("%C3%BC", Some("ü")),
            ("%2541", Some("%41")),
            ("100%", Some("100%")),
            ("%4", Some("%4")),
            ("%zz", Some("%zz")),
            ("%+1", Some("%+1")),
            ("%FF", None),
        ] {
            assert_eq!(decoded(sent).as_deref(), meant, "{sent:?}");
        }
    }
}
