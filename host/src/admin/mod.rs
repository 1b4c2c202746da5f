//! The operators' listener: health, readiness and metrics for whoever reaches it, and the admin API
//! for whoever has the token.
//!
//! ```text
//! connection -> /healthz /readyz /metrics
//!           `-> /v1/...  own host name? -> token? -> call -> body -> Rollouts | streams -> JSON | events
//! ```
//!
//! It knows no more of rollouts than their methods, and of streams what [`streams`] does with them. The calls are described in
//! `/v1/openapi.json`.

mod access;
pub mod address;
mod answer;
mod api;
mod body;
mod events;
mod openapi;
mod operations;
mod query;
mod refusal;
mod stall;
pub mod streams;
pub mod token;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::rollout::Rollouts;
use crate::telemetry::Metrics;
use access::Access;
use answer::{Body, plain};
use api::Api;
pub use refusal::Failure;
use stall::Impatient;
use streams::StreamsOperator;
use token::Token;

/// Longest wait for a request's headers: operators' tools send them at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a client to take what it asked for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections open at once: probes, scrapers and a few operators, each following some rollouts.
/// More wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 256;

/// Pause after the operating system refused to accept, commonly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long answers that have begun may take to finish once the listener stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The media type of the OpenMetrics text format, which Prometheus reads.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Brings up to date what is asked for rather than counted, before the metrics are read.
pub type Observe = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Why the host cannot do its work although it runs: a store that takes no more writes.
pub type Fault = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What the listener answers from.
pub struct Sources {
    /// The host's metrics.
    pub metrics: Arc<Metrics>,
    /// Asked for readiness.
    pub fault: Fault,
    /// Asked before the metrics are read.
    pub observe: Observe,
    /// What the admin API commands.
    pub rollouts: Arc<Rollouts>,
    /// What the admin API looks into.
    pub streams: Arc<StreamsOperator>,
    /// What the admin API asks its callers for.
    pub token: Token,
    /// Where the listener is bound.
    pub address: SocketAddr,
}

/// The operators' listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    fault: Fault,
    observe: Observe,
    ready: AtomicBool,
    api: Api,
}

impl Admin {
    /// Answers from these.
    pub fn new(sources: Sources) -> Arc<Self> {
        let Sources {
            metrics,
            fault,
            observe,
            rollouts,
            streams,
            token,
            address,
        } = sources;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the operators' address can be reached from other machines: metrics are open to them, and the token crosses the network in the clear");
        }
        Arc::new(Self {
            metrics,
            fault,
            observe,
            ready: AtomicBool::new(false),
            api: Api::new(Access { token, address }, rollouts, streams),
        })
    }

    /// Says whether requests are served: true once they are, false when shutdown begins.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Serves `listener` until `stop`. Then it accepts nothing more, ends event streams, and waits a
    /// moment for answers that have begun.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&listener, &slots) => accepted,
            };
            let Ok((stream, slot)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            connections.spawn(self.clone().connection(stream, slot, stop.clone()));
        }
        connections.close();
        connections.wait().await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        _slot: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        let calls = stop.clone();
        let service = service_fn(move |request| {
            let admin = self.clone();
            let stop = calls.clone();
            async move { Ok::<_, Infallible>(admin.answer(request, &stop).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(Impatient::new(stream, WRITE_TIMEOUT)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(STOP_GRACE, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "admin connection ended with an error");
        }
    }

    async fn answer(&self, request: Request<Incoming>, stop: &CancellationToken) -> Response<Body> {
        let path = request.uri().path();
        if path == "/v1" || path.starts_with("/v1/") {
            return self.api.answer(request, stop).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered\n",
            );
        }
        match path {
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => {
                (self.observe)().await;
                answer::whole(StatusCode::OK, METRICS_TYPE, self.metrics.text())
            }
            _ => plain(
                StatusCode::NOT_FOUND,
                "try /healthz, /readyz, /metrics or /v1/openapi.json\n",
            ),
        }
    }

    fn readiness(&self) -> Response<Body> {
        if !self.ready.load(Ordering::Relaxed) {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
        }
        match (self.fault)() {
            None => plain(StatusCode::OK, "ready\n"),
            Some(fault) => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {fault}\n"),
            ),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.expect("it is never closed");
    let (stream, _) = listener.accept().await?;
    // An event leaves at once; without it, it waits for the peer to acknowledge the one before.
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}
