//! `fermyon:spin/inbound-http`: requests and responses that are whole, one instance for each.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use wasmtime_wasi_http::WasiBody;

use super::body::{AbortOnDrop, Tie};
use super::{Exchange, GuestBody, LimitedBody, body_too_large, limited};
use crate::runtime::bindings::spin_http_handler::HttpHandlerIndices;
use crate::runtime::bindings::spin_http_handler::exports::fermyon::spin::inbound_http as wit;
use crate::runtime::bindings::spin_http_handler::fermyon::spin::http_types;
use crate::runtime::error::InvokeError;
use crate::runtime::instance::Instances;
use crate::runtime::work::Work;

/// Largest body of a request, whatever the manifest allows: it is whole in the host's memory.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Serves HTTP with a revision of such a component.
pub struct Handler {
    instances: Arc<Instances>,
    indices: Arc<HttpHandlerIndices>,
}

impl Handler {
    /// Serves with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: HttpHandlerIndices) -> Self {
        Self {
            instances,
            indices: Arc::new(indices),
        }
    }

    pub(super) fn handle<B, L>(
        &self,
        request: Request<B>,
        work: Work,
        lease: L,
        exchange: Arc<Exchange>,
    ) -> impl Future<Output = Result<Response<GuestBody>, InvokeError>> + Send + use<B, L>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
        L: Send + Sync + 'static,
    {
        let (instances, indices) = (self.instances.clone(), self.indices.clone());
        async move {
            let context = instances.context();
            let head = request.method() == Method::HEAD;
            let request = limited(context, request, &work, &exchange)?;
            let job = Job {
                instances: instances.clone(),
                indices,
                exchange: exchange.clone(),
            };
            let over = context.over.of(work.kind).clone();
            let task = instances.spawn(async move {
                let served = job.serve(request, work).await;
                drop(lease);
                served
            });
            let _aborted = AbortOnDrop::new(task.abort_handle());
            let deadline = context.limits.deadline;
            let component = || context.component.clone();
            let served = tokio::select! {
                biased;
                served = tokio::time::timeout_at(exchange.began() + deadline, task) => served,
                () = over.cancelled() => return Err(InvokeError::Retired { component: component() }),
            };
            let served = served.map_err(|_| InvokeError::Deadline {
                component: component(),
                deadline,
            })?;
            let response = served.map_err(|_| InvokeError::Panic {
                component: component(),
            })??;
            exchange.returned();
            Ok(GuestBody::respond(
                response,
                head,
                Tie::Loose,
                exchange,
                context,
            ))
        }
    }
}

/// One request's work.
struct Job {
    instances: Arc<Instances>,
    indices: Arc<HttpHandlerIndices>,
    exchange: Arc<Exchange>,
}

impl Job {
    async fn serve<B>(
        &self,
        request: Request<LimitedBody<B>>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        // First, so that no more bodies are held than instances may live.
        let mut instance = self.instances.take(work).await?;
        let request = self.whole(request).await?;
        let store = &mut instance.store;
        let component = || self.instances.context().component.clone();
        let exports = self.indices.load(&mut *store, &instance.instance);
        let exports = exports.map_err(|source| InvokeError::Host {
            component: component(),
            source,
        })?;
        let handler = exports.fermyon_spin_inbound_http();
        match handler.call_handle_request(&mut *store, &request).await {
            Ok(response) => {
                self.instances.give_back(instance);
                respond(response).map_err(|error| InvokeError::GuestError {
                    component: component(),
                    error,
                })
            }
            Err(source) => Err(InvokeError::of_call(store, source)),
        }
    }

    /// The request as the component is given it.
    async fn whole<B>(&self, request: Request<LimitedBody<B>>) -> Result<wit::Request, InvokeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let (head, body) = request.into_parts();
        let Some(method) = method(&head.method) else {
            return Err(InvokeError::BadRequest {
                reason: format!("the component's interface has no method {}", head.method),
            });
        };
        let limit = usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX);
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) if self.exchange.body_exceeded() => {
                return Err(body_too_large(self.instances.context()));
            }
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(InvokeError::BodyTooLarge {
                    component: self.instances.context().component.clone(),
                    bytes_max: BODY_BYTES_MAX,
                });
            }
            Err(error) => {
                return Err(InvokeError::BadRequest {
                    reason: format!("its body breaks off: {error}"),
                });
            }
        };
        let path = head.uri.path_and_query();
        let uri = path.map_or("/", |path| path.as_str()).to_owned();
        let query = head.uri.query().unwrap_or_default();
        let params = query.split('&').filter(|pair| !pair.is_empty());
        let params = params.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        // The interface has text alone, so what is none is left out.
        let headers = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok(wit::Request {
            method,
            uri,
            headers: headers.collect(),
            params: params.collect(),
            body: Some(body.to_vec()),
        })
    }
}

fn method(method: &Method) -> Option<http_types::Method> {
    Some(match *method {
        Method::GET => http_types::Method::Get,
        Method::POST => http_types::Method::Post,
        Method::PUT => http_types::Method::Put,
        Method::DELETE => http_types::Method::Delete,
        Method::PATCH => http_types::Method::Patch,
        Method::HEAD => http_types::Method::Head,
        Method::OPTIONS => http_types::Method::Options,
        _ => return None,
    })
}

/// The component's response, or what is wrong with it.
fn respond(response: wit::Response) -> Result<Response<WasiBody>, String> {
    let status = StatusCode::from_u16(response.status).map_err(|error| error.to_string())?;
    let body = Full::new(Bytes::from(response.body.unwrap_or_default()));
    let mut answer = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    for (name, value) in response.headers.unwrap_or_default() {
        let wrong = |error: &dyn std::fmt::Display| format!("header {name:?}: {error}");
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?;
        let value = HeaderValue::from_str(&value).map_err(|error| wrong(&error))?;
        answer.headers_mut().append(parsed, value);
    }
    Ok(answer)
}
