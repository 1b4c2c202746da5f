//! Composition: build everything, serve, and shut down in order.
//!
//! ```text
//! build:    listeners bound -> backends -> components compiled, linked -> revisions current
//! serve:    subscriptions, requests
//! shutdown: not ready -> accept nothing, claim nothing -> finish within the grace -> give back
//! ```

pub mod backends;
mod bindings;
mod observation;
mod workers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::streams::StreamsOperator;
use crate::admin::token::{Token, TokenError};
use crate::admin::{self, Admin};
use crate::capability::blobs::BlobError;
use crate::capability::embedded::{Embedded, EmbeddedError};
use crate::capability::keyvalue::KeyValueError;
use crate::capability::mounts::Mounts;
use crate::capability::redis::RedisOpenError;
use crate::capability::secrets::{SecretError, Secrets};
use crate::capability::streams::StreamError;
use crate::config::model::HostConfig;
use crate::dispatch::Dispatch;
use crate::manifest::model::Application;
use crate::revision::Registry;
use crate::rollout::store::{ArtifactStore, RolloutLog, StoreError};
use crate::rollout::{self, Maker, Parts, Rollouts, StartProblem};
use crate::runtime::{CompileError, PoolLimits, Runtime};
use crate::telemetry::Metrics;
use crate::trigger::http::{BindError, Server, bind, stop_when_connected};
use crate::trigger::stream::Stop;
use backends::Shared;
use bindings::Bindings;
use workers::Workers;

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The state directory cannot be used.
    #[error("the state directory cannot be used")]
    State(#[source] std::io::Error),
    /// The state directory holds another application's state.
    #[error("the state directory {} belongs to the application {owner:?}: name another with --state-dir", state_dir.display())]
    OtherApplication {
        /// The directory.
        state_dir: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The keys in Redis are another application's.
    #[error(
        "what begins with {prefix:?} in Redis belongs to the application {owner:?}: give this one another prefix in [redis]"
    )]
    OtherApplicationOnRedis {
        /// What the keys begin with.
        prefix: String,
        /// Whose they are.
        owner: String,
    },
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The blob store cannot be opened.
    #[error("the blob store cannot be opened")]
    Blobs(#[source] BlobError),
    /// The variable that says where Redis is does not.
    #[error(
        "the environment variable {0} is not set: it says where Redis is, as redis://HOST:PORT, or rediss://HOST:PORT for TLS (url_env of [redis] in the host configuration)"
    )]
    RedisUrl(String),
    /// The password for Redis is not to be had.
    #[error("the password for Redis is not to be had")]
    RedisPassword(#[source] SecretError),
    /// A key-value store cannot be given what it is to hold at first.
    #[error("a key-value store cannot be filled")]
    Fill(#[source] KeyValueError),
    /// Redis cannot be used, whether it is there or not.
    #[error(transparent)]
    Redis(#[from] RedisOpenError),
    /// The file that keeps this host's name has something else in it.
    #[error("{} does not hold a host's name: remove it, or give `name` in the host configuration", _0.display())]
    HostName(PathBuf),
    /// The compile cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CompileError),
    /// A stream cannot be set up.
    #[error("a subscription cannot be set up")]
    Stream(#[source] StreamError),
    /// Components that cannot be loaded, all of them, or the rollout log.
    #[error(transparent)]
    Components(#[from] StartProblem),
    /// The rollout log or the artifacts cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Operators could not command it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A thread pool cannot be started.
    #[error("the threads for background work cannot be started")]
    Threads(#[source] std::io::Error),
}

/// Refuses a state directory that belongs to another application: components of the same name would
/// find each other's data.
fn check_owner(state_dir: &Path, application: &str) -> Result<(), StartError> {
    let path = state_dir.join("application");
    match std::fs::read_to_string(&path) {
        Ok(owner) if owner.trim_end() == application => Ok(()),
        Ok(owner) => Err(StartError::OtherApplication {
            state_dir: state_dir.to_owned(),
            owner: owner.trim_end().to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&path, format!("{application}\n")).map_err(StartError::State)
        }
        Err(error) => Err(StartError::State(error)),
    }
}

/// A host that is ready to serve.
pub struct Host {
    http: TcpListener,
    /// Where a connection stops the host.
    shutdown_listener: Option<TcpListener>,
    admin_listener: TcpListener,
    server: Arc<Server>,
    admin: Arc<Admin>,
    bindings: Arc<Bindings>,
    rollouts: Arc<Rollouts>,
    registry: Arc<Registry>,
    config: HostConfig,
    workers: Workers,
}

/// The addresses that a host listens on.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Addresses {
    /// The public listener.
    pub http: SocketAddr,
    /// The operators' listener.
    pub admin: SocketAddr,
    /// Where a connection stops the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<SocketAddr>,
}

impl Host {
    /// Binds, opens and loads everything. Compiling takes about a second for each megabyte of
    /// artifact the first time, and nothing later.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; everything that is wrong with the components is reported at once.
    pub async fn build(application: &Application, config: HostConfig) -> Result<Self, StartError> {
        let http = bind(config.http.listen).await?;
        let admin_listener = bind(config.admin_listen).await?;
        let one = config.http.one_component.as_ref();
        let shutdown_listener = match one.and_then(|one| one.shutdown_listen) {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let metrics = Arc::new(Metrics::default());
        let workers = Workers::start(config.engine.worker_threads).map_err(StartError::Threads)?;
        let store = Embedded::open(&config.state_dir)?;
        check_owner(&config.state_dir, &application.name)?;
        let secrets =
            Secrets::open(&config.state_dir.join("secrets")).map_err(StartError::State)?;
        secrets.provide(application.provided_secrets.clone());
        let shared = Shared::connect(&config, &secrets, &application.name).await?;
        let (backends, streams) = backends::open(&config, store.clone(), shared.as_ref()).await?;
        let backends = Arc::new(backends);
        backends::fill(&backends, application).await?;
        let secrets = match &shared {
            Some(shared) => {
                let secrets = secrets.sharing_rings(shared.values.clone());
                shared.wait_for_keys(application, &secrets).await;
                secrets
            }
            None => secrets,
        };
        let registry = Arc::new(Registry::default());
        let dispatch = Arc::new(Dispatch::new(registry.clone(), metrics.clone()));
        let peers: std::sync::Weak<dyn crate::runtime::Peers> =
            Arc::downgrade(&(dispatch.clone() as Arc<dyn crate::runtime::Peers>));
        let _ = backends.peers.set(peers);
        let server = Server::new(
            dispatch.clone(),
            config.http.clone(),
            config.rollout.revision_header.clone(),
        );
        let bindings = Bindings::new(
            streams.clone(),
            dispatch,
            metrics.clone(),
            usize::try_from(config.engine.instances_max).unwrap_or(usize::MAX),
        );
        let parts = Parts {
            registry: registry.clone(),
            maker: Maker {
                runtime: Arc::new(runtime(&config, &workers)?),
                backends,
                metrics: metrics.clone(),
                secrets,
                mounts: Mounts::open(&config.state_dir).map_err(StartError::State)?,
            },
            log: RolloutLog::open(store.clone()).await?,
            artifacts: ArtifactStore::open(&config.state_dir)?,
            config: config.rollout.clone(),
            bind: bind_to(&bindings),
        };
        let rollouts = rollout::start(application.clone(), parts).await?;
        bindings
            .bind(application)
            .await
            .map_err(StartError::Stream)?;
        let address = admin_listener.local_addr().map_err(StartError::State)?;
        let observe = observe(&bindings, shared, &metrics);
        let subscribed = bindings.clone();
        let admin = Admin::new(admin::Sources {
            metrics,
            fault: Box::new(move || store.failure().map(ToString::to_string)),
            observe,
            rollouts: rollouts.clone(),
            streams: StreamsOperator::new(streams, Box::new(move || subscribed.subscribed())),
            token: Token::open(&config.state_dir)?,
            address,
        });
        admin::address::write(&config.state_dir, address).map_err(StartError::State)?;
        Ok(Self {
            http,
            shutdown_listener,
            admin_listener,
            server,
            admin,
            bindings,
            rollouts,
            registry,
            config,
            workers,
        })
    }

    /// The addresses that were bound.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            http: self.http.local_addr()?,
            admin: self.admin_listener.local_addr()?,
            shutdown: self
                .shutdown_listener
                .as_ref()
                .map(TcpListener::local_addr)
                .transpose()?,
        })
    }

    /// Its rollouts.
    pub fn rollouts(&self) -> Arc<Rollouts> {
        self.rollouts.clone()
    }

    /// Serves until `stop`, and calls `serving` once it does; then it finishes what is in flight within
    /// the configured grace. What is not finished by then is cancelled: connections are closed,
    /// deliveries go back to their streams.
    pub async fn serve(self, stop: CancellationToken, serving: impl FnOnce()) {
        let admin_stop = CancellationToken::new();
        let streams_stop = Stop {
            claiming: stop.child_token(),
            working: CancellationToken::new(),
        };
        let admin = tokio::spawn(
            self.admin
                .clone()
                .serve(self.admin_listener, admin_stop.clone()),
        );
        self.bindings.start(streams_stop.clone());
        if let Some(listener) = self.shutdown_listener {
            tokio::spawn(stop_when_connected(listener, stop.clone()));
        }
        let server = tokio::spawn(self.server.serve(self.http, stop.child_token()));
        self.admin.set_ready(true);
        serving();
        stop.cancelled().await;
        self.admin.set_ready(false);
        tracing::info!("shutdown begins");
        let finished = async {
            // The listener's task ends once its last connection has.
            let _ = server.await;
            self.bindings.finished().await;
            self.rollouts.shut_down().await;
        };
        if tokio::time::timeout(self.config.shutdown_grace, finished)
            .await
            .is_err()
        {
            tracing::warn!("work was still in flight when the shutdown's grace ended");
        }
        streams_stop.working.cancel();
        self.bindings.finished().await;
        for component in self.registry.components() {
            self.registry.switch(&component, None);
        }
        admin_stop.cancel();
        let _ = admin.await;
        drop(self.workers);
        tracing::info!("shutdown ends");
    }
}

fn runtime(config: &HostConfig, workers: &Workers) -> Result<Runtime, StartError> {
    let limits = PoolLimits {
        instances_max: config.engine.instances_max,
        memory_bytes_max: config.engine.memory_bytes_max,
    };
    Ok(Runtime::new(limits, &config.code_dir, workers.handle())?)
}

/// How rollouts bind what they have brought up.
fn bind_to(bindings: &Arc<Bindings>) -> rollout::Bind {
    let bindings = bindings.clone();
    Box::new(move |application| {
        let bindings = bindings.clone();
        Box::pin(async move {
            let bound = bindings.bind(&application).await;
            bound.map_err(|error| format!("routes and subscriptions did not follow: {error}"))
        })
    })
}

/// How figures are brought up to date that are asked for, not counted.
fn observe(bindings: &Arc<Bindings>, shared: Option<Shared>, metrics: &Metrics) -> admin::Observe {
    let bindings = bindings.clone();
    let shared = shared.map(|shared| (shared, metrics.redis_up()));
    Box::new(move || {
        if let Some((shared, up)) = &shared {
            up.set(i64::from(shared.is_up()));
        }
        let bindings = bindings.clone();
        Box::pin(async move { bindings.observe().await })
    })
}
