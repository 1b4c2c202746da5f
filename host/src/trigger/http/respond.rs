//! The responses that the host gives by itself, where no component did.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::dispatch::status;
use crate::manifest::model::StaticResponse;
use crate::runtime::{GuestBody, InvokeError, wasi_body};

/// When a client may try again after a 503, in seconds: queues drain within a deadline or so, and a
/// client that waits a second adds no load.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A component's body, or the host's own.
pub enum ResponseBody {
    /// Streamed out of a component.
    Guest(GuestBody),
    /// A few words.
    Host(Full<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = wasi_body::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Guest(body) => Pin::new(body).poll_frame(cx),
            Self::Host(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Guest(body) => body.is_end_stream(),
            Self::Host(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Guest(body) => body.size_hint(),
            Self::Host(body) => body.size_hint(),
        }
    }
}

/// In which form the host says what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"error": "..."}`, as the application's components say it.
    Json,
    /// The words alone: what a browser shows.
    Text,
}

impl Form {
    /// What a request asks for: text where its `Accept` names some kind of it and not JSON.
    pub fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        match accept {
            Some(accept) if accept.contains("text/") && !accept.contains("json") => Self::Text,
            Some(_) | None => Self::Json,
        }
    }

    fn response(self, status: StatusCode, words: String) -> Response<ResponseBody> {
        let (kind, text) = match self {
            Self::Json => (
                "application/json",
                serde_json::json!({ "error": words }).to_string(),
            ),
            Self::Text => ("text/plain; charset=utf-8", words),
        };
        let mut response = Response::new(ResponseBody::Host(Full::from(text + "\n")));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static(kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// What the manifest answers.
pub fn given(response: &StaticResponse) -> Response<ResponseBody> {
    response.answer().map(ResponseBody::Host)
}

/// No route matches the path.
pub fn no_route(form: Form, path: &str) -> Response<ResponseBody> {
    form.response(StatusCode::NOT_FOUND, format!("no route matches {path}"))
}

/// Routes match the path, but none the method.
pub fn method_not_allowed(form: Form, allow: &[String]) -> Response<ResponseBody> {
    let allow = allow.join(", ");
    let mut response = form.response(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path takes only {allow}"),
    );
    if let Ok(value) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// The component failed, or could not be asked. What a guest said of its own failure is for the log,
/// not for the world.
pub fn failed(form: Form, error: &InvokeError) -> Response<ResponseBody> {
    let status = status(error);
    let text = match error {
        InvokeError::GuestError { component, .. } => {
            format!("component {component} answered an error")
        }
        InvokeError::NoResponse { .. }
        | InvokeError::Trap { .. }
        | InvokeError::Deadline { .. }
        | InvokeError::Overloaded { .. }
        | InvokeError::PoolExhausted { .. }
        | InvokeError::Instantiate { .. }
        | InvokeError::Host { .. }
        | InvokeError::Panic { .. }
        | InvokeError::NotExported { .. }
        | InvokeError::TooDeep { .. }
        | InvokeError::Retired { .. }
        | InvokeError::NotRunning { .. }
        | InvokeError::HeadersTooLarge { .. }
        | InvokeError::BodyTooLarge { .. }
        | InvokeError::BadRequest { .. } => error.to_string(),
    };
    let mut response = form.response(status, text);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_words_and_everybody_else_json() {
        let of = |accept: &'static str| {
            Form::of(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
        assert_eq!(of("*/*"), Form::Json);
        assert_eq!(of("text/html,application/xhtml+xml,*/*;q=0.8"), Form::Text);
        assert_eq!(of("text/plain"), Form::Text);
        assert_eq!(of("application/json, text/plain, */*"), Form::Json);
    }
}
