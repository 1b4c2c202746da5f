//! What a failure becomes: the status of a response, or what happens next with a delivery.

use std::time::Duration;

use http::StatusCode;

use crate::manifest::model::{Backoff, Subscription};
use crate::runtime::InvokeError;

/// What is to be done with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The component is done with the message.
    Acknowledge,
    /// The host could not have it handled: later, without counting the attempt.
    Defer {
        /// The pause.
        after: Duration,
    },
    /// Try again after a pause.
    Retry {
        /// The pause.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// The message used up its deliveries.
    DeadLetter {
        /// Why the last one failed.
        reason: String,
    },
}

/// The one place that turns a failure into an HTTP status.
pub fn status(error: &InvokeError) -> StatusCode {
    match error {
        InvokeError::GuestError { .. }
        | InvokeError::NoResponse { .. }
        | InvokeError::Trap { .. } => StatusCode::BAD_GATEWAY,
        InvokeError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
        InvokeError::Overloaded { .. }
        | InvokeError::PoolExhausted { .. }
        | InvokeError::Retired { .. }
        | InvokeError::NotRunning { .. } => StatusCode::SERVICE_UNAVAILABLE,
        InvokeError::Instantiate { .. }
        | InvokeError::Host { .. }
        | InvokeError::Panic { .. }
        | InvokeError::NotExported { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        InvokeError::TooDeep { .. } => StatusCode::LOOP_DETECTED,
        InvokeError::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        InvokeError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        InvokeError::BadRequest { .. } => StatusCode::BAD_REQUEST,
    }
}

/// The one place that turns a failed delivery into what happens next.
///
/// What the component did counts against the message; what the host could not do does not.
pub(super) fn settle(error: &InvokeError, attempt: u32, subscription: &Subscription) -> Settlement {
    let of_host = match error {
        InvokeError::Overloaded { .. }
        | InvokeError::PoolExhausted { .. }
        | InvokeError::Retired { .. }
        | InvokeError::NotRunning { .. } => true,
        InvokeError::GuestError { .. }
        | InvokeError::NoResponse { .. }
        | InvokeError::Trap { .. }
        | InvokeError::Deadline { .. }
        | InvokeError::Instantiate { .. }
        | InvokeError::Host { .. }
        | InvokeError::Panic { .. }
        | InvokeError::NotExported { .. }
        | InvokeError::TooDeep { .. }
        | InvokeError::HeadersTooLarge { .. }
        | InvokeError::BodyTooLarge { .. }
        | InvokeError::BadRequest { .. } => false,
    };
    let reason = error.to_string();
    if !of_host && attempt >= subscription.deliveries_max {
        return Settlement::DeadLetter { reason };
    }
    if matches!(error, InvokeError::Retired { .. }) {
        // Another revision is there to take it at once.
        let after = Duration::ZERO;
        return Settlement::Defer { after };
    }
    let after = pause(&subscription.backoff, attempt, rand::random());
    if of_host {
        Settlement::Defer { after }
    } else {
        Settlement::Retry { after, reason }
    }
}

/// The pause before a retry: exponential with half of it left to chance, so that messages that
/// failed together are not retried together. `chance` is in 0..1.
fn pause(backoff: &Backoff, attempt: u32, chance: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let longest = backoff
        .first
        .saturating_mul(1 << doublings)
        .min(backoff.max);
    longest.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription {
            subject: "a.b".parse().expect("a subject"),
            component: "c".parse().expect("a name"),
            concurrency: 1,
            lease: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            deliveries_max: 3,
            backoff: Backoff {
                first: Duration::from_secs(1),
                max: Duration::from_secs(10),
            },
        }
    }

    #[test]
    fn a_message_that_fails_is_retried_and_then_given_up() {
        let component = || "c".parse().expect("a name");
        let error = InvokeError::GuestError {
            component: component(),
            error: "no".into(),
        };
        assert!(matches!(
            settle(&error, 1, &subscription()),
            Settlement::Retry { .. }
        ));
        assert!(matches!(
            settle(&error, 2, &subscription()),
            Settlement::Retry { .. }
        ));
        assert!(matches!(
            settle(&error, 3, &subscription()),
            Settlement::DeadLetter { .. }
        ));
        let of_host = InvokeError::NotRunning {
            component: component(),
        };
        assert!(matches!(
            settle(&of_host, 99, &subscription()),
            Settlement::Defer { .. }
        ));
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let backoff = subscription().backoff;
        assert_eq!(pause(&backoff, 1, 1.0), Duration::from_secs(1));
        assert_eq!(pause(&backoff, 1, 0.0), Duration::from_millis(500));
        assert_eq!(pause(&backoff, 3, 1.0), Duration::from_secs(4));
        assert_eq!(pause(&backoff, 5, 1.0), Duration::from_secs(10));
        assert_eq!(pause(&backoff, u32::MAX, 1.0), Duration::from_secs(10));
    }
}
