//! How whatever brings messages is told to end.

use tokio_util::sync::CancellationToken;

/// How a consumer or a subscriber is told to end.
#[derive(Clone)]
pub struct Stop {
    /// Take nothing more.
    pub claiming: CancellationToken,
    /// Give back, or up, what is still worked on.
    pub working: CancellationToken,
}
