//! Outbound HTTP: denied unless the manifest grants it; `http://<component>.internal/` stays in
//! process.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::error::InvokeError;
use super::state::Context;
use super::told::tell_chained;
use super::trace::{self, Trace};
use super::work::Work;
use crate::manifest::internal_component;
use crate::manifest::model::Grants;
use crate::name::ComponentName;

/// Pieces of a body that a 0.2 guest may have written and nobody taken yet. With one it would wait for
/// the last piece to be taken before it could end, and most responses are one piece.
const BODY_PIECES: usize = 2;

/// Largest of these pieces, in bytes: what they may hold together is wasmtime's default of 1 MiB.
const BODY_PIECE_BYTES: usize = 512 * 1024;

/// The host by which guests ask the application itself whose libraries ask for one, as in Spin.
const ITSELF_ALIAS: &str = "self.alt";

/// The host that the application sees itself asked for.
const ITSELF_HOST: &str = "localhost";

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Io), Error>;

/// The outbound side of one instance.
pub struct Outbound {
    context: Arc<Context>,
    work: Work,
}

impl Outbound {
    /// The outbound side of an instance of `context` that works for `work`.
    pub fn new(context: Arc<Context>, work: Work) -> Self {
        Self { context, work }
    }

    /// Sends a request to a component, or to the one whose route it takes.
    fn in_process(
        &self,
        component: Option<ComponentName>,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> impl Future<Output = Sent> + Send + use<> {
        send_in_process(
            self.context.clone(),
            self.work.next(),
            component,
            request,
            options.unwrap_or_default(),
        )
    }

    /// Turns to another piece of work.
    pub fn turn_to(&mut self, work: Work) {
        self.work = work;
    }
}

/// Where an outbound request may go.
#[derive(Debug, PartialEq, Eq)]
enum Destination {
    Network,
    Component(ComponentName),
    /// Whoever answers the application's own route for it.
    Itself,
    Denied {
        grant: String,
    },
}

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        let ambient = self.context.ambient.as_ref();
        ambient
            .and_then(|a| a.bounds.body_pieces)
            .unwrap_or(BODY_PIECES)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        let ambient = self.context.ambient.as_ref();
        ambient
            .and_then(|a| a.bounds.body_piece_bytes)
            .unwrap_or(BODY_PIECE_BYTES)
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let destination = match &self.context.ambient {
            Some(_) => Destination::Network,
            None => destination(request.uri(), &self.context.grants),
        };
        match destination {
            Destination::Network => {
                // What the guest says itself of its trace is its own affair.
                if let (Some(trace), false) = (&self.work.trace, trace::is_set(request.headers())) {
                    trace.next().write(request.headers_mut());
                }
                Box::new(async move {
                    let (response, io) =
                        wasmtime_wasi_http::default_send_request(request, options).await?;
                    Ok((response.map(BodyExt::boxed_unsync), Box::new(io) as Io))
                })
            }
            Destination::Component(component) => {
                if self.context.route_headers {
                    tell_chained(&mut request);
                }
                let to = Some(component);
                Box::new(self.in_process(to, request, options))
            }
            Destination::Itself => {
                origin_form(&mut request);
                Box::new(self.in_process(None, request, options))
            }
            Destination::Denied { grant } => {
                tracing::warn!(
                    component = %self.context.component,
                    revision = %self.context.revision,
                    request_id = self.work.id,
                    trace_id = self.work.trace_id(),
                    "outbound request denied: to allow it, add {grant:?} to {}",
                    self.context.where_granted("outbound_http", "allowed_outbound_hosts"),
                );
                Box::new(async { Err(Error::HttpRequestDenied) })
            }
        }
    }
}

/// A request to the application itself, as a client would send it.
fn origin_form(request: &mut Request<WasiBody>) {
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.unwrap_or(PathAndQuery::from_static("/")).into();
    let host = HeaderValue::from_static(ITSELF_HOST);
    request.headers_mut().insert(HOST, host);
}

/// Sends a request to a component, or to the one whose route it takes.
async fn send_in_process(
    context: Arc<Context>,
    mut work: Work,
    component: Option<ComponentName>,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let peers = context
        .backends
        .peers
        .get()
        .and_then(std::sync::Weak::upgrade);
    let peers = peers.ok_or(Error::DestinationUnavailable)?;
    // The guest may have said itself which trace the request belongs to.
    if let Some(trace) = Trace::continued(request.headers()) {
        work.trace = Some(trace);
    }
    let (request_id, trace_id) = (work.id, work.trace_id());
    // There is nothing to connect to, so a time for connecting is always kept.
    let asked = match &component {
        Some(component) => peers.http(component, request, work),
        None => peers.itself(request, work),
    };
    let answered = match options.first_byte_timeout {
        Some(limit) => tokio::time::timeout(limit, asked)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?,
        None => asked.await,
    };
    let response = answered.map_err(|error| {
        tracing::warn!(
            component = %context.component,
            callee = component.as_ref().map(tracing::field::display),
            request_id,
            trace_id,
            error = %error,
            "request between components failed"
        );
        to_error_code(&error)
    })?;
    let response = match options.between_bytes_timeout {
        Some(limit) => response.map(|body| Paced::new(body, limit).boxed_unsync()),
        None => response,
    };
    Ok((response, Box::new(async { Ok(()) }) as Io))
}

/// A response's body whose pieces have to come within a time of each other.
struct Paced {
    body: WasiBody,
    limit: Duration,
    /// Runs while a piece is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(body: WasiBody, limit: Duration) -> Self {
        Self {
            body,
            limit,
            timer: None,
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame);
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn to_error_code(error: &InvokeError) -> Error {
    match error {
        InvokeError::Deadline { .. } => Error::ConnectionReadTimeout,
        InvokeError::Overloaded { .. } | InvokeError::PoolExhausted { .. } => {
            Error::ConnectionLimitReached
        }
        InvokeError::NotRunning { .. }
        | InvokeError::Retired { .. }
        | InvokeError::NotExported { .. } => Error::DestinationUnavailable,
        InvokeError::TooDeep { .. } => Error::LoopDetected,
        InvokeError::BodyTooLarge { bytes_max, .. } => Error::HttpRequestBodySize(Some(*bytes_max)),
        InvokeError::HeadersTooLarge { .. } => Error::HttpRequestHeaderSectionSize(None),
        InvokeError::BadRequest { .. } => Error::HttpRequestUriInvalid,
        InvokeError::GuestError { .. }
        | InvokeError::NoResponse { .. }
        | InvokeError::Trap { .. }
        | InvokeError::Instantiate { .. }
        | InvokeError::Panic { .. }
        | InvokeError::Host { .. } => Error::HttpResponseIncomplete,
    }
}

fn destination(uri: &Uri, grants: &Grants) -> Destination {
    let scheme = uri.scheme_str().unwrap_or("https");
    let standard = if scheme == "http" { 80 } else { 443 };
    let host = uri.host().unwrap_or_default();
    if host.is_empty() || host == ITSELF_ALIAS {
        if grants.allows_itself("http") || grants.allows_itself("https") {
            return Destination::Itself;
        }
        return Destination::Denied {
            grant: "http://self".to_owned(),
        };
    }
    let allowed = grants.allows(scheme, host, uri.port_u16().unwrap_or(standard));
    match internal_component(host) {
        // There is no TLS between components: whoever asks for it means another host of that name.
        Some(component) if allowed && scheme == "http" => Destination::Component(component),
        None if allowed => Destination::Network,
        Some(_) | None => {
            let port = uri.port_u16().map(|port| format!(":{port}"));
            let (host, port) = (host.to_ascii_lowercase(), port.unwrap_or_default());
            Destination::Denied {
                grant: format!("{scheme}://{host}{port}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::model::{HostPattern, OutboundHost, Ports, Scheme};

    fn grant(scheme: Scheme, host: HostPattern, port: u16) -> OutboundHost {
        let port = Ports::One(port);
        OutboundHost { scheme, host, port }
    }

    #[test]
    fn only_what_is_granted_is_reached() {
        let auth: ComponentName = "auth".parse().expect("a name");
        let granted = vec![
            grant(
                Scheme::Https,
                HostPattern::Exact("api.example.com".into()),
                443,
            ),
            grant(
                Scheme::Https,
                HostPattern::Below("example.org".into()),
                8443,
            ),
            grant(Scheme::Http, HostPattern::Component(auth.clone()), 80),
        ];
        let granted = Grants {
            outbound: granted,
            ..Grants::default()
        };
        let find = |uri: &str| destination(&uri.parse().expect("a URI"), &granted);
        let denied = |uri: &str| matches!(find(uri), Destination::Denied { .. });
        assert_eq!(find("https://api.example.com/x"), Destination::Network);
        assert_eq!(find("https://API.example.com/x"), Destination::Network);
        assert_eq!(find("https://a.b.example.org:8443/"), Destination::Network);
        assert_eq!(
            find("http://auth.internal/login"),
            Destination::Component(auth)
        );
        assert!(denied("http://api.example.com/"));
        assert!(denied("https://api.example.com:444/"));
        assert!(denied("https://example.org:8443/"));
        assert!(denied("https://evilexample.org:8443/"));
        assert!(denied("http://gateway.internal/"));
        assert!(denied("http://auth.internal:81/"));
        assert_eq!(
            find("http://evil.example:99/x"),
            Destination::Denied {
                grant: "http://evil.example:99".into()
            }
        );
    }
}
