//! One connection to a server or a cluster: how it is made, and how a command goes over it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo as _, Pipeline, ProtocolVersion, PushInfo, RedisError, ServerErrorKind,
    Value,
};

use super::RedisOpenError;
use crate::config::model::RedisConfig;

/// Longest wait for a connection, its greeting included. A server on the network answers within
/// milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for an answer: a server that forks or loads stalls for hundreds of milliseconds; who
/// waits for longer is better told.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged before the connection counts as lost: a peer that
/// vanished without a word is found in this time.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Commands that queue for the connection before callers wait: above the instances that a host has.
const PIPELINE_LENGTH: usize = 1024;

/// How often a command is sent that a node of a cluster refused because another has its slot: with
/// the pauses between, some 0.6 s, in which the new owner of a slot is learned.
const REDIRECTIONS_MAX: u32 = 6;

/// The pause before the second time; it doubles.
const REDIRECTION_PAUSE: Duration = Duration::from_millis(20);

/// Takes what the server sends unasked.
pub(super) type Pushed = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Where and as whom to connect.
pub(super) enum Endpoint {
    Server {
        client: Client,
        settings: AsyncConnectionConfig,
    },
    Cluster(ClusterClient),
}

impl Endpoint {
    pub(super) fn new(
        url: &str,
        config: &RedisConfig,
        password: Option<&str>,
        pushed: Pushed,
    ) -> Result<Self, RedisOpenError> {
        let nodes = url.split(',').map(|url| node(url.trim(), config, password));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let push = move |push: PushInfo| {
            pushed(push);
            Ok::<(), redis::aio::SendError>(())
        };
        let failed = |source| RedisOpenError::Url {
            url: address(url),
            source,
        };
        if config.cluster {
            // The client would send a command again that a lost connection may have carried out, so
            // it sends none twice; `Link::command` does where the server says that it did not.
            let client = ClusterClientBuilder::new(nodes)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT)
                .retries(0)
                .use_protocol(ProtocolVersion::RESP3)
                .tcp_settings(tcp_settings())
                .push_sender(push)
                .build()
                .map_err(failed)?;
            return Ok(Self::Cluster(client));
        }
        let node = nodes
            .into_iter()
            .next()
            .expect("splitting gives at least one");
        Ok(Self::Server {
            client: Client::open(node).map_err(failed)?,
            settings: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_pipeline_buffer_size(PIPELINE_LENGTH)
                .set_push_sender(push),
        })
    }

    pub(super) async fn connect(&self) -> Result<Link, RedisError> {
        match self {
            Self::Server { client, settings } => client
                .get_multiplexed_async_connection_with_config(settings)
                .await
                .map(Link::Server),
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }
}

/// One connection. Cheap to clone; clones share it, and it closes with the last of them.
#[derive(Clone)]
pub(super) enum Link {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Sends a command once, or, in a cluster, to one node after the other until one has its slot.
    pub(super) async fn command(mut self, command: &Cmd) -> Result<Value, RedisError> {
        let mut pause = REDIRECTION_PAUSE;
        for _ in 1..REDIRECTIONS_MAX {
            match self.command_once(command).await {
                Err(error) if self.was_elsewhere(&error) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.command_once(command).await
    }

    /// Sends a pipeline as [`command`](Self::command) does. One that is no transaction may have been
    /// carried out in part, so it is sent once.
    pub(super) async fn pipeline(
        mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> Result<Vec<Value>, RedisError> {
        let mut pause = REDIRECTION_PAUSE;
        for _ in 1..REDIRECTIONS_MAX {
            match self.pipeline_once(pipeline, offset, count).await {
                Err(error) if pipeline.is_transaction() && self.was_elsewhere(&error) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.pipeline_once(pipeline, offset, count).await
    }

    /// Whether anybody answers: of a cluster, one node.
    pub(super) async fn ping(mut self) -> Result<(), RedisError> {
        let ping = redis::cmd("PING");
        match &mut self {
            Self::Server(link) => ping.query_async::<Value>(link).await.map(drop),
            Self::Cluster(link) => {
                let nodes = MultipleNodeRoutingInfo::AllMasters;
                let any = (nodes, Some(ResponsePolicy::OneSucceeded));
                link.route_command(ping, RoutingInfo::MultiNode(any))
                    .await
                    .map(drop)
            }
        }
    }

    pub(super) async fn subscribe(mut self, channel: &str) -> Result<(), RedisError> {
        match &mut self {
            Self::Server(link) => link.subscribe(channel).await,
            Self::Cluster(link) => link.subscribe(channel).await,
        }
    }

    async fn command_once(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Server(link) => link.req_packed_command(command).await,
            Self::Cluster(link) => link.req_packed_command(command).await,
        }
    }

    async fn pipeline_once(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Server(link) => link.req_packed_commands(pipeline, offset, count).await,
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count).await,
        }
    }

    /// Whether a node refused because another has the slot, or soon will: nothing was carried out.
    fn was_elsewhere(&self, error: &RedisError) -> bool {
        matches!(self, Self::Cluster(_))
            && matches!(
                error.kind(),
                ErrorKind::Server(
                    ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                        | ServerErrorKind::TryAgain
                        | ServerErrorKind::ClusterDown
                )
            )
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
pub(super) fn address(url: &str) -> String {
    let without = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    };
    url.split(',').map(without).collect::<Vec<_>>().join(",")
}
