//! Subscriptions: a subject's messages, brought to a component.
//!
//! ```text
//! claim -> delivery -> dispatch -> acknowledge | retry | dead letter
//!             \- lease extended while the instance works -/
//! ```
//!
//! A subscription never holds more leases than it has concurrency for. On shutdown it claims nothing
//! more and finishes what it holds; what does not finish in time goes back to its stream without
//! counting as an attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capability::streams::{Delivery, Group, StreamError, Streams};
use crate::dispatch::{Dispatch, Settlement};
use crate::manifest::model::Subscription;
use crate::telemetry::{SubscriptionMetrics, in_words};

/// First pause after the backend failed, so that a broken one is not asked in a loop, and the longest:
/// one that is there again is found within two seconds.
const BACKEND_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Extensions within one lease: two may fail before it is lost.
const EXTENSIONS_PER_LEASE: u32 = 3;

/// One subscription at work.
pub struct Consumer {
    subscription: Subscription,
    group: Group,
    streams: Arc<dyn Streams>,
    dispatch: Arc<Dispatch>,
    metrics: SubscriptionMetrics,
    /// The backend knows the group.
    declared: AtomicBool,
}

/// How a consumer is told to end.
#[derive(Clone)]
pub struct Stop {
    /// Claim nothing more.
    pub claiming: CancellationToken,
    /// Give back what is still worked on.
    pub working: CancellationToken,
}

impl Consumer {
    /// A consumer of the subscription.
    pub fn new(
        subscription: Subscription,
        streams: Arc<dyn Streams>,
        dispatch: Arc<Dispatch>,
        metrics: SubscriptionMetrics,
    ) -> Arc<Self> {
        let group = Group {
            subject: subscription.subject.clone(),
            name: subscription.component.clone(),
        };
        Arc::new(Self {
            subscription,
            group,
            streams,
            dispatch,
            metrics,
            declared: AtomicBool::new(false),
        })
    }

    /// Makes the group known to the backend, so that it owns what is published from here on. Where
    /// this fails, [`run`](Self::run) does it once the backend lets it.
    ///
    /// # Errors
    ///
    /// The backend failed.
    pub async fn declare(&self) -> Result<(), StreamError> {
        self.streams
            .declare(&self.group, self.subscription.lease)
            .await?;
        self.declared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Works until it is stopped and has settled all that it holds.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let places = Arc::new(Semaphore::new(self.subscription.concurrency));
        let mut working = JoinSet::new();
        let mut failing = Failing::default();
        'claims: loop {
            let claim = self.claim(&places);
            tokio::pin!(claim);
            let claimed = loop {
                tokio::select! {
                    biased;
                    () = stop.claiming.cancelled() => break 'claims,
                    // Reaping as they end keeps the set no larger than the concurrency. The claim goes
                    // on: cancelled, it would have to give back what was on its way.
                    Some(_) = working.join_next() => {}
                    claimed = &mut claim => break claimed,
                }
            };
            match claimed {
                Ok(deliveries) => {
                    failing.ended(&self.group);
                    for (delivery, place) in deliveries {
                        let consumer = self.clone();
                        let give_back = stop.working.clone();
                        working.spawn(async move {
                            consumer.work(delivery, give_back).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    let pause = failing.pause(&self.group, &error);
                    tokio::select! {
                        () = stop.claiming.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        while working.join_next().await.is_some() {}
    }

    /// Claims as many deliveries as there are free places. Cancelling claims nothing.
    async fn claim(
        &self,
        places: &Arc<Semaphore>,
    ) -> Result<Vec<(Delivery, OwnedSemaphorePermit)>, StreamError> {
        let first = places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let mut free = vec![first];
        while let Ok(place) = places.clone().try_acquire_owned() {
            free.push(place);
        }
        if !self.declared.load(Ordering::Relaxed) {
            self.declare().await?;
        }
        let claimed = self.streams.claim(&self.group, free.len()).await;
        if let Err(StreamError::UnknownGroup { .. }) = &claimed {
            // Somebody forgot it, or the backend lost it: this subscription still wants it.
            self.declared.store(false, Ordering::Relaxed);
        }
        Ok(claimed?.into_iter().zip(free).collect())
    }

    async fn work(&self, delivery: Delivery, give_back: CancellationToken) {
        self.metrics.deliveries.inc();
        let settlement = tokio::select! {
            biased;
            () = give_back.cancelled() => None,
            lost = self.extend_until_lost(&delivery) => {
                tracing::warn!(group = %self.group, entry_id = %delivery.entry, error = %lost, "delivery given up: its lease is lost");
                return;
            }
            settlement = self.deliver(&delivery) => Some(settlement),
        };
        let settled = match &settlement {
            None | Some(Settlement::Defer { .. }) => self.streams.release(&delivery).await,
            Some(Settlement::Acknowledge) => self.streams.acknowledge(&delivery).await,
            Some(Settlement::Retry { after, reason }) => {
                self.metrics.retries.inc();
                self.streams.retry(&delivery, *after, reason).await
            }
            Some(Settlement::DeadLetter { reason }) => {
                self.metrics.dead.inc();
                tracing::error!(group = %self.group, entry_id = %delivery.entry, attempt = delivery.attempt, reason, "message moved to the dead letters");
                self.streams.dead_letter(&delivery, reason).await
            }
        };
        if let Err(error) = settled {
            // The lease runs out, and the message is delivered again: at least once holds.
            tracing::warn!(group = %self.group, entry_id = %delivery.entry, error = %error, "delivery could not be settled");
        }
    }

    /// Has the delivery handled. One that is put off is held for its pause: what is given back without
    /// counting is due at once.
    async fn deliver(&self, delivery: &Delivery) -> Settlement {
        let settlement = self.dispatch.deliver(&self.subscription, delivery).await;
        if let Settlement::Defer { after } = settlement {
            tokio::time::sleep(after).await;
        }
        settlement
    }

    /// Extends the lease for as long as it is polled; ends only when it cannot.
    async fn extend_until_lost(&self, delivery: &Delivery) -> StreamError {
        let every = self.subscription.lease / EXTENSIONS_PER_LEASE;
        loop {
            tokio::time::sleep(every).await;
            match self.streams.extend(delivery).await {
                Ok(()) => {}
                Err(lost @ StreamError::LeaseLost { .. }) => return lost,
                Err(error) => {
                    tracing::warn!(group = %self.group, entry_id = %delivery.entry, error = %error, "lease could not be extended");
                }
            }
        }
    }

    /// Takes the figures that are asked for, not counted, from the backend.
    pub async fn observe(&self) {
        match self.streams.status(&self.group).await {
            Ok(status) => {
                self.metrics.lag.set(status.lag);
                self.metrics.pending.set(status.pending);
            }
            Err(error) => {
                tracing::debug!(group = %self.group, error = %error, "stream gives no status");
            }
        }
    }
}

/// A backend that fails: told once, and asked again after pauses that grow.
#[derive(Default)]
struct Failing {
    pause: Option<Duration>,
}

impl Failing {
    /// How long to wait before it is asked again.
    fn pause(&mut self, group: &Group, error: &StreamError) -> Duration {
        let (first, longest) = BACKEND_PAUSES;
        let pause = match self.pause {
            Some(pause) => (pause * 2).min(longest),
            None => {
                tracing::error!(%group, error = in_words(error), "stream cannot be read");
                first
            }
        };
        self.pause = Some(pause);
        pause
    }

    fn ended(&mut self, group: &Group) {
        if self.pause.take().is_some() {
            tracing::info!(%group, "stream can be read again");
        }
    }
}
