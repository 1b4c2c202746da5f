//! A small HTTP server of the test's own: where a guest's outbound requests arrive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub path: String,
    pub headers: HeaderMap,
}

/// Answers every request with 200 and `upstream`, and remembers it.
pub struct Upstream {
    pub address: SocketAddr,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, arrivals.clone()));
        Self {
            address,
            arrivals,
            task,
        }
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("no holder panics").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, arrivals: Arc<Mutex<Vec<Arrival>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let arrivals = arrivals.clone();
        let service = service_fn(move |request| answer(request, arrivals.clone()));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let arrival = Arrival {
        path: request.uri().path().to_owned(),
        headers: request.headers().clone(),
    };
    arrivals.lock().expect("no holder panics").push(arrival);
    Ok(Response::new(Full::new(Bytes::from_static(b"upstream"))))
}
