//! `wasi:http/handler@0.3.x`: instances that serve several requests, one after another and at once.
//!
//! wasmtime's `ProxyHandler` does the multiplexing. Its own queue is unbounded, so a semaphore stands
//! in front of it, and each of its workers holds one of the revision's instances.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::handler::{self, ExpirationError, InstantiationError, ProxyHandler};
use wasmtime_wasi_http::p3::bindings::ServiceIndices;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use super::body::{Ends, Tie};
use super::exchange::Waiter;
use super::worker::{Accepted, NoPlace, RequestData, Workers};
use super::{Exchange, GuestBody, body_too_large, limited};
use crate::runtime::error::InvokeError;
use crate::runtime::instance::Instances;
use crate::runtime::state::Context;
use crate::runtime::tasks::SharedCallees;
use crate::runtime::waiting::Timers;
use crate::runtime::work::{Work, WorkKind};

/// How long a request that found no room waits, at most, before it looks again.
const ROOM_RETRY: Duration = Duration::from_millis(25);

/// Serves HTTP with a revision of a 0.3 component.
pub struct Handler(Arc<Service>);

/// What its requests share.
struct Service {
    proxy: ProxyHandler<Workers>,
    instances: Arc<Instances>,
    /// Requests in progress, all instances together.
    places: Arc<Semaphore>,
    waiting: Semaphore,
    deadlines: Arc<Timers>,
}

impl Handler {
    /// Serves with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: ServiceIndices) -> Self {
        let context = instances.context();
        let concurrent = context.reuse.concurrent_max.max(1) as usize;
        let places = context.limits.instances_max.saturating_mul(concurrent);
        Self(Arc::new(Service {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(context.limits.queue_max),
            deadlines: Arc::default(),
            proxy: ProxyHandler::new(Workers {
                instances: instances.clone(),
                indices,
                room: Arc::default(),
                retired: Arc::default(),
            }),
            instances,
        }))
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
        let service = self.0.clone();
        let head = request.method() == Method::HEAD;
        let request = limited(service.instances.context(), request, &work, &exchange);
        async move {
            let request = request?.map(BodyExt::boxed_unsync);
            let lease = Arc::new(lease);
            service.answer(request, head, work, lease, exchange).await
        }
    }
}

impl Service {
    async fn answer(
        &self,
        request: handler::Request,
        head: bool,
        work: Work,
        lease: Arc<dyn Send + Sync>,
        exchange: Arc<Exchange>,
    ) -> Result<Response<GuestBody>, InvokeError> {
        let context = self.instances.context();
        let deadline = context.limits.deadline;
        // Until the response has come, whoever drops this future has the work cancelled.
        let waiter = Waiter::new(&exchange);
        let kind = work.kind;
        let responded = async {
            let accepted = Arc::new(Accepted {
                work,
                _place: self.enter(kind).await?,
                lease,
                callees: SharedCallees::default(),
            });
            let data = RequestData {
                exchange: exchange.clone(),
                accepted: accepted.clone(),
            };
            let response = self.in_a_worker(data, request).await;
            let response = response.map_err(|error| failure(context, &exchange, error))?;
            Ok::<_, InvokeError>((response, accepted))
        };
        let component = || context.component.clone();
        let mut over = Ends::of(context.clone(), kind);
        // With the time of a revision's requests its instances end, and they with them.
        let ended = poll_fn(|cx| match kind {
            WorkKind::Request => Poll::Pending,
            WorkKind::Delivery => over.poll(cx),
        });
        let (response, accepted) = tokio::select! {
            biased;
            responded = responded => match responded {
                Ok(responded) => responded,
                Err(_) if context.over.of(kind).is_cancelled() => {
                    return Err(InvokeError::Retired { component: component() });
                }
                Err(error) => return Err(error),
            },
            () = self.deadlines.until(exchange.began() + deadline) => {
                return Err(InvokeError::Deadline { component: component(), deadline });
            }
            () = ended => return Err(InvokeError::Retired { component: component() }),
        };
        // The guest goes on to write the body. What it can write at once is then sent with the head.
        tokio::task::yield_now().await;
        waiter.answered();
        let tie = Tie::Lease {
            lease: accepted,
            over,
        };
        Ok(GuestBody::respond(response, head, tie, exchange, context))
    }

    /// Has a worker answer. `ProxyHandler` starts a new worker whenever none can take a request right
    /// now; where no more instances may live it gives the request back, and the request waits for a
    /// worker that has room.
    async fn in_a_worker(
        &self,
        data: RequestData,
        request: handler::Request,
    ) -> wasmtime::Result<handler::Response> {
        match self.proxy.handle(data, request).await {
            Ok(response) => Ok(response),
            Err(error) => Box::pin(self.once_there_is_room(error)).await,
        }
    }

    async fn once_there_is_room(
        &self,
        mut error: wasmtime::Error,
    ) -> wasmtime::Result<handler::Response> {
        let room = self.proxy.state().room.seek();
        let mut offered = None;
        loop {
            let given_back = error.downcast::<InstantiationError<RequestData>>()?;
            if !given_back.error.is::<NoPlace>() {
                return Err(given_back.into());
            }
            if let Some(offered) = offered {
                // The timer is for a worker that had room between the two steps.
                let _ = tokio::time::timeout(ROOM_RETRY, offered).await;
            }
            offered = Some(room.offered());
            let request = given_back
                .request
                .into_inner()
                .expect("no holder of this lock panics");
            match self.proxy.handle(given_back.request_data, request).await {
                Ok(response) => return Ok(response),
                Err(again) => error = again,
            }
        }
    }

    async fn enter(&self, kind: WorkKind) -> Result<OwnedSemaphorePermit, InvokeError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let context = self.instances.context();
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| InvokeError::Overloaded {
                component: context.component.clone(),
                instances_max: context.limits.instances_max,
                queue_max: context.limits.queue_max,
            })?;
        tokio::select! {
            biased;
            place = self.places.clone().acquire_owned() => {
                Ok(place.expect("the semaphore is never closed"))
            }
            () = context.over.of(kind).cancelled() => Err(InvokeError::Retired {
                component: context.component.clone(),
            }),
        }
    }
}

/// What a failed request's error says about its kind.
fn failure(context: &Context, exchange: &Exchange, error: wasmtime::Error) -> InvokeError {
    let component = context.component.clone();
    if exchange.body_exceeded() {
        return body_too_large(context);
    }
    if let Some(failed) = error.downcast_ref::<InstantiationError<RequestData>>() {
        return match failed.error.downcast_ref::<InvokeError>() {
            Some(InvokeError::PoolExhausted { .. }) => InvokeError::PoolExhausted {
                component,
                source: error,
            },
            Some(InvokeError::Retired { .. }) => InvokeError::Retired { component },
            Some(_) | None => InvokeError::Instantiate {
                component,
                memory_refused: false,
                source: error,
            },
        };
    }
    if error.is::<ExpirationError>() {
        return InvokeError::Deadline {
            component,
            deadline: context.limits.deadline,
        };
    }
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return InvokeError::GuestError {
            component,
            error: format!("{code:?}"),
        };
    }
    InvokeError::Trap {
        component,
        memory_refused: false,
        source: error,
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.proxy.state().retired.store(true, Ordering::Relaxed);
    }
}
