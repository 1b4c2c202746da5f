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
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capability::streams::{Delivery, Group, StreamError, Streams};
use crate::dispatch::{Dispatch, Settlement};
use crate::manifest::model::Subscription;
use crate::telemetry::SubscriptionMetrics;

/// Pause after the backend failed, so that a broken one is not asked in a loop.
const BACKEND_PAUSE: Duration = Duration::from_secs(1);

/// Extensions within one lease: two may fail before it is lost.
const EXTENSIONS_PER_LEASE: u32 = 3;

/// One subscription at work.
pub struct Consumer {
    subscription: Subscription,
    group: Group,
    streams: Arc<dyn Streams>,
    dispatch: Arc<Dispatch>,
    metrics: SubscriptionMetrics,
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
        })
    }

    /// Makes the group known to the backend, so that it owns what is published from here on.
    ///
    /// # Errors
    ///
    /// The backend failed.
    pub async fn declare(&self) -> Result<(), StreamError> {
        self.streams
            .declare(&self.group, self.subscription.lease)
            .await
    }

    /// Works until it is stopped and has settled all that it holds.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let places = Arc::new(Semaphore::new(self.subscription.concurrency));
        let mut working = JoinSet::new();
        loop {
            let claimed = tokio::select! {
                biased;
                () = stop.claiming.cancelled() => break,
                // Reaping as they end keeps the set no larger than the concurrency.
                Some(_) = working.join_next() => continue,
                claimed = self.claim(&places) => claimed,
            };
            match claimed {
                Ok(deliveries) => {
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
                    tracing::error!(group = %self.group, error = %error, "stream cannot be read");
                    tokio::select! {
                        () = stop.claiming.cancelled() => break,
                        () = tokio::time::sleep(BACKEND_PAUSE) => {}
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
        let deliveries = self.streams.claim(&self.group, free.len()).await?;
        Ok(deliveries.into_iter().zip(free).collect())
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
    ///
    /// # Errors
    ///
    /// The backend failed; the earlier figures stay.
    pub async fn observe(&self) -> Result<(), StreamError> {
        let status = self.streams.status(&self.group).await?;
        self.metrics.lag.set(status.lag);
        self.metrics.pending.set(status.pending);
        self.metrics.waiting.set(status.waiting);
        self.metrics.dead_now.set(status.dead);
        let oldest = status.oldest_age.unwrap_or_default();
        self.metrics.oldest_age.set(oldest.as_secs_f64());
        Ok(())
    }
}
