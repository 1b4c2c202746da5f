//! What a host configuration leaves out, and why it is then what it is. With no file at all these
//! are the whole configuration, so they say the same as `runtime-config/local.toml`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// Durable state, below the directory in which the host is started.
pub const STATE_DIR: &str = ".wharf";

/// The public listener. Loopback: opening it to a network is a decision of its own.
pub const HTTP_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// The operators' listener.
pub const ADMIN_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9090));

/// Connections open at once. Event streams hold theirs for hours, so it is far above the requests
/// in progress; each idle one costs some ten kilobytes.
pub const CONNECTIONS_MAX: usize = 8192;

/// Longest wait for a request's headers: generous on a slow line, and short enough that clients who
/// trickle them hold few connections.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long accepted work may take to finish. What orchestrators wait between SIGTERM and SIGKILL
/// (Kubernetes' `terminationGracePeriodSeconds`).
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// Component instances alive at once: above the default limit of seven components together. A
/// larger pool only reserves address space.
pub const INSTANCES_MAX: u32 = 1000;

/// Linear memory that one instance can be allowed. Address space until it is touched; guests with
/// an interpreter inside, such as Python's, need more than the 64 MiB of a component's default.
pub const MEMORY_BYTES_MAX: usize = 256 << 20;

/// All that a 32-bit linear memory can address.
pub const MEMORY_BYTES_CEILING: usize = 4 << 30;

/// A page of linear memory, by which it grows (WebAssembly core specification, section 2.5.4).
pub const PAGE_BYTES: usize = 64 << 10;

/// Revisions of each component that are kept: further back than anybody rolls, and with the 10 MB of
/// a large component and as much compiled code some 200 MB for each.
pub const REVISIONS_KEPT: usize = 10;

/// What all keys in Redis begin with.
pub const REDIS_PREFIX: &str = "wharf";

/// Threads for deliveries and other background work: one for each core.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
