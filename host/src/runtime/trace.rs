//! Trace context: which requests, calls and messages belong together, here and beyond this host.
//!
//! ```text
//! request, message -> trace continued or begun -> instance -> next hop: same trace, new span
//! ```
//!
//! It is read and written as W3C Trace Context Level 2 says (<https://www.w3.org/TR/trace-context-2/>;
//! the sections named below are its). Nothing is recorded here: the identifiers stand in log lines and
//! travel on.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Which trace, and who in it called last (section 3.2).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems add to it, each in a member of its own (section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A `traceparent` of version 00, in bytes.
const PARENT_BYTES: usize = 55;

/// Longest `tracestate` that is handed on. A host must hand on 512 characters if it hands on any, and
/// may drop what is longer (section 3.3.1.5).
const STATE_BYTES_MAX: usize = 512;

/// Most members of a `tracestate` (section 3.3.1.1).
const STATE_MEMBERS_MAX: usize = 32;

/// The flags that are handed on, *sampled* and *random trace id*; all others must be written as zero
/// (section 3.2.2.5).
const FLAGS_KNOWN: u8 = 0b11;

/// The flags of a trace that begins here: its identifier is random, and nobody has recorded it.
const FLAGS_BEGUN: u8 = 0b10;

/// Names a trace in log lines: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one piece of work of a trace in log lines: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    fn random() -> Self {
        // The generator is the thread's own and takes some ten nanoseconds.
        Self(NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One piece of work's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// This piece of work.
    pub span: SpanId,
    flags: u8,
    state: Option<Arc<str>>,
}

impl Trace {
    /// A trace that nobody has begun before.
    pub fn begin() -> Self {
        Self {
            id: TraceId(NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MIN)),
            span: SpanId::random(),
            flags: FLAGS_BEGUN,
            state: None,
        }
    }

    /// The next piece of work in the same trace.
    pub fn next(&self) -> Self {
        Self {
            span: SpanId::random(),
            ..self.clone()
        }
    }

    /// The work for a request with these headers: the next in the trace that they name, if they do.
    pub fn continued(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        // Of two, neither is to be trusted (section 3.2).
        if parents.next().is_some() {
            return None;
        }
        let states = headers.get_all(TRACESTATE).iter();
        Self::after(parent.as_bytes(), states.map(HeaderValue::as_bytes))
    }

    /// The work for a request with these headers: in the trace that they name, or in a new one.
    pub fn of_request(headers: &HeaderMap) -> Self {
        Self::continued(headers).unwrap_or_else(Self::begin)
    }

    /// The work for a message with these headers: in the trace that they name, or in a new one.
    pub fn of_message(headers: &[(String, String)]) -> Self {
        let values = |wanted: HeaderName| {
            let named = headers
                .iter()
                .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted.as_str()));
            named.map(|(_, value)| value.as_bytes())
        };
        let mut parents = values(TRACEPARENT);
        let continued = match (parents.next(), parents.next()) {
            (Some(parent), None) => Self::after(parent, values(TRACESTATE)),
            (None, _) | (Some(_), Some(_)) => None,
        };
        continued.unwrap_or_else(Self::begin)
    }

    /// The next piece of work after the one that `parent` names; `None` where it names none.
    fn after<'a>(parent: &[u8], states: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (id, flags) = parse(parent)?;
        Some(Self {
            id,
            span: SpanId::random(),
            flags,
            state: state(states),
        })
    }

    /// Writes it into the headers of a request, in place of whatever they said.
    pub fn write(&self, headers: &mut HeaderMap) {
        let parent = HeaderValue::from_bytes(&self.parent()).expect("it is ASCII");
        headers.insert(TRACEPARENT, parent);
        match &self.state {
            Some(state) => {
                let state = HeaderValue::from_str(state).expect("it was checked when it came");
                headers.insert(TRACESTATE, state);
            }
            None => {
                headers.remove(TRACESTATE);
            }
        }
    }

    /// The headers of a message that is published by this piece of work.
    pub fn message_headers(&self) -> Vec<(String, String)> {
        let parent = String::from_utf8_lossy(&self.parent()).into_owned();
        let mut headers = vec![(TRACEPARENT.as_str().to_owned(), parent)];
        if let Some(state) = &self.state {
            headers.push((TRACESTATE.as_str().to_owned(), state.as_ref().to_owned()));
        }
        headers
    }

    fn parent(&self) -> [u8; PARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.id.0.get().to_be_bytes(), &mut text[3..35]);
        write_hex(&self.span.0.get().to_be_bytes(), &mut text[36..52]);
        write_hex(&[self.flags], &mut text[53..]);
        text
    }
}

/// Whether a request with these headers says itself which trace it belongs to.
pub fn is_set(headers: &HeaderMap) -> bool {
    headers.contains_key(TRACEPARENT)
}

fn write_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// A number in lower-case hexadecimal digits, the only ones allowed.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

/// The trace and the flags of a `traceparent`. A version that is not known yet is read by the four
/// fields of version 00 (section 4.4); 255 is none (section 3.2.2.1).
fn parse(parent: &[u8]) -> Option<(TraceId, u8)> {
    let fields = parent.get(..PARENT_BYTES)?;
    let version = hex(&fields[..2])?;
    let ends = match (version, parent.get(PARENT_BYTES)) {
        (0xff, _) => false,
        (_, None) => true,
        (0, Some(_)) => false,
        (_, Some(after)) => *after == b'-',
    };
    let dashes = [2, 35, 52].iter().all(|place| fields[*place] == b'-');
    if !ends || !dashes {
        return None;
    }
    let id = NonZeroU128::new(hex(&fields[3..35])?)?;
    let caller = hex(&fields[36..52])?;
    let flags = u8::try_from(hex(&fields[53..])?).expect("two digits are a byte");
    (caller != 0).then_some((TraceId(id), flags & FLAGS_KNOWN))
}

/// All lines of `tracestate` as one. One that is too long or not a list of members is dropped, and the
/// trace goes on without it (section 4.3).
fn state<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    let mut joined = String::new();
    for line in lines {
        let line = str::from_utf8(line).ok()?.trim();
        if joined.len() + line.len() > STATE_BYTES_MAX {
            return None;
        }
        if !joined.is_empty() && !line.is_empty() {
            joined.push(',');
        }
        joined.push_str(line);
    }
    let members = || joined.split(',').map(str::trim);
    let members = members().filter(|member| !member.is_empty());
    let mut count = 0;
    for member in members {
        count += 1;
        let (key, value) = member.split_once('=')?;
        let printable = member.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if key.is_empty() || value.is_empty() || !printable {
            return None;
        }
    }
    let fits = joined.len() <= STATE_BYTES_MAX && (1..=STATE_MEMBERS_MAX).contains(&count);
    fits.then(|| joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header's value"));
        }
        headers
    }

    fn continued(parent: &str) -> Option<Trace> {
        Trace::continued(&headers(&[("traceparent", parent)]))
    }

    fn written(trace: &Trace) -> HeaderMap {
        let mut headers = HeaderMap::new();
        trace.write(&mut headers);
        headers
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let trace = continued(PARENT).expect("it is valid");
        assert_eq!(trace.id.to_string(), ID);
        assert_ne!(trace.span.to_string(), "b7ad6b7169203331");
        let next = trace.next();
        assert_eq!(next.id, trace.id);
        assert_ne!(next.span, trace.span);
        let expected = format!("00-{ID}-{}-01", next.span);
        assert_eq!(written(&next)["traceparent"], expected);
        assert_eq!(
            Trace::of_message(&next.message_headers()).id.to_string(),
            ID
        );
    }

    #[test]
    fn a_trace_that_begins_is_valid_and_unlike_any_other() {
        let (one, other) = (Trace::begin(), Trace::begin());
        assert_ne!(one.id, other.id);
        let back = Trace::continued(&written(&one)).expect("it is valid");
        assert_eq!(back.id, one.id);
        assert_eq!(back.flags, FLAGS_BEGUN);
    }

    #[test]
    fn a_parent_that_is_not_valid_begins_a_new_trace() {
        for parent in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(continued(parent), None, "{parent}");
            assert_ne!(
                Trace::of_request(&headers(&[("traceparent", parent)]))
                    .id
                    .to_string(),
                ID
            );
        }
        let two = headers(&[("traceparent", PARENT), ("traceparent", PARENT)]);
        assert_eq!(Trace::continued(&two), None);
    }

    #[test]
    fn a_later_version_is_read_by_its_first_four_fields() {
        for tail in ["", "-", "-what-the-future-will-be-like"] {
            let later = format!("cc{}{tail}", &PARENT[2..]);
            let trace = continued(&later).expect("it is valid");
            assert_eq!(trace.id.to_string(), ID);
            let written = written(&trace);
            assert!(written["traceparent"].as_bytes().starts_with(b"00-"));
        }
    }

    #[test]
    fn only_known_flags_go_on() {
        let odd = format!("{}fd", &PARENT[..PARENT_BYTES - 2]);
        assert_eq!(continued(&odd).map(|trace| trace.flags), Some(1));
    }

    #[test]
    fn the_state_goes_on_in_one_line() {
        let with = |states: &[&str]| {
            let mut pairs = vec![("traceparent", PARENT)];
            pairs.extend(states.iter().map(|state| ("tracestate", *state)));
            let trace = Trace::continued(&headers(&pairs)).expect("it is valid");
            let state = written(&trace.next()).remove("tracestate");
            state.map(|state| state.to_str().expect("it is ASCII").to_owned())
        };
        assert_eq!(
            with(&["a=1,b@c=2", "d=3"]).as_deref(),
            Some("a=1,b@c=2,d=3")
        );
        let longest = format!("a={}", "x".repeat(STATE_BYTES_MAX - 2));
        assert_eq!(with(&[&longest]), Some(longest.clone()));
        assert_eq!(with(&[&format!("{longest}x")]), None, "it is too long");
        assert_eq!(with(&[&longest, "b=1"]), None, "together they are");
        assert_eq!(with(&["no member"]), None);
        assert_eq!(with(&["=1"]), None);
        assert_eq!(with(&[""]), None);
        assert_eq!(with(&[&vec!["a=1"; 33].join(",")]), None, "too many");
    }

    #[test]
    fn what_was_said_of_another_trace_is_not_handed_on() {
        let mut said = headers(&[("traceparent", "broken"), ("tracestate", "a=1")]);
        Trace::of_request(&said).write(&mut said);
        assert!(said.get("tracestate").is_none());
        assert!(Trace::continued(&said).is_some());
    }
}
