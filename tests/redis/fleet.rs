//! Hosts on one Redis server, each with a state directory of its own and a way to the server that can
//! be disturbed.

use std::net::SocketAddr;

use crate::harness::{Launch, Proxy};

/// The host configuration's text for a host on Redis at `redis`, with more of it in `more`.
pub fn on_redis(name: &str, redis: SocketAddr, more: &str) -> String {
    format!("name = \"{name}\"\n[redis]\nurl = \"redis://{redis}\"\n{more}")
}

/// Where one host runs: what stays when its process dies.
pub struct Place {
    pub proxy: Proxy,
    launch: Launch,
}

impl Place {
    /// The place called `name`, where `launch` runs on the Redis server at `redis`.
    pub async fn new(name: &str, redis: SocketAddr, more: &str, launch: Launch) -> Self {
        let proxy = Proxy::of(redis).await;
        let text = on_redis(name, proxy.address(), more);
        Self {
            proxy,
            launch: launch.host_config(&text),
        }
    }

    /// How its host is started, the first time and every other.
    pub fn launch(&self) -> Launch {
        self.launch.clone()
    }
}
