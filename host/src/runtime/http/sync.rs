//! `wasi:http/incoming-handler@0.2.x`: one instance, one request at a time.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::body::{AbortOnDrop, Tie};
use super::{Exchange, GuestBody, LimitedBody, body_too_large, limited};
use crate::runtime::error::InvokeError;
use crate::runtime::instance::{Instance, Instances};
use crate::runtime::state::Work;

/// Serves HTTP with a revision of a 0.2 component.
pub struct Handler {
    instances: Arc<Instances>,
    indices: Arc<ProxyIndices>,
}

type Outcome = Result<Response<WasiBody>, InvokeError>;

/// Where the response goes: whoever is first, the guest or the failure of its call.
#[derive(Clone)]
struct Answer(Arc<Mutex<Option<oneshot::Sender<Outcome>>>>);

impl Answer {
    /// False when an answer was given already.
    fn give(&self, outcome: Outcome) -> bool {
        match self.0.lock().expect("no holder of this lock panics").take() {
            // Nobody waits any more for a request that was cancelled.
            Some(sender) => sender.send(outcome).is_ok(),
            None => false,
        }
    }

    fn is_open(&self) -> bool {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .is_some()
    }
}

impl Handler {
    /// Serves with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: ProxyIndices) -> Self {
        Self {
            instances,
            indices: Arc::new(indices),
        }
    }

    pub(super) async fn handle<B, L>(
        &self,
        request: Request<B>,
        work: Work,
        lease: L,
    ) -> Result<Response<GuestBody>, InvokeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
        L: Send + Sync + 'static,
    {
        let context = self.instances.context();
        let deadline = context.limits.deadline;
        let head = request.method() == Method::HEAD;
        let exchange = Exchange::new();
        let request = limited(context, request, &exchange)?;
        let (sender, response) = oneshot::channel();
        let exchange_of_job = exchange.clone();
        let job = Job {
            instances: self.instances.clone(),
            indices: self.indices.clone(),
            answer: Answer(Arc::new(Mutex::new(Some(sender)))),
            exchange: exchange_of_job,
            work,
        };
        let task = self.instances.spawn(async move {
            job.run(request).await;
            drop(lease);
        });
        let task = AbortOnDrop::new(task.abort_handle());
        let component = || context.component.clone();
        let response = match tokio::time::timeout(deadline, response).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) => {
                return Err(InvokeError::NoResponse {
                    component: component(),
                });
            }
            Err(_) => {
                return Err(InvokeError::Deadline {
                    component: component(),
                    deadline,
                });
            }
        };
        Ok(GuestBody::respond(
            response,
            head,
            Tie::Task(task),
            exchange,
            context,
        ))
    }
}

/// One request's work, in a task of its own: it may go on after the response.
struct Job {
    instances: Arc<Instances>,
    indices: Arc<ProxyIndices>,
    answer: Answer,
    exchange: Arc<Exchange>,
    work: Work,
}

impl Job {
    async fn run<B>(self, request: Request<LimitedBody<B>>)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let over = self.instances.context().over.of(self.work.kind).clone();
        tokio::select! {
            biased;
            () = self.serve(request) => {}
            () = over.cancelled() => self.fail(InvokeError::Retired {
                component: self.instances.context().component.clone(),
            }),
        }
    }

    async fn serve<B>(&self, request: Request<LimitedBody<B>>)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let mut instance = match self.instances.take(self.work).await {
            Ok(instance) => instance,
            Err(error) => {
                self.answer.give(Err(error));
                return;
            }
        };
        let context = self.instances.context();
        let called = tokio::select! {
            biased;
            called = self.call(&mut instance, request) => called,
            () = self.exchange.stalled(context.limits.response_idle) => {
                tracing::warn!(
                    component = %context.component,
                    revision = %context.revision,
                    request_id = self.work.id,
                    "response made no progress within its idle limit and was cut off"
                );
                return;
            }
        };
        self.exchange.returned();
        match called {
            Ok(()) if self.answer.is_open() => {
                let component = context.component.clone();
                self.answer.give(Err(InvokeError::NoResponse { component }));
            }
            Ok(()) => self.instances.give_back(instance),
            Err(error) => self.fail(error),
        }
    }

    async fn call<B>(
        &self,
        instance: &mut Instance,
        request: Request<LimitedBody<B>>,
    ) -> Result<(), InvokeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let component = || self.instances.context().component.clone();
        let host = |source| InvokeError::Host {
            component: component(),
            source,
        };
        let store = &mut instance.store;
        let proxy = self
            .indices
            .load(&mut *store, &instance.instance)
            .map_err(host)?;
        let incoming = store
            .data_mut()
            .http()
            .new_incoming_request(Scheme::Http, request);
        let incoming = incoming.map_err(|error| InvokeError::BadRequest {
            reason: error.to_string(),
        })?;
        let outparam = self.outparam(store).map_err(host)?;
        let called =
            proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut *store, incoming, outparam);
        called
            .await
            .map_err(|source| InvokeError::of_call(store, source))
    }

    fn outparam(
        &self,
        store: &mut wasmtime::Store<crate::runtime::state::InstanceState>,
    ) -> wasmtime::Result<
        wasmtime::component::Resource<wasmtime_wasi_http::p2::types::HostResponseOutparam>,
    > {
        let answer = self.answer.clone();
        let exchange = self.exchange.clone();
        let context = self.instances.context().clone();
        store
            .data_mut()
            .http()
            .new_response_outparam_from_callback(move |set| {
                answer.give(set.map_err(|code: ErrorCode| {
                    if exchange.body_exceeded() {
                        return body_too_large(&context);
                    }
                    let component = context.component.clone();
                    InvokeError::GuestError {
                        component,
                        error: format!("{code:?}"),
                    }
                }));
            })
    }

    /// Hands the failure to whoever waits for the response, else logs it: nobody else will.
    fn fail(&self, error: InvokeError) {
        let context = self.instances.context();
        if self.answer.is_open() {
            let error = if self.exchange.body_exceeded() {
                body_too_large(context)
            } else {
                error
            };
            self.answer.give(Err(error));
            return;
        }
        let source = std::error::Error::source(&error).map(|source| format!("{source:#}"));
        tracing::warn!(
            component = %context.component,
            revision = %context.revision,
            request_id = self.work.id,
            error = %error,
            source,
            "component failed after its response had begun"
        );
    }
}
