//! The host configuration: where an application runs. Every value in it is valid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::name::{ComponentName, HostId, SecretName};

/// Where and how a host runs.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// This host among those that share Redis; `None`: a name that it makes up once and keeps in its
    /// state directory.
    pub name: Option<HostId>,
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
    /// Messages and key-value stores on Redis; `None`: in the embedded store.
    pub redis: Option<RedisConfig>,
    /// The object store of blobs; `None`, and where its variable is not set: files below the state
    /// directory.
    pub blobs: Option<Setting>,
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
    /// One component has the listener to itself; `None`: the application's routes are served.
    pub one_component: Option<OneComponent>,
}

/// How a listener serves one component that has it to itself, as `wasmtime serve` does: the component
/// sees each request as it came, and a failure is answered as that program answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct OneComponent {
    /// Who answers.
    pub component: ComponentName,
    /// Headers that requests have instead of what they came with under the same names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Requests that wait for the head of their response at once; more wait before them.
    pub requests_max: usize,
    /// Where a connection stops the host.
    pub shutdown_listen: Option<SocketAddr>,
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

/// A Redis server or cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://` or `rediss://` (TLS) and an address; of a cluster, some nodes, with commas between.
    pub url: Setting,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// The ACL user, where it is not in the URL.
    pub username: Option<String>,
    /// The secret that holds the user's password, where it is not in the URL.
    pub password_secret: Option<SecretName>,
    /// What all keys begin with: hosts with the same prefix run one application together.
    pub prefix: String,
}

/// A text that differs from host to host, and may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// It is written in the configuration.
    Written(String),
    /// It is in the environment variable of this name.
    Variable(String),
}

impl Setting {
    /// The text, or the name of the variable that is not set.
    pub fn value(&self) -> Result<String, &str> {
        match self {
            Self::Written(text) => Ok(text.clone()),
            Self::Variable(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(text),
                _ => Err(name),
            },
        }
    }
}

impl std::fmt::Debug for Setting {
    /// Without the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Written(_) => f.write_str("Written(..)"),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}
