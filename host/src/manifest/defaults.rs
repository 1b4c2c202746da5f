//! What a manifest leaves out, and why it is then what it is.

use std::time::Duration;

use super::model::{Backoff, Drain, Limits, Preemption, Reuse};

/// Linear memory of one instance. The media application's components stay below it, and a pool
/// of a thousand such instances still fits the address space of small machines.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// To a response's first byte. Longer than anything a person waits for; shorter than the 60 s after
/// which common proxies give up, so that the answer is ours.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Longest pause within a response body. Server-sent events send a comment every 15 to 30 s.
pub const RESPONSE_IDLE: Duration = Duration::from_secs(60);

/// Instances alive at once: two cores' worth of 100 ms requests at 1,000 requests a second, and
/// 8 GiB of memory at the very worst.
pub const INSTANCES_MAX: usize = 128;

/// Requests that wait for an instance: eight rounds of [`INSTANCES_MAX`]. Whoever comes later would
/// wait so long that an immediate 503 serves them better.
pub const QUEUE_MAX: usize = 1024;

/// A request's body. Forms, JSON and photographs fit; who takes more says so.
pub const REQUEST_BODY_BYTES_MAX: u64 = 10 << 20;

/// A request's header names and values: several times what browsers send with full cookies, and
/// what common servers accept at most.
pub const REQUEST_HEADER_BYTES_MAX: usize = 64 << 10;

/// Requests that one 0.3 instance serves at the same time, where measurement found more to cost
/// memory without more throughput.
pub const REUSE_CONCURRENT_MAX: u32 = 16;

/// How long an idle instance is kept: covers the gaps of steady traffic, and gives memory back
/// soon after it ends.
pub const REUSE_IDLE: Duration = Duration::from_secs(1);

/// How long requests may go on in a revision that was replaced: as long as [`DEADLINE`] gives them
/// to begin their answer. Longer responses say so.
pub const DRAIN_REQUESTS: Duration = Duration::from_secs(30);

/// How long deliveries may go on in a revision that was replaced: as long as
/// [`SUBSCRIPTION_DEADLINE`] gives them.
pub const DRAIN_DELIVERIES: Duration = SUBSCRIPTION_DEADLINE;

/// Deliveries in progress at once. A handler that mostly waits gains from a few; a handler that
/// computes does not take the whole machine.
pub const SUBSCRIPTION_CONCURRENCY: usize = 4;

/// How long a delivery is held before another host may take it over. It is extended while the
/// instance works, so this is only the delay after a host dies.
pub const SUBSCRIPTION_LEASE: Duration = Duration::from_secs(30);

/// Shortest lease: below it a pause of the machine hands work over that is still being done.
pub const SUBSCRIPTION_LEASE_MIN: Duration = Duration::from_secs(1);

/// Longest that one delivery may work. Longer work is declared where it is known to be long.
pub const SUBSCRIPTION_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Deliveries of one message. With the default backoff they outlast a restart of what it needs.
pub const SUBSCRIPTION_DELIVERIES_MAX: u32 = 5;

/// The pause after the first failure: most failures that pass at all have passed by then.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// The longest pause between deliveries: an outage that ends is noticed within a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: MEMORY_BYTES_MAX,
            deadline: DEADLINE,
            response_idle: RESPONSE_IDLE,
            instances_max: INSTANCES_MAX,
            queue_max: QUEUE_MAX,
            request_body_bytes_max: REQUEST_BODY_BYTES_MAX,
            request_header_bytes_max: REQUEST_HEADER_BYTES_MAX,
        }
    }
}

/// Isolation is the default: who trades it away says so.
impl Default for Preemption {
    fn default() -> Self {
        Self::Epoch
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            requests_max: None,
            concurrent_max: REUSE_CONCURRENT_MAX,
            idle_timeout: REUSE_IDLE,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            requests: DRAIN_REQUESTS,
            deliveries: DRAIN_DELIVERIES,
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: BACKOFF_FIRST,
            max: BACKOFF_MAX,
        }
    }
}
