//! A streaming reader of `multipart/form-data` (RFC 7578, RFC 2046 section 5.1).
//!
//! Bytes go in as they arrive, events come out: a part's head, its data in pieces, its end. A
//! boundary may be split over any number of pieces. Held back is at most one head or one boundary,
//! never a part's content.
//!
//! ```text
//! Preamble ──boundary──▶ Delimiter ──CRLF──▶ Head ──blank line──▶ Data ──boundary──▶ Delimiter
//!                            └────"--"────▶ Epilogue
//! ```
//!
//! Refuses to know what a part is for; [`crate::form`] decides that.

use memchr::memmem;

/// Longest boundary, RFC 2046 section 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest head of a part: a file name of 255 bytes, escaped, fits many times.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// What may stand before the first boundary, after the last one, and as padding behind a boundary.
/// Browsers send none of them, so a little patience is enough.
const FILLER_BYTES_MAX: usize = 1024;

/// Why a body is not the form that it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The content type is another one, or names no usable boundary.
    #[error("The request must be multipart/form-data with a boundary.")]
    NotMultipart,
    /// The body stopped before its last boundary.
    #[error("The upload ended before it was complete.")]
    EndedEarly,
    /// A part's head is longer than a name can need.
    #[error("The head of a part of the form is too long.")]
    HeadTooLong,
    /// A part's head is not made of header lines.
    #[error("The head of a part of the form is malformed.")]
    MalformedHead,
    /// Too much stands outside the parts.
    #[error("There is too much text outside the parts of the form.")]
    TooMuchFiller,
}

/// What [`Reader::feed`] found, in the order of the body.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part starts; the header lines as they stand, each with its CRLF except the last.
    Head(&'a [u8]),
    /// The next piece of the part's content, not empty.
    Data(&'a [u8]),
    /// The part is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Allowed next: Delimiter.
    Preamble,
    /// Behind a boundary, before it is known what follows. Allowed next: Head, Epilogue, Data (what
    /// looked like a boundary was content).
    Delimiter {
        /// The boundary ends a part, or would end the preamble.
        in_part: bool,
    },
    /// Allowed next: Data.
    Head,
    /// Allowed next: Delimiter.
    Data,
    /// Allowed next: nothing; the rest is counted and dropped.
    Epilogue,
}

/// Reads one body. Feed it every piece, then call [`Reader::finish`].
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// CRLF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// What arrived and is not yet decided. It starts with a CRLF that is not in the body, so that
    /// the first boundary looks like every other one.
    pending: Vec<u8>,
    filler_bytes: usize,
}

/// What one look at the pending bytes came to.
enum Step {
    /// Bytes at the front are settled; look again.
    Consumed(usize),
    /// Nothing can be decided without more bytes.
    Starved,
}

impl Reader {
    /// Takes the request's `Content-Type` and gives a reader for its body.
    pub fn new(content_type: &str) -> Result<Self, FormatError> {
        let boundary = boundary_of(content_type).ok_or(FormatError::NotMultipart)?;
        let mut delimiter = b"\r\n--".to_vec();
        delimiter.extend_from_slice(boundary.as_bytes());
        Ok(Self {
            state: State::Preamble,
            finder: memmem::Finder::new(&delimiter).into_owned(),
            delimiter,
            pending: b"\r\n".to_vec(),
            filler_bytes: 0,
        })
    }

    /// Takes the next piece of the body and calls `on_event` for everything that it completes. Stops
    /// at the first error, the format's or the callback's; the reader is then of no further use.
    pub fn feed<E: From<FormatError>>(
        &mut self,
        piece: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(piece);
        let mut rest = pending.as_slice();
        while let Step::Consumed(count) = self.step(rest, &mut on_event)? {
            rest = &rest[count..];
        }
        let settled = pending.len() - rest.len();
        pending.drain(..settled);
        self.pending = pending;
        Ok(())
    }

    /// Says whether the body was complete: its last boundary was seen.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.state == State::Epilogue {
            Ok(())
        } else {
            Err(FormatError::EndedEarly)
        }
    }

    fn step<E: From<FormatError>>(
        &mut self,
        rest: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Step, E> {
        match self.state {
            State::Preamble => Ok(self.skip_preamble(rest)?),
            State::Delimiter { in_part } => self.read_delimiter(rest, in_part, on_event),
            State::Head => self.read_head(rest, on_event),
            State::Data => self.read_data(rest, on_event),
            State::Epilogue if rest.is_empty() => Ok(Step::Starved),
            State::Epilogue => {
                self.count_filler(rest.len())?;
                Ok(Step::Consumed(rest.len()))
            }
        }
    }

    fn skip_preamble(&mut self, rest: &[u8]) -> Result<Step, FormatError> {
        if let Some(at) = self.finder.find(rest) {
            self.count_filler(at)?;
            self.state = State::Delimiter { in_part: false };
            return Ok(Step::Consumed(at));
        }
        let settled = self.settled_len(rest);
        self.count_filler(settled)?;
        Ok(if settled == 0 {
            Step::Starved
        } else {
            Step::Consumed(settled)
        })
    }

    fn read_data<E>(
        &mut self,
        rest: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Step, E> {
        let found = self.finder.find(rest);
        let settled = found.unwrap_or_else(|| self.settled_len(rest));
        if settled > 0 {
            on_event(Event::Data(&rest[..settled]))?;
        }
        if found.is_some() {
            self.state = State::Delimiter { in_part: true };
        } else if settled == 0 {
            return Ok(Step::Starved);
        }
        Ok(Step::Consumed(settled))
    }

    /// `rest` starts with the delimiter. Decides what it delimits, or that it is content after all
    /// (a longer line that begins like a boundary).
    fn read_delimiter<E: From<FormatError>>(
        &mut self,
        rest: &[u8],
        in_part: bool,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Step, E> {
        let length = self.delimiter.len();
        let after = &rest[length..];
        let padding = after
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if padding > FILLER_BYTES_MAX {
            return Err(FormatError::TooMuchFiller.into());
        }
        match &after[padding..] {
            [b'\r', b'\n', ..] => {
                self.state = State::Head;
            }
            [b'-', b'-', ..] if padding == 0 => {
                self.state = State::Epilogue;
            }
            [] | [b'\r'] => return Ok(Step::Starved),
            [b'-'] if padding == 0 => return Ok(Step::Starved),
            _ if in_part => {
                on_event(Event::Data(&rest[..length]))?;
                self.state = State::Data;
                return Ok(Step::Consumed(length));
            }
            _ => {
                self.count_filler(length)?;
                self.state = State::Preamble;
                return Ok(Step::Consumed(length));
            }
        }
        if in_part {
            on_event(Event::End)?;
        }
        // The CRLF stays: it is the one before the first header line, or before the blank line.
        Ok(Step::Consumed(length + padding))
    }

    /// `rest` starts with the CRLF that ends the boundary's line.
    fn read_head<E: From<FormatError>>(
        &mut self,
        rest: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Step, E> {
        let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
            return if rest.len() > HEAD_BYTES_MAX {
                Err(FormatError::HeadTooLong.into())
            } else {
                Ok(Step::Starved)
            };
        };
        if end > HEAD_BYTES_MAX {
            return Err(FormatError::HeadTooLong.into());
        }
        on_event(Event::Head(rest.get(2..end).unwrap_or_default()))?;
        self.state = State::Data;
        Ok(Step::Consumed(end + 4))
    }

    /// How many bytes at the front cannot be the start of a delimiter that is still arriving.
    fn settled_len(&self, rest: &[u8]) -> usize {
        let held = self.delimiter.len() - 1;
        let from = rest.len().saturating_sub(held);
        (from..rest.len())
            .find(|&at| self.delimiter.starts_with(&rest[at..]))
            .unwrap_or(rest.len())
    }

    fn count_filler(&mut self, count: usize) -> Result<(), FormatError> {
        self.filler_bytes += count;
        if self.filler_bytes > FILLER_BYTES_MAX {
            return Err(FormatError::TooMuchFiller);
        }
        Ok(())
    }
}

fn boundary_of(content_type: &str) -> Option<String> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let usable = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !boundary.ends_with(' ');
    usable.then_some(boundary)
}

/// Gives the value of the parameter called `name` in `; a=b; c="d"` (RFC 9110 section 5.6.6), with
/// quotes and their escapes removed.
///
/// Inside quotes a backslash escapes only a quote or a backslash: old browsers send whole Windows
/// paths, in which it is an ordinary character.
pub fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return None;
        }
        let Some((key, after)) = split_key(rest) else {
            // A parameter without a value.
            rest = rest.split_once(';')?.1;
            continue;
        };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

fn split_key(text: &str) -> Option<(&str, &str)> {
    let (key, after) = text.split_once('=')?;
    (!key.contains(';')).then(|| (key.trim(), after.trim_start()))
}

/// Takes what follows an opening quote and gives the value and what follows the closing one.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.peek() {
                Some(&(_, escaped @ ('"' | '\\'))) => {
                    value.push(escaped);
                    chars.next();
                }
                _ => value.push(c),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
