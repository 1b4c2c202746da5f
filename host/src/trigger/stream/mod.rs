//! Subscriptions: a subject's messages, brought to a component.
//!
//! ```text
//! claim -> delivery -> dispatch -> its place is free -> acknowledge | retry | dead letter
//!             \- lease extended while the instance works -/
//! ```
//!
//! A subscription claims only what it has free places for, and all together have no more places than
//! there are instances ([`places`]): nothing that is leased waits for an instance. What was handled gives
//! its place back before it is settled ([`underway`]). What the host could not have handled after all,
//! since requests have the instances, goes back at once for another host, and nothing is claimed for a
//! pause. On shutdown it claims nothing more and finishes what it holds; what does not finish in time
//! goes back to its stream without counting as an attempt.

mod claims;
mod places;
mod underway;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::capability::streams::{Delivery, Group, StreamError, Streams};
use crate::dispatch::{Dispatch, Settlement};
use crate::manifest::model::Subscription;
use crate::telemetry::{SubscriptionMetrics, in_words};
pub use crate::trigger::stop::Stop;
use claims::{Claim, Claims};
pub use places::{AllTurns, Places, Turns};
use underway::{Handled, Underway};

/// First pause after the backend failed, so that a broken one is not asked in a loop, and the longest:
/// one that is there again is found within two seconds.
const BACKEND_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Extensions within one lease: two may fail before it is lost.
const EXTENSIONS_PER_LEASE: u32 = 3;

/// How long a subscription whose turn it is waits for the message that it gave back, at most: it is due
/// at once, unless another host took it.
const TURN_WAIT: Duration = Duration::from_millis(250);

/// One subscription at work.
pub struct Consumer {
    subscription: Subscription,
    group: Group,
    streams: Arc<dyn Streams>,
    dispatch: Arc<Dispatch>,
    metrics: SubscriptionMetrics,
    places: watch::Sender<Places>,
    /// The backend knows the group.
    declared: AtomicBool,
}

impl Consumer {
    /// A consumer of the subscription that may hold as many deliveries as `places` says.
    pub fn new(
        subscription: Subscription,
        streams: Arc<dyn Streams>,
        dispatch: Arc<Dispatch>,
        metrics: SubscriptionMetrics,
        places: Places,
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
            places: watch::Sender::new(places),
            declared: AtomicBool::new(false),
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
            .await?;
        self.declared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets it hold as many deliveries as `places` says.
    pub fn give(&self, places: Places) {
        self.places.send_if_modified(|held| match *held == places {
            true => false,
            false => {
                *held = places;
                true
            }
        });
    }

    /// Works until it is stopped and has settled all that it holds.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let (underway, mut working) = (Arc::<Underway>::default(), JoinSet::new());
        let mut failing = Failing::default();
        let mut changes = self.places.subscribe();
        let mut claims = Claims::new();
        loop {
            while working.try_join_next().is_some() {}
            let places = changes.borrow_and_update().clone();
            let paused = underway.paused();
            let wait = match paused {
                Some(until) => Some(until),
                None => claims.ask(&underway, places.own, |max| self.clone().claiming(max)),
            };
            tokio::select! {
                biased;
                () = stop.claiming.cancelled() => break,
                Ok(()) = changes.changed() => claims.cancel(),
                () = underway.changed() => {
                    if underway.paused().is_some() {
                        claims.cancel();
                    }
                }
                claimed = claims.next() => match claimed {
                    Ok(deliveries) => {
                        failing.ended(&self.group);
                        for delivery in deliveries {
                            let turns = places.turns.clone();
                            working.spawn(self.clone().hold(delivery, &underway, turns, &stop));
                        }
                    }
                    Err(error) => {
                        claims.cancel();
                        underway.pause(failing.pause(&self.group, &error));
                    }
                },
                () = until(wait) => {}
            }
        }
        drop(claims);
        while working.join_next().await.is_some() {}
    }

    /// Takes a place for a delivery, which is worked on from then on.
    fn hold(
        self: Arc<Self>,
        delivery: Delivery,
        underway: &Arc<Underway>,
        turns: Option<Turns>,
        stop: &Stop,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (handled, held) = underway.take();
        let stop = stop.clone();
        async move {
            match turns {
                Some(turns) => self.work_in_turn(delivery, handled, turns, stop).await,
                None => self.work(delivery, handled, &stop).await,
            }
            drop(held);
        }
    }

    fn claiming(self: Arc<Self>, max: usize) -> Claim<Delivery> {
        async move { self.claim(max).await }.boxed()
    }

    /// Claims at most `max` deliveries, for a group that is made known where the backend does not know it.
    async fn claim(&self, max: usize) -> Result<Vec<Delivery>, StreamError> {
        if !self.declared.load(Ordering::Relaxed) {
            self.declare().await?;
        }
        let claimed = self.streams.claim(&self.group, max).await;
        if let Err(StreamError::UnknownGroup { .. }) = &claimed {
            // Somebody forgot it, or the backend lost it: this subscription still wants it.
            self.declared.store(false, Ordering::Relaxed);
        }
        claimed
    }

    /// Works on a delivery as soon as there is an instance for it. Until then the message is given back:
    /// another host may have one.
    async fn work_in_turn(&self, delivery: Delivery, handled: Handled, turns: Turns, stop: Stop) {
        if let Ok(_turn) = turns.permits.clone().try_acquire_owned() {
            return self.work(delivery, handled, &stop).await;
        }
        self.settled(&delivery, self.streams.release(&delivery).await);
        let claim = async {
            let turn = turns.permits.acquire_owned().await;
            let claimed = self.claim(1);
            (turn, tokio::time::timeout(TURN_WAIT, claimed).await)
        };
        let (turn, claimed) = tokio::select! {
            biased;
            () = stop.claiming.cancelled() => return,
            claimed = claim => claimed,
        };
        match claimed {
            Ok(Ok(mut claimed)) => {
                if let Some(delivery) = claimed.pop() {
                    self.work(delivery, handled, &stop).await;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(group = %self.group, %error, "stream cannot be read");
                handled.pause(BACKEND_PAUSES.0);
            }
            // Somebody else took it.
            Err(_) => {}
        }
        drop(turn);
    }

    /// Has the delivery handled, gives its place back, and settles it. Where the host could not have it
    /// handled, nothing more is claimed for a pause.
    async fn work(&self, delivery: Delivery, handled: Handled, stop: &Stop) {
        self.metrics.deliveries.inc();
        let work = self.dispatch.delivery(&delivery);
        let (trace_id, request_id) = (work.trace_id(), work.id);
        let settlement = tokio::select! {
            biased;
            () = stop.working.cancelled() => None,
            // Before the lease is looked at: most end at once, and need no timer.
            settlement = self.dispatch.deliver(&self.subscription, &delivery, &work) => Some(settlement),
            lost = self.extend_until_lost(&delivery) => {
                tracing::warn!(group = %self.group, entry_id = %delivery.entry, request_id, trace_id, error = %lost, "delivery given up: its lease is lost");
                return;
            }
        };
        if let Some(Settlement::Defer { after }) = &settlement {
            handled.pause(*after);
        }
        drop(handled);
        let settled = match settlement {
            None | Some(Settlement::Defer { .. }) => self.streams.release(&delivery).await,
            Some(Settlement::Acknowledge) => self.streams.acknowledge(&delivery).await,
            Some(Settlement::Retry { after, reason }) => {
                self.metrics.retries.inc();
                self.streams.retry(&delivery, after, &reason).await
            }
            Some(Settlement::DeadLetter { reason }) => {
                self.metrics.dead.inc();
                tracing::error!(group = %self.group, entry_id = %delivery.entry, request_id, trace_id, attempt = delivery.attempt, reason, "message moved to the dead letters");
                self.streams.dead_letter(&delivery, &reason).await
            }
        };
        self.settled(&delivery, settled);
    }

    fn settled(&self, delivery: &Delivery, settled: Result<(), StreamError>) {
        if let Err(error) = settled {
            // The lease runs out, and the message is delivered again: at least once holds.
            tracing::warn!(group = %self.group, entry_id = %delivery.entry, error = %error, "delivery could not be settled");
        }
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

/// Resolves at a time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
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
