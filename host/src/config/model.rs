//! The host configuration: where an application runs. Every value in it is valid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

/// Where and how a host runs.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// Durable state: the embedded store, blobs, secrets.
    pub state_dir: PathBuf,
    /// Compiled code; below the state directory unless a command has a better place for it.
    pub code_dir: PathBuf,
    /// The public listener.
    pub http: HttpListener,
    /// The operators' listener.
    pub admin_listen: SocketAddr,
    /// How long accepted work may take to finish once shutdown begins.
    pub shutdown_grace: Duration,
    /// Bounds of the pooling allocator, shared by all components.
    pub engine: EngineConfig,
    /// How revisions are kept and pinned.
    pub rollout: RolloutConfig,
}

/// The public HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpListener {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Connections open at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Longest wait for a request's headers, once its first byte is there.
    pub header_timeout: Duration,
}

/// Bounds of the pooling allocator, shared by all components.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Component instances alive at once, in each of the two engines.
    pub instances_max: u32,
    /// Linear memory that one instance can be allowed, in bytes; a component's own limit is at most
    /// this.
    pub memory_bytes_max: usize,
    /// Threads for deliveries and other background work.
    pub worker_threads: usize,
}

/// How revisions are kept and pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutConfig {
    /// The request header that names the revision which is to serve a request. Where there is none,
    /// requests cannot choose.
    pub revision_header: Option<HeaderName>,
    /// Revisions of each component that can be rolled back to, the current one counted; at least 1.
    pub revisions_kept: usize,
}
