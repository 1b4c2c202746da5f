//! The responses that the host gives by itself, where no component did.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::dispatch::status;
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

fn plain(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Host(Full::from(text + "\n")));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// No route matches the path.
pub fn no_route(path: &str) -> Response<ResponseBody> {
    plain(StatusCode::NOT_FOUND, format!("no route matches {path}"))
}

/// Routes match the path, but none the method.
pub fn method_not_allowed(allow: &[String]) -> Response<ResponseBody> {
    let allow = allow.join(", ");
    let mut response = plain(
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
pub fn failed(error: &InvokeError) -> Response<ResponseBody> {
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
    let mut response = plain(status, text);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}
