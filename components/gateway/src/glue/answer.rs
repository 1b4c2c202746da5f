//! Whole answers: a status, headers and a body that fits in memory.

use std::borrow::Cow;

use serde::Serialize;

/// How long a client is asked to wait where waiting may help.
const RETRY_AFTER_SECONDS: &str = "5";

/// An answer that [`super::exchange::Exchange::send`] sends.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body; its length becomes `Content-Length`.
    pub body: Cow<'static, [u8]>,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Cow::Borrowed(&[]),
        }
    }

    /// An answer that is never kept by a cache: it belongs to one caller at one moment.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("our own types are representable as JSON");
        Self {
            status,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: Cow::Owned(body),
        }
    }

    /// `{"error": sentence}`.
    pub fn error(status: u16, sentence: impl AsRef<str>) -> Self {
        Self::json(status, &serde_json::json!({ "error": sentence.as_ref() }))
    }

    /// 404, with the same words for what never was and for what is another user's.
    pub fn not_found() -> Self {
        Self::error(404, "There is nothing here.")
    }

    /// 405 with what is allowed instead.
    pub fn method_not_allowed(allowed: &[&str]) -> Self {
        Self::error(405, "This method is not allowed here.").with("allow", allowed.join(", "))
    }

    /// 500 for what only an operator can mend; the cause is in the log.
    pub fn broken() -> Self {
        Self::error(500, "The server is not set up correctly.")
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(sentence: &str) -> Self {
        Self::error(503, sentence).with("retry-after", RETRY_AFTER_SECONDS)
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
