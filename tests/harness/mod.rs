//! What every test stands on: built artifacts, a running host, an HTTP client, bounded polling.
//!
//! It knows how `wharf` is started and stopped, and nothing of what any test promises.

pub mod artifacts;
pub mod client;
pub mod held;
pub mod host;
pub mod manifest;
pub mod metrics;
#[allow(dead_code, reason = "the host's own tests use more of it")]
pub mod object_server;
mod on_objects;
pub mod operator;
pub mod poll;
pub mod postgres_server;
pub mod proxy;
#[allow(dead_code, reason = "the host's own tests use the rest of it")]
pub mod redis_server;
pub mod registry;
pub mod upstream;
pub mod variant;

pub use artifacts::{guest, install_redis_server, root};
pub use client::{Client, Reply};
pub use host::{Host, Launch};
pub use manifest::{Manifest, scratch};
pub use object_server::ObjectServer;
pub use on_objects::BLOBS;
pub use operator::{Operator, Swap};
pub use poll::eventually;
pub use postgres_server::PostgresServer;
pub use proxy::{Cut, Proxy};
pub use redis_server::RedisServer;
pub use registry::Registry;
pub use variant::variant;
