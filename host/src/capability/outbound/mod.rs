//! Connections of components to servers that the manifest lets them reach.
//!
//! ```text
//! guest's connection -> place in the pool of (component, address) -> idle connection | a new one
//!        \- dropped -> idle again, where nothing of its user is left on it
//! ```
//!
//! Nothing here knows grants: callers have checked that the component may reach the address.

mod pool;
pub mod postgres;
pub mod redis;

use std::time::Duration;

/// Connections of one component to one address at once; more wait, and are refused after a while.
pub const CONNECTIONS_MAX: usize = 64;

/// Longest wait for a connection to be made, or for a place in a pool.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// As many connections to the address are open as may be.
    #[error("the component has {CONNECTIONS_MAX} open connections to it, which is all that it may")]
    TooMany,
    /// No answer in time.
    #[error("no answer within {}", humantime::format_duration(CONNECT_TIMEOUT))]
    TimedOut,
    /// The server cannot be reached or refuses.
    #[error("{0}")]
    Refused(String),
}
