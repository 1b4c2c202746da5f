//! One component that has the listener to itself, as `wasmtime serve` has it: no routes, no place in a
//! trace, and one answer to every failure, whose reason is for the log alone.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::Either;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::respond::ResponseBody;
use crate::config::model::OneComponent;
use crate::dispatch::Dispatch;
use crate::runtime::{GuestBody, InvokeError};

/// The answer to a request that its component did not answer.
const FAILED: &str = "<!doctype html>\n<title>500 Internal Server Error</title>\n\
                      <h1>500 Internal Server Error</h1>\n<p>wharf\n";

/// Serves one component.
pub struct One {
    config: OneComponent,
    /// Requests whose response may not have begun.
    places: Arc<Semaphore>,
}

impl One {
    /// Serves as `config` says.
    pub fn new(config: OneComponent) -> Self {
        let places = config.requests_max.min(Semaphore::MAX_PERMITS);
        Self {
            config,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Answers a request, once there is a place for it.
    pub fn answer(
        &self,
        dispatch: &Arc<Dispatch>,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + use<> {
        self.replace_headers(request.headers_mut());
        let component = &self.config.component;
        match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                let answered = dispatch.http(component, request, dispatch.untraced_request());
                Either::Left(answered.map(move |answered| {
                    drop(place);
                    respond(answered)
                }))
            }
            Err(_) => {
                let (places, dispatch) = (self.places.clone(), dispatch.clone());
                let component = component.clone();
                let answered = async move {
                    let _place = places.acquire().await;
                    let work = dispatch.untraced_request();
                    respond(dispatch.http(&component, request, work).await)
                };
                Either::Right(answered.boxed())
            }
        }
    }

    fn replace_headers(&self, headers: &mut HeaderMap) {
        for (name, _) in &self.config.headers {
            headers.remove(name);
        }
        for (name, value) in &self.config.headers {
            headers.append(name, value.clone());
        }
    }
}

fn respond(answered: Result<Response<GuestBody>, InvokeError>) -> Response<ResponseBody> {
    match answered {
        Ok(response) => response.map(ResponseBody::Guest),
        Err(_) => failed(),
    }
}

fn failed() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Host(Full::from(FAILED)));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let html = HeaderValue::from_static("text/html; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

/// Cancels `stop` once somebody connects to `listener`.
pub async fn stop_when_connected(listener: TcpListener, stop: CancellationToken) {
    match listener.accept().await {
        Ok((_, peer)) => tracing::info!(%peer, "a connection asks to stop"),
        Err(error) => tracing::error!(%error, "connections that ask to stop cannot be accepted"),
    }
    stop.cancel();
}
