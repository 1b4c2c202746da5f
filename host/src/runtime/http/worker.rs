//! One instance that serves several requests: what it accepts, what it owes, and when it ends.
//!
//! ```text
//! Idle <-> Requests -> PostReturn -> Idle
//!    \________\___________\-> dropped: idle too long | stuck, or nobody waits | body stalled
//! ```

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use tokio::runtime::Handle;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    self, HandlerState, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::Exchange;
use super::body::Ends;
use crate::runtime::error::InvokeError;
use crate::runtime::instance::{Instances, Place};
use crate::runtime::state::{Context, InstanceState};
use crate::runtime::tasks::SharedCallees;
use crate::runtime::work::{Work, WorkKind};

/// How much longer than its deadline a stuck instance is kept, so that the deadline of its last
/// request, which is checked by whoever waits for the response, is the one that is met first.
const STUCK_GRACE: Duration = Duration::from_millis(100);

/// As many instances live as may.
#[derive(Debug, thiserror::Error)]
#[error("as many instances live as may")]
pub struct NoPlace;

/// What a request holds until its response has left. Where it had none in time, or nobody waits for it
/// any more, until the instance that still works for it has ended.
pub struct Accepted {
    /// What it is.
    pub work: Work,
    /// Its place among the requests in progress; only held.
    pub _place: OwnedSemaphorePermit,
    /// The revision's lease.
    pub lease: Arc<dyn Send + Sync>,
    /// The other components' revisions that it has called.
    pub callees: SharedCallees,
}

/// What accompanies a request to the worker that takes it.
pub struct RequestData {
    /// How it goes.
    pub exchange: Arc<Exchange>,
    /// What it holds.
    pub accepted: Arc<Accepted>,
}

/// The exchanges of one worker whose responses may still be on their way.
#[derive(Default)]
struct Exchanges(Mutex<Vec<Arc<Exchange>>>);

impl Exchanges {
    /// Those that have not ended; the others are forgotten.
    fn living(&self) -> MutexGuard<'_, Vec<Arc<Exchange>>> {
        let mut exchanges = self.0.lock().expect("no holder of this lock panics");
        exchanges.retain(|exchange| !exchange.has_ended());
        exchanges
    }

    /// Whether anybody still wants anything of one of them.
    fn any_wanted(&self) -> bool {
        let exchanges = self.0.lock().expect("no holder of this lock panics");
        exchanges.iter().any(|exchange| !exchange.has_ended())
    }

    /// When the last of those that are on their way has stalled.
    fn last_stalls(&self, idle: Duration) -> Option<Instant> {
        let exchanges = self.0.lock().expect("no holder of this lock panics");
        exchanges
            .iter()
            .filter_map(|exchange| exchange.stalls(idle))
            .max()
    }
}

/// What an instance owes: the leases of all that it has worked for since it last idled, since nothing
/// tells when one of its tasks is done, and all that the requests hold that it has not answered.
#[derive(Default)]
struct Owed(Mutex<Vec<Arc<dyn Send + Sync>>>);

impl Owed {
    fn add(&self, held: Arc<dyn Send + Sync>) {
        let mut owed = self.0.lock().expect("no holder of this lock panics");
        owed.push(held);
    }

    fn settle(&self) {
        let owed = std::mem::take(&mut *self.0.lock().expect("no holder of this lock panics"));
        drop(owed);
    }
}

/// Where one instance's life stands.
#[derive(Default)]
struct Life {
    exchanges: Exchanges,
    owed: Owed,
    /// A request of it did not answer in time, or nobody waits for it any more: the instance takes no
    /// more, and ends once the others have.
    expired: AtomicBool,
    /// It was ended before its work was.
    overdue: AtomicBool,
}

/// Room for one more request, for those who found none.
#[derive(Default)]
pub struct Room {
    seekers: AtomicUsize,
    offers: Notify,
}

impl Room {
    /// Looks for room, until it is dropped.
    pub fn seek(self: &Arc<Self>) -> Seeker {
        self.seekers.fetch_add(1, Ordering::SeqCst);
        Seeker(self.clone())
    }

    fn offer(&self) {
        if self.seekers.load(Ordering::SeqCst) > 0 {
            self.offers.notify_one();
        }
    }
}

/// Somebody who looks for room. What was offered before is missed: look once more before waiting.
pub struct Seeker(Arc<Room>);

impl Seeker {
    /// Resolves with an offer that no seeker has taken yet.
    pub fn offered(&self) -> Notified<'_> {
        self.0.offers.notified()
    }
}

impl Drop for Seeker {
    fn drop(&mut self) {
        self.0.seekers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes workers.
pub struct Workers {
    /// Where their instances come from.
    pub instances: Arc<Instances>,
    /// The export that they call.
    pub indices: ServiceIndices,
    /// Offered whenever a worker has room for a request, or its instance's place becomes free.
    pub room: Arc<Room>,
    /// Nothing more is accepted: what still lives ends when it is idle.
    pub retired: Arc<AtomicBool>,
}

impl HandlerState for Workers {
    type StoreData = InstanceState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(
        &self,
    ) -> wasmtime::Result<handler::Instance<InstanceState, Expiration, Worker>> {
        let context = self.instances.context().clone();
        let work = Work {
            id: 0,
            depth: 0,
            kind: WorkKind::Request,
            pin: None,
            trace: None,
        };
        let deadline = context.limits.deadline;
        let made = tokio::select! {
            biased;
            () = context.over.of(WorkKind::Request).cancelled() => {
                let component = context.component.clone();
                return Err(InvokeError::Retired { component }.into());
            }
            made = tokio::time::timeout(deadline, self.instances.try_make(work)) => made,
        };
        let made = made.map_err(|_| InvokeError::Deadline {
            component: context.component.clone(),
            deadline,
        })?;
        let made = made?.ok_or(NoPlace)?;
        let (mut store, instance, place) = made.into_parts();
        let life = Arc::<Life>::default();
        let proxy = Proxy::P3(self.indices.load(&mut store, &instance)?);
        Ok(handler::Instance {
            store,
            proxy,
            view: InstanceState::http,
            expiration: Expiration {
                context: context.clone(),
                life: life.clone(),
                timer: None,
                over: Ends::of(context.clone(), WorkKind::Request),
            },
            state: Worker {
                context,
                life,
                room: self.room.clone(),
                retired: self.retired.clone(),
                place: Mutex::new(Some(place)),
            },
        })
    }
}

/// One instance's policy.
pub struct Worker {
    context: Arc<Context>,
    life: Arc<Life>,
    room: Arc<Room>,
    retired: Arc<AtomicBool>,
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
            self.room.offer();
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, InstanceState>,
        data: RequestData,
        task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        let life = self.life.clone();
        let others = life.exchanges.any_wanted();
        store.data_mut().begin_task(
            task,
            data.accepted.work.clone(),
            &data.accepted.callees,
            others,
        );
        life.exchanges.living().push(data.exchange.clone());
        life.owed.add(data.accepted.lease.clone());
        // Whoever waits for the response waits for no longer than its deadline.
        Box::pin(async move {
            data.exchange.abandoned().await;
            life.expired.store(true, Ordering::Relaxed);
            // The guest goes on with it.
            life.owed.add(data.accepted);
        })
    }

    fn drop(&self, store: Store<InstanceState>, result: Result<(), wasmtime::Error>) {
        // A worker that is dropped with the whole host reports a panic, which it is not.
        let retired = self.retired.load(Ordering::Relaxed);
        let place = self
            .place
            .lock()
            .expect("no holder of this lock panics")
            .take();
        let failed = result.is_err();
        match result {
            Err(_) if self.life.overdue.load(Ordering::Relaxed) => tracing::debug!(
                component = %self.context.component,
                revision = %self.context.revision,
                "instance ended before its work did"
            ),
            Err(error) if !retired => {
                self.context.trapped();
                tracing::warn!(
                    component = %self.context.component,
                    revision = %self.context.revision,
                    memory_refused = store.data().limiter.refused(),
                    error = format!("{error:#}"),
                    "instance ended with a failure"
                );
            }
            Ok(()) | Err(_) => {}
        }
        let unfinished = if failed {
            self.life.exchanges.living().clone()
        } else {
            Vec::new()
        };
        for exchange in &unfinished {
            exchange.stop();
        }
        let room = self.room.clone();
        let end = move |store, place: Option<Place>| {
            drop(store);
            drop(place);
            room.offer();
        };
        match Handle::try_current() {
            // With the store would go what the guest wrote of them.
            Ok(threads) if !unfinished.is_empty() => {
                let idle = self.context.limits.response_idle;
                threads.spawn(async move {
                    for exchange in unfinished {
                        exchange.settled(idle).await;
                    }
                    end(store, place);
                });
            }
            Ok(_) | Err(_) => end(store, place),
        }
    }
}

/// Requests that one instance serves where the manifest does not say: what `wasmtime serve` does.
pub const REQUESTS_MAX_DEFAULT: u32 = 128;

/// When an instance is dropped.
pub struct Expiration {
    context: Arc<Context>,
    life: Arc<Life>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The revision's time is over.
    over: Ends,
}

impl Expiration {
    /// When an instance in this state is dropped, as things stand; `None` for at once.
    fn until(&self, status: WorkerStatus, start: Instant) -> Option<Instant> {
        let limits = &self.context.limits;
        let exchanges = &self.life.exchanges;
        match status {
            WorkerStatus::Idle => {
                self.life.owed.settle();
                drop(exchanges.living());
                Some(start + self.context.reuse.idle_timeout)
            }
            // A guest in a loop does not let the handler learn that its clients are gone.
            WorkerStatus::Requests if !exchanges.any_wanted() => None,
            WorkerStatus::Requests => Some(start + limits.deadline + STUCK_GRACE),
            // Mostly bodies that are still written.
            WorkerStatus::PostReturn => {
                let stalls = exchanges.last_stalls(limits.response_idle);
                // One that is stuck would keep the handler's wake-ups from workers that are not.
                if stalls.is_none() && self.life.expired.load(Ordering::Relaxed) {
                    return None;
                }
                let idles = start + limits.response_idle;
                Some(stalls.map_or(idles, |stalls| stalls.max(idles)))
            }
        }
    }
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        status: WorkerStatus,
        start: StdInstant,
    ) -> Poll<()> {
        loop {
            let until = match self.over.poll(cx) {
                Poll::Ready(()) => None,
                Poll::Pending => self.until(status, Instant::from_std(start)),
            };
            // A timer that is due no later is left as it is, and looks when it is.
            if let (Some(timer), Some(until)) = (&mut self.timer, until)
                && timer.deadline() <= until
            {
                // Also in a task that has had its turn.
                ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            }
            let now = Instant::now();
            let Some(until) = until.filter(|until| *until > now) else {
                let overdue = status != WorkerStatus::Idle;
                self.life.overdue.store(overdue, Ordering::Relaxed);
                return Poll::Ready(());
            };
            // A body's turn may change meanwhile, and then it is due earlier.
            let look = until.min(now + self.context.limits.response_idle);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(look),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(look))),
            }
        }
    }
}
