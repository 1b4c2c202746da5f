//! `wasi:http/incoming-handler@0.2.x`: one instance, one request at a time.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt;
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
use crate::runtime::waiting::Timers;
use crate::runtime::work::Work;

/// Serves HTTP with a revision of a 0.2 component.
pub struct Handler {
    instances: Arc<Instances>,
    indices: Arc<ProxyIndices>,
    deadlines: Arc<Timers>,
}

/// A request's work, wherever it is done.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

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
            deadlines: Arc::default(),
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
        let head = request.method() == Method::HEAD;
        let begun = self.begin(request, work, lease, &exchange);
        let (instances, deadlines) = (self.instances.clone(), self.deadlines.clone());
        async move {
            let (job, response) = begun?;
            let call = Call {
                instances: &instances,
                deadlines: &deadlines,
                exchange: &exchange,
            };
            let (response, tie) = if instances.yields() {
                call.here(job, response).await?
            } else {
                call.elsewhere(job, response).await?
            };
            let context = instances.context();
            Ok(GuestBody::respond(response, head, tie, exchange, context))
        }
    }

    /// The work on a request, and where its response comes.
    fn begin<B, L>(
        &self,
        request: Request<B>,
        work: Work,
        lease: L,
        exchange: &Arc<Exchange>,
    ) -> Result<(Running, oneshot::Receiver<Outcome>), InvokeError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
        L: Send + Sync + 'static,
    {
        let request = limited(self.instances.context(), request, &work, exchange)?;
        let (sender, response) = oneshot::channel();
        let job = Job {
            instances: self.instances.clone(),
            indices: self.indices.clone(),
            answer: Answer(Arc::new(Mutex::new(Some(sender)))),
            exchange: exchange.clone(),
            work,
        };
        let job: Running = Box::pin(async move {
            job.run(request).await;
            drop(lease);
        });
        Ok((job, response))
    }
}

/// The wait for a response, and where the work on it is done meanwhile.
struct Call<'a> {
    instances: &'a Instances,
    deadlines: &'a Arc<Timers>,
    exchange: &'a Exchange,
}

impl Call<'_> {
    /// Works in the task of whoever asks, which most requests end in, and moves to one of its own
    /// where the guest goes on after its response.
    async fn here(
        &self,
        job: Running,
        mut response: oneshot::Receiver<Outcome>,
    ) -> Result<(Response<WasiBody>, Tie), InvokeError> {
        let mut job = AssertUnwindSafe(job).catch_unwind();
        let mut ended = None;
        let mut answered = std::pin::pin!(std::future::poll_fn(|cx| {
            // Polled before the response, which it may give just now.
            if ended.is_none()
                && let Poll::Ready(end) = Pin::new(&mut job).poll(cx)
            {
                ended = Some(end);
            }
            Pin::new(&mut response).poll(cx)
        }));
        // Most answer at once, and need no timer.
        let first = std::future::poll_fn(|cx| Poll::Ready(answered.as_mut().poll(cx))).await;
        let answered = match first {
            Poll::Ready(answered) => answered,
            Poll::Pending => self.in_time(answered).await?,
        };
        if let Some(Err(_panic)) = ended {
            return Err(InvokeError::Panic {
                component: self.instances.context().component.clone(),
            });
        }
        let response = answered.map_err(|_| self.no_response())??;
        let tie = match ended {
            Some(_) => Tie::Loose,
            None => Tie::Task(AbortOnDrop::new(self.instances.spawn(job).abort_handle())),
        };
        Ok((response, tie))
    }

    /// Works where the component may keep a thread.
    async fn elsewhere(
        &self,
        job: Running,
        response: oneshot::Receiver<Outcome>,
    ) -> Result<(Response<WasiBody>, Tie), InvokeError> {
        let task = AbortOnDrop::new(self.instances.spawn(job).abort_handle());
        let answered = self.in_time(response).await?;
        let response = answered.map_err(|_| self.no_response())??;
        Ok((response, Tie::Task(task)))
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, InvokeError> {
        let context = self.instances.context();
        let deadline = context.limits.deadline;
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.deadlines.until(self.exchange.began() + deadline) => {
                let component = context.component.clone();
                Err(InvokeError::Deadline { component, deadline })
            }
        }
    }

    fn no_response(&self) -> InvokeError {
        InvokeError::NoResponse {
            component: self.instances.context().component.clone(),
        }
    }
}

/// One request's work. It may go on after the response.
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
        let over = async {
            let over = self.instances.context().over.of(self.work.kind);
            over.cancelled().await;
            self.exchange.cut_off();
        };
        tokio::select! {
            biased;
            () = self.serve(request) => {}
            () = over => self.fail(InvokeError::Retired {
                component: self.instances.context().component.clone(),
            }),
        }
    }

    async fn serve<B>(&self, request: Request<LimitedBody<B>>)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let mut instance = match self.instances.take(self.work.clone()).await {
            Ok(instance) => instance,
            Err(error) => {
                self.answer.give(Err(error));
                return;
            }
        };
        let context = self.instances.context();
        let stalled = async {
            let idle = context.limits.response_idle;
            self.exchange.stalled(idle).await;
            self.exchange.cut_off();
        };
        let called = tokio::select! {
            biased;
            called = self.call(&mut instance, request) => called,
            () = stalled => {
                tracing::warn!(
                    component = %context.component,
                    revision = %context.revision,
                    request_id = self.work.id,
                    trace_id = self.work.trace_id(),
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
            Ok(()) => {
                instance.exchange = Some(Arc::downgrade(&self.exchange));
                self.instances.give_back(instance);
            }
            Err(error) if self.answer.is_open() => self.fail(error),
            Err(error) => {
                self.exchange.stop();
                self.fail(error);
                // With the instance would go what it wrote.
                self.exchange.settled(context.limits.response_idle).await;
            }
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
        let proxy = match instance.proxy.take() {
            Some(proxy) => proxy,
            None => self
                .indices
                .load(&mut *store, &instance.instance)
                .map_err(host)?,
        };
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
        let called = called.await;
        called.map_err(|source| InvokeError::of_call(store, source))?;
        instance.proxy = Some(proxy);
        Ok(())
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
            trace_id = self.work.trace_id(),
            error = %error,
            source,
            "component failed after its response had begun"
        );
    }
}
