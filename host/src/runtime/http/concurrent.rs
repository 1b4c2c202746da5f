//! `wasi:http/handler@0.3.x`: instances that serve several requests, one after another and at once.
//!
//! wasmtime's `ProxyHandler` does the multiplexing. Its own queue is unbounded, so a semaphore stands
//! in front of it, and each of its workers holds one of the revision's instances.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, Sleep};
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    self, ExpirationError, HandlerState, InstantiationError, Proxy, ProxyHandler, ShouldAccept,
    WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServiceIndices;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use super::body::Tie;
use super::{Exchange, GuestBody, body_too_large, limited};
use crate::runtime::error::InvokeError;
use crate::runtime::instance::{Instances, Place};
use crate::runtime::state::{Context, InstanceState, Work};

/// How much longer than its deadline a stuck instance is kept, so that the deadline of its last
/// request, which is checked in the instance's own loop, is the one that is met first.
const STUCK_GRACE: Duration = Duration::from_millis(100);

/// How long a request that found no room waits, at most, before it looks again.
const ROOM_RETRY: Duration = Duration::from_millis(25);

/// As many instances live as may.
#[derive(Debug, thiserror::Error)]
#[error("as many instances live as may")]
struct NoPlace;

/// Serves HTTP with a revision of a 0.3 component.
pub struct Handler {
    proxy: ProxyHandler<Workers>,
    instances: Arc<Instances>,
    /// Requests in progress, all instances together.
    places: Semaphore,
    waiting: Semaphore,
}

impl Handler {
    /// Serves with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: ServiceIndices) -> Self {
        let context = instances.context();
        let concurrent = context.reuse.concurrent_max.max(1) as usize;
        let places = context.limits.instances_max.saturating_mul(concurrent);
        Self {
            places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)),
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
        let request = limited(&context, request, &exchange)?.map(BodyExt::boxed_unsync);
        let responded = async {
            let _place = self.enter(&context).await?;
            let data = RequestData {
                work,
                exchange: exchange.clone(),
            };
            let response = self.in_a_worker(data, request).await;
            response.map_err(|error| failure(&context, &exchange, error))
        };
        let response = tokio::time::timeout(deadline, responded)
            .await
            .map_err(|_| InvokeError::Deadline {
                component: context.component.clone(),
                deadline,
            })??;
        // The guest goes on to write the body. What it can write at once is then sent with the head.
        tokio::task::yield_now().await;
        let tie = Tie::Lease {
            lease: Box::new(lease),
            idle: context.limits.response_idle,
            timer: None,
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

    async fn enter(&self, context: &Context) -> Result<SemaphorePermit<'_>, InvokeError> {
        if let Ok(place) = self.places.try_acquire() {
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
            .acquire()
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

/// What accompanies a request to the worker that takes it.
struct RequestData {
    work: Work,
    exchange: Arc<Exchange>,
}

/// The exchanges of one worker whose responses may still be on their way.
#[derive(Clone, Default)]
struct Exchanges(Arc<Mutex<Vec<Weak<Exchange>>>>);

impl Exchanges {
    fn add(&self, exchange: &Arc<Exchange>) {
        let mut exchanges = self.0.lock().expect("no holder of this lock panics");
        exchanges.retain(|exchange| exchange.strong_count() > 0);
        exchanges.push(Arc::downgrade(exchange));
    }

    /// When any of them made progress last.
    fn last_progress(&self) -> Option<Instant> {
        let exchanges = self.0.lock().expect("no holder of this lock panics");
        exchanges
            .iter()
            .filter_map(Weak::upgrade)
            .filter_map(|exchange| exchange.in_progress())
            .max()
    }
}

/// Makes workers.
struct Workers {
    instances: Arc<Instances>,
    indices: ServiceIndices,
    /// Told whenever a worker has room for a request, or its instance's place becomes free.
    room: Arc<Notify>,
    /// Nothing more is accepted: what still lives ends when it is idle.
    retired: Arc<AtomicBool>,
}

impl HandlerState for Workers {
    type StoreData = InstanceState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(
        &self,
    ) -> wasmtime::Result<handler::Instance<InstanceState, Expiration, Worker>> {
        let context = self.instances.context().clone();
        let work = Work { id: 0, depth: 0 };
        let deadline = context.limits.deadline;
        let made = tokio::time::timeout(deadline, self.instances.try_make(work)).await;
        let made = made.map_err(|_| InvokeError::Deadline {
            component: context.component.clone(),
            deadline,
        })?;
        let made = made?.ok_or(NoPlace)?;
        let (mut store, instance, place) = made.into_parts();
        let exchanges = Exchanges::default();
        let expired = Arc::<AtomicBool>::default();
        let proxy = Proxy::P3(self.indices.load(&mut store, &instance)?);
        Ok(handler::Instance {
            store,
            proxy,
            view: InstanceState::http,
            expiration: Expiration {
                context: context.clone(),
                exchanges: exchanges.clone(),
                expired: expired.clone(),
                timer: None,
            },
            state: Worker {
                context,
                exchanges,
                room: self.room.clone(),
                retired: self.retired.clone(),
                expired,
                place: Mutex::new(Some(place)),
            },
        })
    }
}

/// One instance's policy.
struct Worker {
    context: Arc<Context>,
    exchanges: Exchanges,
    room: Arc<Notify>,
    retired: Arc<AtomicBool>,
    /// A request of it did not answer in time: it takes no more, and ends once the others have.
    expired: Arc<AtomicBool>,
    /// Taken when the instance is dropped.
    place: Mutex<Option<Place>>,
}

impl WorkerState for Worker {
    type StoreData = InstanceState;
    type RequestData = RequestData;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        let reuse = &self.context.reuse;
        let requests_max = reuse.requests_max.unwrap_or(REQUESTS_MAX_DEFAULT);
        if total >= requests_max as usize || self.retired.load(Ordering::Relaxed) {
            ShouldAccept::Never
        } else if concurrent >= reuse.concurrent_max.max(1) as usize {
            ShouldAccept::No
        } else {
            self.room.notify_one();
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, InstanceState>,
        data: RequestData,
        _task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        store.data_mut().set_work(data.work);
        self.exchanges.add(&data.exchange);
        let deadline = self.context.limits.deadline;
        let expired = self.expired.clone();
        Box::pin(async move {
            tokio::time::sleep(deadline).await;
            expired.store(true, Ordering::Relaxed);
        })
    }

    fn drop(&self, store: Store<InstanceState>, result: Result<(), wasmtime::Error>) {
        // A worker that is dropped with the whole host reports a panic, which it is not.
        if let (Err(error), false) = (result, self.retired.load(Ordering::Relaxed)) {
            self.context.metrics.traps.inc();
            tracing::warn!(
                component = %self.context.component,
                revision = %self.context.digest.short(),
                memory_refused = store.data().limiter.refused(),
                error = format!("{error:#}"),
                "instance ended with a failure"
            );
        }
        drop(store);
        self.place
            .lock()
            .expect("no holder of this lock panics")
            .take();
        self.room.notify_one();
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.proxy.state().retired.store(true, Ordering::Relaxed);
    }
}

/// Requests that one instance serves where the manifest does not say: what `wasmtime serve` does.
pub const REQUESTS_MAX_DEFAULT: u32 = 128;

/// When an instance is dropped.
struct Expiration {
    context: Arc<Context>,
    exchanges: Exchanges,
    expired: Arc<AtomicBool>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        status: WorkerStatus,
        start: StdInstant,
    ) -> Poll<()> {
        let limits = &self.context.limits;
        let start = Instant::from_std(start);
        let until = match status {
            WorkerStatus::Idle => start + self.context.reuse.idle_timeout,
            WorkerStatus::Requests => start + limits.deadline + STUCK_GRACE,
            // Mostly bodies that are still written; each has made progress when its last piece left.
            WorkerStatus::PostReturn => {
                let progress = self.exchanges.last_progress();
                // One that is stuck would keep the handler's wake-ups from workers that are not.
                if progress.is_none() && self.expired.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                progress.map_or(start, |progress| progress.max(start)) + limits.response_idle
            }
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}
