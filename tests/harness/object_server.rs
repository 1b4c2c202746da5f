//! An S3 server of its own for each test, in this process, on a port that it finds free: s3s speaks the
//! protocol (signatures, multipart uploads, ranges), s3s-fs keeps objects as files. It is used by the
//! host's own tests, too, so it knows nothing of either.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::runtime::Runtime;

/// The one bucket that there is.
pub const BUCKET: &str = "blobs";

/// Who may use it, and that one's key.
pub const ACCESS_KEY: &str = "tester";
pub const SECRET_KEY: &str = "secret-of-the-tester";

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Failure>> + Send>>>;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bodies of this many answers break off after so many bytes.
    CutBodies { answers: usize, after: usize },
    /// No request is answered.
    Silence,
    /// No part of an upload is taken.
    RefuseParts,
    /// No request is taken.
    Unavailable,
}

/// A running S3 server, with all that it keeps in a directory of its own.
pub struct ObjectServer {
    address: SocketAddr,
    dir: tempfile::TempDir,
    state: Arc<State>,
    /// `None` while it is stopped.
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct State {
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl ObjectServer {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join(BUCKET)).expect("the directory is new");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut server = Self {
            address,
            dir,
            state: Arc::default(),
            runtime: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let files = s3s_fs::FileSystem::new(self.dir.path()).expect("the directory is there");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let (service, state) = (service.build(), self.state.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread can be started");
        listener.set_nonblocking(true).expect("it is a socket");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let (service, state) = (service.clone(), state.clone());
                let answer = service_fn(move |request| {
                    let (service, state) = (service.clone(), state.clone());
                    async move { Ok::<_, Infallible>(answer(request, service, &state).await) }
                });
                tokio::spawn(async move {
                    let connections = Builder::new(TokioExecutor::new());
                    let served = connections.serve_connection(TokioIo::new(stream), answer);
                    // A client that goes away is its own affair.
                    let _ = served.await;
                });
            }
        });
        self.runtime = Some(runtime);
    }

    /// The environment variables that a client needs.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Lets go wrong what `fault` says, or nothing more.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.state.fault.lock().expect("nobody panics with it") = fault;
    }

    /// The requests since the last call: method, path and query without values.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().expect("nobody panics with it"))
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.dir.path().join(BUCKET);
        let mut keys = Vec::new();
        let mut dirs = vec![bucket.clone()];
        while let Some(dir) = dirs.pop() {
            for path in entries(&dir) {
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let key = path.strip_prefix(&bucket).expect("it was found there");
                    keys.push(key.display().to_string());
                }
            }
        }
        keys.sort_unstable();
        keys
    }

    /// What uploads that were neither completed nor aborted have left: the uploads and their parts.
    pub fn unfinished(&self) -> Vec<String> {
        let names = entries(self.dir.path()).into_iter();
        let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        names.filter(|name| name.contains("upload")).collect()
    }

    /// Ends it, with all connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again after [`stop`](Self::stop), over what it kept, on the same port.
    pub fn start_again(&mut self) {
        let began = std::time::Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed().as_secs() < 30, "{error}"),
            }
            std::thread::yield_now();
        };
        self.serve(listener);
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn entries(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the server keeps it");
    entries.flatten().map(|entry| entry.path()).collect()
}

async fn answer(request: Request<Incoming>, service: S3Service, state: &State) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or(pair));
    let names = names.collect::<Vec<_>>().join("&");
    let asked = format!("{} {}?{names}", request.method(), request.uri().path());
    let part = request.method() == Method::PUT && names.contains("partNumber");
    let requests = &state.requests;
    requests.lock().expect("nobody panics with it").push(asked);
    let fault = *state.fault.lock().expect("nobody panics with it");
    match fault {
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Unavailable) => return status(StatusCode::SERVICE_UNAVAILABLE),
        Some(Fault::RefuseParts) if part => return status(StatusCode::BAD_REQUEST),
        Some(Fault::RefuseParts | Fault::CutBodies { .. }) | None => {}
    }
    match service.call(request.map(s3s::Body::from)).await {
        Ok(response) => {
            let length = response.headers().get(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            let after = cut(state, length.unwrap_or_default());
            response.map(|body| frames(body, after))
        }
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// After how many bytes an answer of this length breaks off, if it does.
fn cut(state: &State, length: usize) -> Option<usize> {
    let mut fault = state.fault.lock().expect("nobody panics with it");
    let Some(Fault::CutBodies { answers, after }) = *fault else {
        return None;
    };
    if length <= after || answers == 0 {
        return None;
    }
    *fault = Some(Fault::CutBodies {
        answers: answers - 1,
        after,
    });
    Some(after)
}

fn frames(body: s3s::Body, cut_after: Option<usize>) -> Body {
    let mut left = cut_after.unwrap_or(usize::MAX);
    let frames = body.into_data_stream().map(move |data| {
        let data = data?;
        if data.len() > left {
            return Err("it breaks off".into());
        }
        left -= data.len();
        Ok(Frame::data(data))
    });
    StreamBody::new(frames.boxed())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(stream::empty().boxed()));
    *response.status_mut() = status;
    response
}
