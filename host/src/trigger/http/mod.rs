//! The public HTTP listener: HTTP/1.1 and cleartext HTTP/2 on one port.
//!
//! ```text
//! accept -> connection -> request -> route -> dispatch -> response
//! ```
//!
//! It is bound early and served later: a request that arrives in between waits in the kernel.

mod one;
mod respond;
mod wire;

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::Either;
use http::Request;
use http::header::HeaderName;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::model::HttpListener;
use crate::dispatch::Dispatch;
use crate::manifest::model::RouteTarget;
use crate::name::RevisionId;
use crate::routing::Outcome;
use crate::runtime::{Cancelled, InvokeError, Trace, tell};
use one::One;
pub use one::stop_when_connected;
use respond::{Form, ResponseBody, failed, given, method_not_allowed, no_route};
use wire::{ConnectionTimer, Wire};

/// Pause after the operating system refused to accept, commonly for lack of file descriptors, so
/// that the loop does not spin while connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Concurrent streams of one HTTP/2 connection: hyper's own default, written down because the rapid
/// reset attack made it a limit that matters.
const HTTP2_STREAMS_MAX: u32 = 200;

/// Headers of one HTTP/2 request, in bytes: what HTTP/1 requests may have in hyper, too. Components'
/// own limits are below.
const HTTP2_HEADER_BYTES_MAX: u32 = 400 * 1024;

/// Headers of one HTTP/1 request, in number: far more than any client sends, so that it is the bytes
/// that a component's own limit counts which decide. More would make hyper's list of them larger
/// than the smallest of its buffers.
const HTTP1_HEADERS_MAX: usize = 500;

/// The same where one component has the listener to itself: hyper's own default, as under
/// `wasmtime serve`.
const HTTP1_HEADERS_MAX_OF_ONE: usize = 100;

/// What the listener needs for its work.
pub struct Server {
    dispatch: Arc<Dispatch>,
    config: HttpListener,
    /// One component has it all.
    one: Option<One>,
    /// The header that pins a request to a revision, where requests may.
    revision_header: Option<HeaderName>,
}

impl Server {
    /// Serves the routes that `dispatch` has.
    pub fn new(
        dispatch: Arc<Dispatch>,
        config: HttpListener,
        revision_header: Option<HeaderName>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dispatch,
            one: config.one_component.clone().map(One::new),
            config,
            revision_header,
        })
    }

    /// Serves `listener` until `stop`. Then it accepts nothing more, finishes what is in flight, and
    /// returns; whoever waits bounds that.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(self.config.connections_max));
        loop {
            let place = places.clone().acquire_owned();
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = async { (place.await, listener.accept().await) } => accepted,
            };
            let (place, accepted) = accepted;
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = self.clone().connection((stream, peer), stop.clone());
            connections.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "connection ended with an error");
                }
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn connection(
        self: Arc<Self>,
        (stream, peer): (TcpStream, SocketAddr),
        stop: CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Small responses leave at once; without it they wait for the peer's acknowledgement.
        stream.set_nodelay(true)?;
        let mut first_byte = [0];
        // Until the version of HTTP is known there is no other limit.
        tokio::select! {
            biased;
            // Readiness alone may be a false alarm.
            first = tokio::time::timeout(self.config.header_timeout, stream.peek(&mut first_byte)) => {
                first??;
            }
            () = stop.cancelled() => return Ok(()),
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let timer = ConnectionTimer::default();
        builder
            .http1()
            .timer(timer.clone())
            .header_read_timeout(self.config.header_timeout)
            .max_headers(match self.one {
                Some(_) => HTTP1_HEADERS_MAX_OF_ONE,
                None => HTTP1_HEADERS_MAX,
            })
            // With its flushing of pipelines, hyper would hold all of a response that nobody reads.
            .pipeline_flush(false);
        builder
            .http2()
            .timer(timer)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
            .keep_alive_interval(Some(Duration::from_secs(20)));
        let service = service_fn(move |request| {
            let answered = self.answer(request, peer);
            answered.map(Ok::<_, Infallible>)
        });
        let connection = builder.serve_connection(Wire::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut stopped = false;
        let mut cancelled = Cancelled::default();
        poll_fn(|cx| {
            if !stopped && cancelled.poll(&stop, cx).is_ready() {
                stopped = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// Routes at once, and answers when it is polled. hyper moves the future with every request, so it
    /// holds no request and no response.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = http::Response<ResponseBody>> + Send + use<> {
        match &self.one {
            Some(one) => Either::Left(one.answer(&self.dispatch, request)),
            None => Either::Right(self.route(request, peer)),
        }
    }

    fn route(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = http::Response<ResponseBody>> + Send + use<> {
        let by_itself = |response| Either::Left(ready(response).boxed());
        let form = Form::of(request.headers());
        let uri = request.uri();
        let host = uri.host().or_else(|| {
            let header = request.headers().get(http::header::HOST)?.to_str().ok()?;
            Some(without_port(header))
        });
        let route = match self
            .dispatch
            .router()
            .find(request.method().as_str(), host, uri.path())
        {
            Outcome::Found(found) => found.route,
            Outcome::NotFound => return by_itself(no_route(form, uri.path())),
            Outcome::MethodNotAllowed { allow } => {
                return by_itself(method_not_allowed(form, &allow));
            }
        };
        let component = match &route.target {
            RouteTarget::Component(component) => component,
            RouteTarget::Response(response) => return by_itself(given(response)),
        };
        if let Some(told) = &route.told {
            tell(&mut request, &route.path, told, Some(peer));
        }
        let pin = match self.pin(&request) {
            Ok(pin) => pin,
            Err(error) => return by_itself(failed(form, &error)),
        };
        let work = self
            .dispatch
            .request(pin, Trace::of_request(request.headers()));
        let answered = self.dispatch.http(component, request, work);
        Either::Right(answered.map(move |answered| match answered {
            Ok(response) => response.map(ResponseBody::Guest),
            Err(error) => failed(form, &error),
        }))
    }

    /// The revision that the request asks for, where it may and does.
    fn pin(&self, request: &Request<Incoming>) -> Result<Option<RevisionId>, InvokeError> {
        let header = self.revision_header.as_ref();
        let Some(value) = header.and_then(|header| request.headers().get(header)) else {
            return Ok(None);
        };
        let asked = value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match asked {
            Some(revision) if self.dispatch.registry().is_living(revision) => Ok(Some(revision)),
            Some(_) | None => Err(InvokeError::BadRequest {
                reason: format!("it asks for the revision {value:?}, and no such revision lives"),
            }),
        }
    }
}

/// The host of a `Host` header: `example.org:80`, `[::1]:80`.
fn without_port(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => header,
    }
}

/// Binds the listener.
///
/// # Errors
///
/// The address is taken or not this machine's; the message names it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}; choose another with --http (of serve: --addr), --admin or the host configuration"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn a_host_header_loses_its_port() {
        assert_eq!(without_port("example.org:8080"), "example.org");
        assert_eq!(without_port("example.org"), "example.org");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
