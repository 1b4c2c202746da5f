//! Responses of the operators' listener.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;

use crate::name::RolloutId;

/// A response's body.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole answer of this type.
pub(super) fn whole(
    status: StatusCode,
    kind: HeaderValue,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    of(status, kind, Full::new(bytes.into()).boxed_unsync())
}

/// An answer of this type, with this body.
pub(super) fn of(status: StatusCode, kind: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    // What was true a moment ago is of no use.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    whole(status, kind, text)
}

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let text = serde_json::to_vec(value).expect("the wire's types can be written as JSON");
    json_text(status, text)
}

pub(super) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    whole(status, HeaderValue::from_static("application/json"), text)
}

/// The answer that something has begun which is found elsewhere from now on.
pub(super) fn begun<T: Serialize>(rollout: RolloutId, value: &T) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, value);
    let location = HeaderValue::try_from(format!("/v1/rollouts/{rollout}"))
        .expect("a number is allowed in a header");
    response.headers_mut().insert(LOCATION, location);
    response
}
