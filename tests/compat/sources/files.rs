//! A server of a few files, which counts how often each is asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Shared = Arc<Mutex<Served>>;

#[derive(Default)]
struct Served {
    files: BTreeMap<String, Bytes>,
    asked: BTreeMap<String, usize>,
}

pub struct Files {
    address: SocketAddr,
    served: Shared,
    task: JoinHandle<()>,
}

impl Files {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let served = Shared::default();
        let task = tokio::spawn(serve(listener, served.clone()));
        Self {
            address,
            served,
            task,
        }
    }

    /// Puts a file there, in place of an earlier one; its URL.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) -> String {
        let mut served = self.served.lock().unwrap();
        served.files.insert(name.to_owned(), bytes.into());
        format!("http://{}/{name}", self.address)
    }

    /// How often the file was asked for.
    pub fn asked(&self, name: &str) -> usize {
        let served = self.served.lock().unwrap();
        served.asked.get(name).copied().unwrap_or_default()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, served: Shared) {
    while let Ok((socket, _)) = listener.accept().await {
        let served = served.clone();
        let service = service_fn(move |request| answer(request, served.clone()));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    served: Shared,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let mut served = served.lock().unwrap();
    let file = served.files.get(&name).cloned();
    *served.asked.entry(name).or_default() += 1;
    let status = match file {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::new(file.unwrap_or_default()));
    *response.status_mut() = status;
    Ok(response)
}
