//! `wasi:http/handler@0.3.x`: instances that serve several requests, one after another and at once.
//!
//! wasmtime's `ProxyHandler` does the multiplexing. Its own queue is unbounded, so a semaphore stands
//! in front of it, and each of its workers holds one of the revision's instances.

use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use crate::runtime::work::Work;

/// How long a request that found no room waits, at most, before it looks again.
const ROOM_RETRY: Duration = Duration::from_millis(25);

/// Serves HTTP with a revision of a 0.3 component.
pub struct Handler {
    proxy: ProxyHandler<Workers>,
    instances: Arc<Instances>,
    /// Requests in progress, all instances together.
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Handler {
    /// Serves with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: ServiceIndices) -> Self {
        let context = instances.context();
        let concurrent = context.reuse.concurrent_max.max(1) as usize;
        let places = context.limits.instances_max.saturating_mul(concurrent);
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(context.limits.queue_max),
            proxy: ProxyHandler::new(Workers {
                instances: instances.clone(),
                indices,
                room: Arc::default(),
                retired: Arc::default(),
            }),
            instances,
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
        let context = self.instances.context().clone();
        let deadline = context.limits.deadline;
        let head = request.method() == Method::HEAD;
        let exchange = Exchange::new();
        let request = limited(&context, request, &work, &exchange)?.map(BodyExt::boxed_unsync);
        // Until the response has come, whoever drops this future has the work cancelled.
        let waiter = Waiter::new(&exchange);
        let kind = work.kind;
        let over = context.over.of(kind);
        let responded = async {
            let accepted = Arc::new(Accepted {
                _place: self.enter(&context).await?,
                lease: Arc::new(lease),
                callees: SharedCallees::default(),
            });
            let data = RequestData {
                work,
                exchange: exchange.clone(),
                accepted: accepted.clone(),
            };
            let response = self.in_a_worker(data, request).await;
            let response = response.map_err(|error| failure(&context, &exchange, error))?;
            Ok::<_, InvokeError>((response, accepted))
        };
        let component = || context.component.clone();
        let retired = || InvokeError::Retired {
            component: component(),
        };
        let (response, accepted) = tokio::select! {
            biased;
            responded = tokio::time::timeout(deadline, responded) => match responded {
                Ok(Ok(responded)) => responded,
                // Its instance may have ended for the same reason a moment earlier.
                Ok(Err(_)) if over.is_cancelled() => return Err(retired()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(InvokeError::Deadline {
                        component: component(),
                        deadline,
                    });
                }
            },
            () = over.cancelled() => return Err(retired()),
        };
        waiter.answered();
        // The guest goes on to write the body. What it can write at once is then sent with the head.
        tokio::task::yield_now().await;
        let tie = Tie::Lease {
            lease: accepted,
            over: Ends::of(context.clone(), kind),
        };
        Ok(GuestBody::respond(response, head, tie, exchange, &context))
    }

    /// Has a worker answer. `ProxyHandler` starts a new worker whenever none can take a request right
    /// now; where no more instances may live it gives the request back, and the request waits for a
    /// worker that has room.
    async fn in_a_worker(
        &self,
        mut data: RequestData,
        mut request: handler::Request,
    ) -> wasmtime::Result<handler::Response> {
        let room = self.proxy.state().room.clone();
        loop {
            let notified = room.notified();
            let error = match self.proxy.handle(data, request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let given_back = error.downcast::<InstantiationError<RequestData>>()?;
            if !given_back.error.is::<NoPlace>() {
                return Err(given_back.into());
            }
            data = given_back.request_data;
            request = given_back
                .request
                .into_inner()
                .expect("no holder of this lock panics");
            // The timer is for a worker that had room between the two steps.
            let _ = tokio::time::timeout(ROOM_RETRY, notified).await;
        }
    }

    async fn enter(&self, context: &Context) -> Result<OwnedSemaphorePermit, InvokeError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| InvokeError::Overloaded {
                component: context.component.clone(),
                instances_max: context.limits.instances_max,
                queue_max: context.limits.queue_max,
            })?;
        Ok(self
            .places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed"))
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
        self.proxy.state().retired.store(true, Ordering::Relaxed);
    }
}
