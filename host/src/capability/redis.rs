//! The connection to Redis that the networked backends share.
//!
//! ```text
//! command, script -> one multiplexed connection (its own for each backend) -> server | cluster
//! message on the bell's channel -> Bell -> whoever waits
//! ```
//!
//! Commands of many callers are pipelined on one connection. A lost connection is made again with
//! backoff, in the background; what is asked meanwhile fails at once. No command is sent twice, so
//! an error means that it may or may not have been carried out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisError, RedisFuture, Value,
};
use tokio::sync::Notify;

use crate::config::model::RedisConfig;

/// Longest wait for a connection. A server on the network answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for an answer: a server that forks or loads stalls for hundreds of milliseconds; who
/// waits for longer is better told.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// First pause between attempts to connect, and the longest: a server that comes back is found
/// within two seconds.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long sent bytes may stay unacknowledged before the connection counts as lost: a peer that
/// vanished without a word is found in this time.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Commands that queue for the connection before callers wait: above the instances that a host has.
const PIPELINE_LENGTH: usize = 1024;

/// Why Redis cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// The URL is not one.
    #[error("{url:?} is no Redis URL: write redis://HOST:PORT, or rediss://HOST:PORT for TLS")]
    Url {
        /// Without its password.
        url: String,
        /// What is wrong with it.
        #[source]
        source: RedisError,
    },
    /// It answered, and refuses.
    #[error("Redis at {address} refuses: check username and password_secret in [redis]")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        #[source]
        source: RedisError,
    },
}

/// A connection. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Redis {
    link: Link,
    address: Arc<str>,
    prefix: Arc<str>,
    bell: Arc<Bell>,
}

#[derive(Clone)]
enum Link {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Prepares a connection to `url` as `config` says, with `password` for its user. Nothing is sent
    /// before the first command.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::Url`].
    pub fn open(
        url: &str,
        config: &RedisConfig,
        password: Option<&str>,
    ) -> Result<Self, RedisOpenError> {
        super::tls::install_crypto();
        let bell = Arc::new(Bell::default());
        let nodes = url.split(',').map(|url| node(url.trim(), config, password));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let rung = bell.clone();
        let push = move |push: PushInfo| {
            rung.pushed(&push);
            Ok::<(), redis::aio::SendError>(())
        };
        let failed = |source| RedisOpenError::Url {
            url: address(url),
            source,
        };
        let link = if config.cluster {
            let client = ClusterClientBuilder::new(nodes)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT)
                .use_protocol(ProtocolVersion::RESP3)
                .tcp_settings(tcp_settings())
                .push_sender(push)
                .build()
                .map_err(failed)?;
            let pending = client.get_pending_async_connection_with_config(Default::default());
            Link::Cluster(pending)
        } else {
            let node = nodes
                .into_iter()
                .next()
                .expect("splitting gives at least one");
            let manager = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_min_delay(RECONNECT_PAUSES.0)
                .set_max_delay(RECONNECT_PAUSES.1)
                .set_number_of_retries(0)
                .set_pipeline_buffer_size(PIPELINE_LENGTH)
                .set_push_sender(push)
                .set_automatic_resubscription();
            let client = Client::open(node).map_err(failed)?;
            Link::Server(ConnectionManager::new_lazy_with_config(client, manager).map_err(failed)?)
        };
        Ok(Self {
            link,
            address: address(url).into(),
            prefix: config.prefix.as_str().into(),
            bell,
        })
    }

    /// Asks whether the server is there and lets this user in. One that cannot be reached is no
    /// error: it may come up after this host.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::Refused`].
    pub async fn greet(&self) -> Result<bool, RedisOpenError> {
        match redis::cmd("PING")
            .query_async::<Value>(&mut self.clone())
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_io_error() || error.is_timeout() => {
                tracing::warn!(address = %self.address, %error, "Redis cannot be reached yet; what needs it is answered with errors until it can");
                Ok(false)
            }
            Err(source) => Err(RedisOpenError::Refused {
                address: self.address.to_string(),
                source,
            }),
        }
    }

    /// A key of this application. `slot` is its hash tag: keys with the same one lie in one slot of
    /// a cluster, so that a script may use them together.
    pub fn key(&self, slot: &str, name: &str) -> String {
        format!("{}:{{{slot}}}:{name}", self.prefix)
    }

    /// What rings when something that somebody may wait for has changed.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The channel on which the bell's messages arrive.
    pub fn bell_channel(&self) -> String {
        format!("{}:bell", self.prefix)
    }

    /// Listens for the bell, now and after every loss of the connection.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn listen(&self) -> Result<(), RedisError> {
        let channel = self.bell_channel();
        match self.link.clone() {
            Link::Server(mut link) => link.subscribe(channel).await,
            Link::Cluster(mut link) => link.subscribe(channel).await,
        }
    }
}

impl fmt::Debug for Redis {
    /// Without addresses and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.link {
            Link::Server(link) => link.req_packed_command(cmd),
            Link::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.link {
            Link::Server(link) => link.req_packed_commands(cmd, offset, count),
            Link::Cluster(link) => link.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.link {
            Link::Server(link) => link.get_db(),
            Link::Cluster(link) => link.get_db(),
        }
    }
}

/// Wakes whoever waits for something on the server. A ring may be missed while the connection is
/// lost, so nobody waits for one without a limit.
#[derive(Debug, Default)]
pub struct Bell {
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Bell {
    /// What is notified when `name` is rung, and when rings may have been missed.
    pub fn of(&self, name: &str) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(name.to_owned()).or_default().clone()
    }

    /// Rings for `name`, in this process.
    pub fn ring(&self, name: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(name) {
            notify.notify_waiters();
        }
    }

    fn pushed(&self, push: &PushInfo) {
        match push.kind {
            PushKind::Message => {
                if let Some(Value::BulkString(name)) = push.data.get(1)
                    && let Ok(name) = std::str::from_utf8(name)
                {
                    self.ring(name);
                }
            }
            // The first listens again after a loss: what rang in between was not heard.
            PushKind::Subscribe | PushKind::Disconnection => self.ring_all(),
            _ => {}
        }
    }

    fn ring_all(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().for_each(|notify| notify.notify_waiters());
    }
}

/// One node as its URL and the configuration say.
fn node(
    url: &str,
    config: &RedisConfig,
    password: Option<&str>,
) -> Result<ConnectionInfo, RedisOpenError> {
    let info = url
        .into_connection_info()
        .map_err(|source| RedisOpenError::Url {
            url: address(url),
            source,
        })?;
    let mut settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    let info = info.set_redis_settings(settings);
    Ok(match info.addr() {
        ConnectionAddr::Unix(_) => info,
        _ => info.set_tcp_settings(tcp_settings()),
    })
}

fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED_MAX);
    settings
}

/// The URL without its user and password, for logs and errors.
fn address(url: &str) -> String {
    let without = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    };
    url.split(',').map(without).collect::<Vec<_>>().join(",")
}
