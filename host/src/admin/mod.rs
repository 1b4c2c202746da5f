//! The operators' listener: health, readiness and metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Longest wait for a request's headers: operators' tools send them at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of the OpenMetrics text format, which Prometheus reads.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Brings up to date what is asked for rather than counted, before the metrics are read.
pub type Observe = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Why the host cannot do its work although it runs: a store that takes no more writes.
pub type Fault = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What the listener answers from.
pub struct Admin {
    metrics: Arc<Metrics>,
    fault: Fault,
    observe: Observe,
    ready: AtomicBool,
}

impl Admin {
    /// Answers from these.
    pub fn new(metrics: Arc<Metrics>, fault: Fault, observe: Observe) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            fault,
            observe,
            ready: AtomicBool::new(false),
        })
    }

    /// Says whether requests are served: true once they are, false when shutdown begins.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Serves `listener` until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = self.clone();
            let stop = stop.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.answer(&request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(%error, "admin connection ended with an error");
                    }
                }
            });
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
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

    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered\n",
            );
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => {
                (self.observe)().await;
                let mut response = Response::new(Full::from(self.metrics.text()));
                response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
                response
            }
            _ => plain(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n"),
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
