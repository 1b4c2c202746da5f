//! Conditional and range requests (RFC 9110, sections 13 and 14), without their I/O.

/// What of a representation to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it, 200.
    Whole,
    /// The bytes `start..=end`, 206.
    Part {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
    /// Nothing of it is in the range, 416.
    Unsatisfiable,
}

/// Takes a `Range` header's value and the representation's size and gives what to send. A header
/// that is malformed, in another unit, or asks for several ranges is ignored, as section 14.2 allows.
pub fn select(range: Option<&str>, size: u64) -> Selection {
    let Some(spec) = range.and_then(single_spec) else {
        return Selection::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Selection::Whole;
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(length) if length == 0 || size == 0 => Selection::Unsatisfiable,
            Some(length) => Selection::Part {
                start: size.saturating_sub(length),
                end: size - 1,
            },
            None => Selection::Whole,
        },
        (first, "") => match number(first) {
            Some(start) => part(start, u64::MAX, size),
            None => Selection::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(start), Some(end)) if start <= end => part(start, end, size),
            _ => Selection::Whole,
        },
    }
}

fn single_spec(header: &str) -> Option<&str> {
    let (unit, set) = header.split_once('=')?;
    (unit.trim().eq_ignore_ascii_case("bytes") && !set.contains(',')).then(|| set.trim())
}

fn part(start: u64, end: u64, size: u64) -> Selection {
    if start >= size {
        Selection::Unsatisfiable
    } else {
        Selection::Part {
            start,
            end: end.min(size - 1),
        }
    }
}

/// A decimal number; one too large for 64 bits lies past every end, so it saturates.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Whether an `If-None-Match` value names `etag` (weak comparison, section 13.1.2).
pub fn matches_etag(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|candidate| {
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag
    })
}

/// Whether a `Range` may be applied: there is no `If-Range`, or it is exactly our strong tag. A date
/// never matches, because results carry none.
pub fn range_applies(if_range: Option<&str>, etag: &str) -> bool {
    if_range.is_none_or(|value| value.trim() == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of(start: u64, end: u64) -> Selection {
        Selection::Part { start, end }
    }

    #[test]
    fn single_ranges_are_clamped_to_the_size() {
        assert_eq!(select(Some("bytes=0-9"), 100), part_of(0, 9));
        assert_eq!(select(Some("bytes=90-"), 100), part_of(90, 99));
        assert_eq!(select(Some("bytes=90-1000"), 100), part_of(90, 99));
        assert_eq!(select(Some("bytes=-10"), 100), part_of(90, 99));
        assert_eq!(select(Some("bytes=-1000"), 100), part_of(0, 99));
        assert_eq!(select(Some("Bytes = 5-5 "), 100), part_of(5, 5));
        assert_eq!(
            select(Some("bytes=1-99999999999999999999999"), 100),
            part_of(1, 99)
        );
    }

    #[test]
    fn ranges_past_the_end_are_unsatisfiable() {
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(select(Some(range), 100), Selection::Unsatisfiable);
        }
        assert_eq!(select(Some("bytes=0-"), 0), Selection::Unsatisfiable);
        assert_eq!(select(Some("bytes=-5"), 0), Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_not_one_byte_range_is_ignored() {
        for range in [
            "bytes=9-0",
            "bytes=a-b",
            "bytes=-",
            "bytes=5",
            "bytes=0-1,5-6",
            "lines=0-1",
            "bytes",
            "bytes=+1-2",
        ] {
            assert_eq!(select(Some(range), 100), Selection::Whole, "{range}");
        }
        assert_eq!(select(None, 100), Selection::Whole);
    }

    #[test]
    fn tags_are_compared_as_the_header_asks() {
        assert!(matches_etag("\"a\", W/\"b\"", "\"b\""));
        assert!(matches_etag("*", "\"b\""));
        assert!(!matches_etag("\"ab\"", "\"b\""));
        assert!(range_applies(None, "\"b\""));
        assert!(range_applies(Some("\"b\""), "\"b\""));
        assert!(!range_applies(Some("W/\"b\""), "\"b\""));
        assert!(!range_applies(
            Some("Wed, 21 Oct 2015 07:28:00 GMT"),
            "\"b\""
        ));
    }
}
