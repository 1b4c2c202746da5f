//! One HTTP exchange: reading the request, and sending an answer whole or as a stream.
//!
//! Streams here are WASI's: a write must fit what `check-write` permits, and a stream must be dropped
//! before the body that it belongs to. Both rules live in this file and nowhere else.

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
    ResponseOutparam, http_error_code,
};
use crate::bindings::wasi::io::poll::poll;
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::glue::answer::Answer;

/// One read or splice: large enough that calls into the host do not count, small beside the
/// instance's memory.
pub const CHUNK_BYTES: u64 = 256 * 1024;
/// How much of a refused upload is still taken off the line, so that a client that has not finished
/// sending reads the refusal instead of a broken connection.
const LINGER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// And for how long.
const LINGER_NS_MAX: u64 = 3_000_000_000;

/// A request's facts, and its body until that is taken.
pub struct Request {
    inner: IncomingRequest,
    method: String,
    path: String,
    query: String,
    headers: Fields,
}

impl Request {
    /// Takes the host's request apart.
    pub fn new(inner: IncomingRequest) -> Self {
        let target = inner.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Self {
            method: method_name(inner.method()),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: inner.headers(),
            inner,
        }
    }

    /// The method, in capitals.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path, undecoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the question mark, or nothing.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// All values of a header.
    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.get(name)
    }

    /// A header's first value, if it is text.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name).into_iter().next()?;
        String::from_utf8(value).ok()
    }

    /// Every header.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.entries()
    }

    /// Takes the body, which can be done once.
    pub fn body(&self) -> BodyReader {
        let body = self.inner.consume().expect("the body is taken once");
        let stream = body.stream().expect("a body's stream is taken once");
        BodyReader {
            stream,
            _body: body,
        }
    }
}

fn method_name(method: Method) -> String {
    let name = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return name,
    };
    name.to_owned()
}

/// Why a request's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the host lets through.
    #[error("the request's body is larger than the host allows")]
    TooLarge,
    /// The client went away, or broke the protocol.
    #[error("the request's body broke off")]
    BrokenOff,
}

/// A message body that arrives. Fields drop in this order: the stream before its body.
pub struct BodyReader {
    stream: InputStream,
    _body: IncomingBody,
}

impl BodyReader {
    /// A body that another interface handed out.
    pub fn new(body: IncomingBody) -> Self {
        let stream = body.stream().expect("a body's stream is taken once");
        Self {
            stream,
            _body: body,
        }
    }

    /// The stream, for splicing and polling.
    pub fn stream(&self) -> &InputStream {
        &self.stream
    }

    /// Waits for the next piece; gives nothing at the end.
    pub fn read(&self) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            match self.stream.blocking_read(CHUNK_BYTES) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(match http_error_code(&error) {
                        Some(ErrorCode::HttpRequestBodySize(_)) => BodyError::TooLarge,
                        _ => BodyError::BrokenOff,
                    });
                }
            }
        }
    }

    /// Takes what is still coming off the line and drops it, within limits.
    fn linger(&self) {
        let timer = monotonic_clock::subscribe_duration(LINGER_NS_MAX);
        let arrival = self.stream.subscribe();
        let mut taken: u64 = 0;
        while taken < LINGER_BYTES_MAX {
            let ready = poll(&[&arrival, &timer]);
            if ready.contains(&1) {
                return;
            }
            match self.stream.skip(CHUNK_BYTES) {
                Ok(count) => taken += count,
                Err(_) => return,
            }
        }
    }
}

/// The peer does not take any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct Closed;

/// Writes all of `bytes`, as much at a time as the stream permits.
pub fn write_all(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let permitted = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if permitted == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(permitted.min(bytes.len()));
        stream.write(now)?;
        bytes = later;
    }
    Ok(())
}

/// The right to answer one request, once.
pub struct Exchange {
    out: ResponseOutparam,
    head: bool,
}

impl Exchange {
    /// With `head`, the body of the answer is left out and its headers stay.
    pub fn new(out: ResponseOutparam, head: bool) -> Self {
        Self { out, head }
    }

    /// Whether the request wants headers only.
    pub fn is_head(&self) -> bool {
        self.head
    }

    /// Sends a whole answer. A client that went away meanwhile is nobody's error.
    pub fn send(self, mut answer: Answer) {
        // A 204 and a 304 have no content to measure (RFC 9110, section 8.6).
        if !matches!(answer.status, 204 | 304) {
            let length = answer.body.len().to_string();
            answer.headers.push(("content-length", length));
        }
        let body = answer.body;
        if let Some(mut writer) = self.start(answer.status, &answer.headers)
            && writer.write(&body).is_ok()
        {
            writer.finish();
        }
    }

    /// Sends a whole answer to a request whose body is not wanted to its end. What still comes off
    /// the line is taken and dropped before the answer ends: a host may end this instance with the
    /// answer, and a connection that is closed on unread bytes can lose the answer.
    pub fn refuse(self, answer: &Answer, unread: &BodyReader) {
        // Without a length, the answer ends where the writer says so.
        let Some(mut writer) = self.start(answer.status, &answer.headers) else {
            return;
        };
        if writer.write(&answer.body).is_ok() && writer.flush().is_ok() {
            unread.linger();
            writer.finish();
        }
    }

    /// Sends status and headers and gives the body to write, or nothing for a `HEAD` request.
    pub fn start(self, status: u16, headers: &[(&'static str, String)]) -> Option<BodyWriter> {
        let fields = Fields::new();
        for (name, value) in headers
            .iter()
            .map(|(n, v)| (*n, v.as_str()))
            .chain(EVERY_ANSWER)
        {
            fields
                .append(name, value.as_bytes())
                .expect("our own headers are well formed and permitted");
        }
        self.start_with(status, fields)
    }

    /// Like [`Exchange::start`], with another's headers and nothing added.
    pub fn start_with(self, status: u16, fields: Fields) -> Option<BodyWriter> {
        let response = OutgoingResponse::new(fields);
        response
            .set_status_code(status)
            .expect("a status between 100 and 599");
        // Without a body, the host sends none and keeps the content length.
        let writer = (!self.head).then(|| {
            let body = response.body().expect("the body is taken once");
            let stream = body.write().expect("a body's stream is taken once");
            BodyWriter { stream, body }
        });
        ResponseOutparam::set(self.out, Ok(response));
        writer
    }
}

/// Headers of every answer that is our own.
const EVERY_ANSWER: [(&str, &str); 2] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// A body that is being sent. Dropped without [`BodyWriter::finish`] it tells the client that it is
/// incomplete. Fields drop in this order: the stream before its body.
pub struct BodyWriter {
    stream: OutputStream,
    body: OutgoingBody,
}

impl BodyWriter {
    /// A body that goes out in a request of ours.
    pub fn new(body: OutgoingBody) -> Self {
        let stream = body.write().expect("a body's stream is taken once");
        Self { stream, body }
    }

    /// The stream, for splicing and polling.
    pub fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Writes all of `bytes`, waiting where the client is slow.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        write_all(&self.stream, bytes).map_err(|_| Closed)
    }

    /// Waits until all that was written is on its way.
    pub fn flush(&mut self) -> Result<(), Closed> {
        self.stream.blocking_flush().map_err(|_| Closed)
    }

    /// Moves bytes from `source` without copying them into this instance, to the source's end or to
    /// `limit`, and gives how many there were.
    pub fn splice(&mut self, source: &InputStream, limit: u64) -> u64 {
        let mut moved = 0;
        while moved < limit {
            match self
                .stream
                .blocking_splice(source, CHUNK_BYTES.min(limit - moved))
            {
                Ok(count) => moved += count,
                Err(_) => break,
            }
        }
        moved
    }

    /// Ends the body. That the client went away meanwhile is nobody's error.
    pub fn finish(self) {
        let Self { stream, body } = self;
        drop(stream);
        let _gone = OutgoingBody::finish(body, None);
    }
}
