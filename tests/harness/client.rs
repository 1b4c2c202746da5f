//! An HTTP client that shows everything: status, headers, body, trailers, and where a body broke.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// Longer than any limit that a test sets; a hang is a failure, not a wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A request's body.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// Connects to one address, whatever host a request names.
#[derive(Clone)]
struct Straight {
    connector: HttpConnector,
    to: http::Uri,
}

impl Straight {
    fn to(address: SocketAddr) -> Self {
        let to = format!("http://{address}/").parse().unwrap();
        let mut connector = HttpConnector::new();
        // A body that is sent piece by piece leaves piece by piece.
        connector.set_nodelay(true);
        Self { connector, to }
    }
}

impl tower_service::Service<http::Uri> for Straight {
    type Response = <HttpConnector as tower_service::Service<http::Uri>>::Response;
    type Error = <HttpConnector as tower_service::Service<http::Uri>>::Error;
    type Future = <HttpConnector as tower_service::Service<http::Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, _named: http::Uri) -> Self::Future {
        self.connector.call(self.to.clone())
    }
}

/// A client of one address.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Straight, Body>,
    address: SocketAddr,
}

impl Client {
    pub fn http1(address: SocketAddr) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new()).build(Straight::to(address));
        Self { inner, address }
    }

    /// HTTP/2 without TLS, by prior knowledge.
    pub fn http2(address: SocketAddr) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build(Straight::to(address));
        Self { inner, address }
    }

    /// A request for `path`, to be completed.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method(method).uri(uri)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path).body(empty()).unwrap())
            .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path).body(empty()).unwrap())
            .await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(self.request("POST", path).body(full(body)).unwrap())
            .await
    }

    /// Sends it and reads the whole answer.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        match timeout(ANSWER_WITHIN, self.try_send(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => panic!("{what}: {error}"),
            Err(_) => panic!("{what}: no answer within {ANSWER_WITHIN:?}"),
        }
    }

    /// Sends it and reads the whole answer; the error is that no response began.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Reply, String> {
        let response = self.dispatch(request).await.map_err(chain)?;
        Ok(Reply::read(response).await)
    }

    /// Sends it; a `Host` header becomes the request's authority, which in HTTP/2 is the one place for
    /// it (RFC 9113, section 8.3.1). The connection goes to this client's address all the same.
    async fn dispatch(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        if let Some(host) = request.headers_mut().remove(http::header::HOST) {
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str());
            let uri = format!("http://{}{path}", host.to_str().unwrap());
            *request.uri_mut() = uri.parse().unwrap();
        }
        self.inner.request(request).await
    }

    /// Sends it and waits for the response's head alone.
    pub async fn open(&self, request: Request<Body>) -> Response<Incoming> {
        let what = format!("{} {}", request.method(), request.uri());
        match timeout(ANSWER_WITHIN, self.dispatch(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => panic!("{what}: {}", chain(error)),
            Err(_) => panic!("{what}: no answer within {ANSWER_WITHIN:?}"),
        }
    }
}

fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

pub fn empty() -> Body {
    full(Bytes::new())
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// What a test sends piece by piece. Dropping it ends the body; an error breaks it off.
pub type BodySender = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

/// A body that the test writes while the request is under way.
pub fn channel() -> (BodySender, Body) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, BodyExt::boxed(StreamBody::new(receiver)))
}

pub fn send_data(sender: &BodySender, bytes: impl Into<Bytes>) {
    sender
        .unbounded_send(Ok(Frame::data(bytes.into())))
        .expect("the request is under way");
}

/// A body of `chunks` pieces, made as they are taken.
pub fn generated(chunks: usize, chunk: Bytes) -> Body {
    let frames = futures::stream::iter(std::iter::repeat_n(chunk, chunks))
        .map(|chunk| Ok(Frame::data(chunk)));
    BodyExt::boxed(StreamBody::new(frames))
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    /// Why the body ended before its end, if it did.
    pub broken: Option<String>,
}

impl Reply {
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let mut reply = Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Bytes::new(),
            trailers: None,
            broken: None,
        };
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(other)) => reply.trailers = other.into_trailers().ok(),
                Err(error) => {
                    reply.broken = Some(chain(error));
                    break;
                }
            }
        }
        reply.body = body.into();
        reply
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asserts the status, with the body in the report; gives the reply on.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// The next piece of a response's body, which must come.
pub async fn next_data(incoming: &mut Incoming) -> Bytes {
    try_next_data(incoming).await.expect("the body goes on")
}

/// The next piece of a response's body; `None` at its end, an error where it broke.
pub async fn try_next_data(incoming: &mut Incoming) -> Option<Bytes> {
    loop {
        let frame = timeout(ANSWER_WITHIN, incoming.frame())
            .await
            .expect("the next frame comes in time")?;
        // HTTP/2 may end a stream with a frame that has no bytes (RFC 9113, section 6.1).
        if let Ok(data) = frame.ok()?.into_data()
            && !data.is_empty()
        {
            return Some(data);
        }
    }
}
