//! Who answers a route's requests, and what they are told of it.

use bytes::Bytes;
use http_body_util::Full;

use crate::name::ComponentName;

/// Who answers a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    /// A component.
    Component(ComponentName),
    /// The host, always the same.
    Response(StaticResponse),
}

/// A response that the manifest gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticResponse {
    /// The status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: String,
}

impl StaticResponse {
    /// The response.
    pub fn answer(&self) -> http::Response<Full<Bytes>> {
        let mut answer = http::Response::new(Full::from(self.body.clone()));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers.clone();
        answer
    }
}

/// A route as its manifest writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRoute {
    /// `/jobs/:id/...`.
    pub raw: String,
}
