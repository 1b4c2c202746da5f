//! Why a call of the admin API is not carried out, as its caller is told.

use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{self, Body};
use super::streams::OperateError;
use crate::capability::streams::StreamError;
use crate::name::NameError;
use crate::rollout::RolloutError;

/// What a caller that is not at fault waits before it asks again, in seconds: rollouts take about as
/// long, and a host is restarted about as fast.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The body of every answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
}

impl Failure {
    fn of(error: &dyn std::error::Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self {
            error: error.to_string(),
            causes,
        }
    }
}

/// Why a call is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The request names another host.
    #[error(
        "requests for the host {0:?} are not answered here: use the address itself, or localhost"
    )]
    Host(String),
    /// The request shows no token, or another one.
    #[error(
        "this needs `Authorization: Bearer TOKEN`, with the token from admin-token in the host's state directory"
    )]
    Token,
    /// Nothing is there.
    #[error("there is nothing at {0}: /v1/openapi.json says what there is")]
    Path(String),
    /// Something is there, for other methods.
    #[error("the methods here are {allow}")]
    Method {
        /// The methods.
        allow: String,
    },
    /// The query has something that is not known.
    #[error("{0:?} is not understood in this query")]
    Query(String),
    /// The query's limit is out of its range.
    #[error("limit {given:?} is not a number from 1 to {max}")]
    Limit {
        /// What was asked for.
        given: String,
        /// The most that may be.
        max: usize,
    },
    /// A name in the path or the query does not have its form.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The body is not what is described.
    #[error("the body is not what this call takes")]
    Json(#[source] serde_json::Error),
    /// The body is too large.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// What it may have.
        limit: usize,
    },
    /// The body does not arrive.
    #[error("nothing more of the body arrived for {seconds} s")]
    Slow {
        /// How long was waited.
        seconds: u64,
    },
    /// The body broke off.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// The rollouts refuse.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// The streams refuse.
    #[error(transparent)]
    Streams(#[from] OperateError),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Query(_)
            | Self::Limit { .. }
            | Self::Name(_)
            | Self::Json(_)
            | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Rollout(error) => rollout_status(error),
            Self::Streams(error) => error.status(),
        }
    }

    /// The header that goes with the status, where one does.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Token => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Method { allow } => {
                let allow = HeaderValue::try_from(allow).expect("methods are allowed in a header");
                Some((ALLOW, allow))
            }
            Self::Rollout(RolloutError::QueueFull { .. } | RolloutError::ShuttingDown)
            | Self::Streams(
                OperateError::Silent { .. } | OperateError::Stream(StreamError::Backend { .. }),
            ) => Some((RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        if let Self::Rollout(error @ RolloutError::Storage(source)) = &self {
            tracing::error!(%error, source, "an operator's call failed");
        }
        if let Self::Streams(OperateError::Stream(error @ StreamError::Backend { source, .. })) =
            &self
        {
            tracing::warn!(%error, source, "an operator's call failed");
        }
        let mut response = answer::json(self.status(), &Failure::of(&self));
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn rollout_status(error: &RolloutError) -> StatusCode {
    match error {
        RolloutError::UnknownComponent(_)
        | RolloutError::UnknownRevision { .. }
        | RolloutError::UnknownRollout(_) => StatusCode::NOT_FOUND,
        RolloutError::NoEarlierRevision(_) | RolloutError::TooLateToCancel(_) => {
            StatusCode::CONFLICT
        }
        RolloutError::UnknownArtifact(_) | RolloutError::WrongDigest { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        RolloutError::Invalid(_) => StatusCode::BAD_REQUEST,
        RolloutError::QueueFull { .. } | RolloutError::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        RolloutError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> crate::name::ComponentName {
        "hello".parse().expect("a name")
    }

    #[test]
    fn each_kind_of_fault_has_its_status() {
        use RolloutError as E;
        let digest = crate::name::Digest::of(b"");
        let storage = || E::Storage(Box::new(std::io::Error::other("disk")));
        let revision = crate::name::RevisionId(1);
        let rollout = crate::name::RolloutId(1);
        for (error, status) in [
            (E::UnknownComponent(name()), 404),
            (
                E::UnknownRevision {
                    component: name(),
                    revision,
                },
                404,
            ),
            (E::UnknownRollout(rollout), 404),
            (E::NoEarlierRevision(name()), 409),
            (E::TooLateToCancel(rollout), 409),
            (E::UnknownArtifact(digest), 422),
            (
                E::WrongDigest {
                    found: digest,
                    expected: digest,
                },
                422,
            ),
            (E::Invalid("no".to_owned()), 400),
            (
                E::QueueFull {
                    component: name(),
                    waiting: 16,
                },
                503,
            ),
            (E::ShuttingDown, 503),
            (storage(), 500),
        ] {
            let response = Refusal::from(error).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        }
        let lost = OperateError::from(StreamError::Backend {
            subject: "work".parse().expect("a subject"),
            source: Box::new(std::io::Error::other("gone")),
        });
        for error in [lost, OperateError::Silent { seconds: 1 }] {
            let response = Refusal::from(error).into_response();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key(RETRY_AFTER));
        }
        let failure = Failure::of(&Refusal::from(storage()));
        assert_eq!(failure.causes, ["disk"]);
        let refused = Refusal::Token.into_response();
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
