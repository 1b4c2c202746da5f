//! Path patterns as they are written: `/jobs/:id/events`, `/static/...`.

use std::fmt;

use schemars::{Schema, json_schema};

use super::model::{PathPattern, PathSegment};
use crate::document::{TextForm, Wrong};

/// The last segment of a pattern that also matches everything below.
const WILDCARD: &str = "...";

impl TextForm for PathPattern {
    const NAME: &'static str = "path pattern";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some(inner) = text.strip_prefix('/') else {
            let what = format!("{text:?} is not a path");
            return Err(Wrong::new(
                what,
                format!("begin it with a slash: \"/{text}\""),
            ));
        };
        let (inner, wildcard) = match inner.strip_suffix(WILDCARD) {
            Some("") => {
                return Ok(Self {
                    segments: Vec::new(),
                    wildcard: true,
                });
            }
            Some(prefix) => match prefix.strip_suffix('/') {
                Some(prefix) => (prefix, true),
                None => return Err(wildcard_within(text)),
            },
            None => (inner, false),
        };
        let mut segments = Vec::new();
        if !inner.is_empty() || wildcard {
            let count = inner.split('/').count();
            for (index, segment) in inner.split('/').enumerate() {
                let last = index + 1 == count && !wildcard;
                let segment = parse_segment(text, segment, last)?;
                if matches!(segment, PathSegment::Parameter(_)) && segments.contains(&segment) {
                    let what = format!("{text:?} has the parameter {segment} twice");
                    return Err(Wrong::new(what, "give each parameter a name of its own"));
                }
                segments.push(segment);
            }
        }
        Ok(Self { segments, wildcard })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/" })
    }
}

fn wildcard_within(text: &str) -> Wrong {
    Wrong::new(
        format!("{text:?} has \"...\" elsewhere than as its last segment"),
        "end the path in \"/...\", or leave the dots out",
    )
}

/// Reads one segment of the pattern `text`; only the `last` one may be empty, for a path that ends
/// in a slash.
fn parse_segment(text: &str, segment: &str, last: bool) -> Result<PathSegment, Wrong> {
    if let Some(name) = segment.strip_prefix(':') {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(allowed) {
            let what = format!("{segment:?} in {text:?} is not a parameter");
            return Err(Wrong::new(
                what,
                "name it with letters, digits, '_' and '-', as in \":id\"",
            ));
        }
        return Ok(PathSegment::Parameter(name.to_owned()));
    }
    if segment.contains(WILDCARD) {
        return Err(wildcard_within(text));
    }
    let fix = match segment {
        "" if !last => "remove the empty segment",
        // Clients resolve these before they send a request (RFC 3986, section 5.2.4).
        "." | ".." => "remove it: clients never send it",
        _ if segment.contains(['*', '{', '}', '<', '>']) => {
            "write \":name\" for any one segment, and \"/...\" at the end for everything below"
        }
        _ if segment.contains(['?', '#']) => "remove the query and the fragment: only paths match",
        _ if segment.contains('%') => "write the character itself: paths are decoded to match",
        _ if segment.contains(|c: char| c.is_control()) => "remove the control character",
        _ => return Ok(PathSegment::Literal(segment.to_owned())),
    };
    let what = format!("{text:?} cannot have the segment {segment:?}");
    Err(Wrong::new(what, fix))
}

impl fmt::Display for PathSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Parameter(name) => write!(f, ":{name}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        match (self.wildcard, self.segments.is_empty()) {
            (true, _) => write!(f, "/{WILDCARD}"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_back_as_it_prints() {
        for text in [
            "/",
            "/...",
            "/jobs",
            "/jobs/",
            "/jobs/:id",
            "/jobs/:id/...",
            "/a.b/ü /:x/:y",
            "/..a",
        ] {
            let pattern = PathPattern::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_what_would_be() {
        for (text, fix) in [
            ("", "begin it with a slash"),
            ("jobs", "\"/jobs\""),
            ("//", "remove the empty segment"),
            ("/a//b", "remove the empty segment"),
            ("//...", "remove the empty segment"),
            ("/a/../b", "clients never send it"),
            ("/.", "clients never send it"),
            ("/a...", "end the path in"),
            ("/.../b", "end the path in"),
            ("/a.../b", "end the path in"),
            ("/:", "as in \":id\""),
            ("/:a.b", "as in \":id\""),
            ("/:a/:a", "a name of its own"),
            ("/static/*", "for everything below"),
            ("/jobs/{id}", "\":name\""),
            ("/a?b=c", "only paths match"),
            ("/a#b", "only paths match"),
            ("/a%20b", "the character itself"),
            ("/a\u{7}", "control character"),
        ] {
            let wrong = PathPattern::parse(text).expect_err(text);
            assert!(wrong.fix.contains(fix), "{text:?}: {wrong:?}");
        }
    }
}
