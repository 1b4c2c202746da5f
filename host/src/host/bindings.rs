//! What binds the world to the application right now: routes and subscriptions, which a manifest that
//! is applied may change while they work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::observation;
use crate::admin::streams::Subscribed;
use crate::capability::streams::{PatternStreams, StreamError, Streams as _};
use crate::dispatch::Dispatch;
use crate::manifest::model::{Application, Channel, Subscription};
use crate::routing::Router;
use crate::telemetry::{Metrics, in_words};
use crate::trigger::channel::Subscriber;
use crate::trigger::stream::{AllTurns, Consumer, Places, Stop};

/// How often streams that hosts share are asked for subjects that patterns match: a host that published
/// the first message of one and died leaves it to the others to find.
const SUBJECTS_ASKED: Duration = Duration::from_secs(5);

/// Why a lock can be taken.
const UNPOISONED: &str = "no holder of this lock panics";

/// The routes and subscriptions that hold.
pub(super) struct Bindings {
    streams: Arc<PatternStreams>,
    dispatch: Arc<Dispatch>,
    metrics: Arc<Metrics>,
    /// Instances that may live on this host.
    instances_max: usize,
    bound: Mutex<Vec<Bound>>,
    channels: Mutex<Vec<BoundChannel>>,
    /// What was bound last, and whose turn it is to bind.
    application: Mutex<Option<Application>>,
    binding: Semaphore,
    turns: Mutex<AllTurns>,
    /// The same, for operators.
    subscribed: Mutex<Subscribed>,
    /// Set once subscriptions work.
    stop: Mutex<Option<Stop>>,
    tasks: TaskTracker,
}

/// One subscription that holds.
#[derive(Clone)]
struct Bound {
    subscription: Subscription,
    consumer: Arc<Consumer>,
    /// It claims nothing more once this is cancelled.
    ended: CancellationToken,
}

/// One channel that is listened to.
#[derive(Clone)]
struct BoundChannel {
    channel: Channel,
    concurrency: usize,
    subscriber: Arc<Subscriber>,
    /// It listens no more once this is cancelled.
    ended: CancellationToken,
}

impl Bindings {
    /// Nothing is bound yet.
    pub(super) fn new(
        streams: Arc<PatternStreams>,
        dispatch: Arc<Dispatch>,
        metrics: Arc<Metrics>,
        instances_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            streams,
            dispatch,
            metrics,
            instances_max,
            bound: Mutex::default(),
            channels: Mutex::default(),
            application: Mutex::default(),
            binding: Semaphore::new(1),
            turns: Mutex::default(),
            subscribed: Mutex::default(),
            stop: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Makes the application's routes and subscriptions hold in place of the earlier ones. What did
    /// not change works on; what is gone finishes what it holds.
    ///
    /// # Errors
    ///
    /// The streams failed; then nothing has changed.
    pub(super) async fn bind(&self, application: &Application) -> Result<(), StreamError> {
        let _turn = self.binding.acquire().await;
        self.streams.set(&application.wildcards);
        let expanded = self.expanded(application).await?;
        self.bind_all(&expanded).await?;
        *self.application.lock().expect(UNPOISONED) = Some(application.clone());
        Ok(())
    }

    /// The same application with a subscription for each subject that a pattern matches by now.
    async fn expanded(&self, application: &Application) -> Result<Application, StreamError> {
        let mut expanded = application.clone();
        let subjects = match self.streams.matching().await {
            Ok(subjects) => subjects,
            Err(error) => {
                self.may_come_later(Err(error))?;
                Vec::new()
            }
        };
        for subject in &subjects {
            for wildcard in &application.wildcards {
                let wanted = wildcard.on(subject);
                let mut there = expanded.subscriptions.iter();
                let named = there.any(|s| s.subject == *subject && s.component == wanted.component);
                if wildcard.pattern.matches(subject) && !named {
                    expanded.subscriptions.push(wanted);
                }
            }
        }
        Ok(expanded)
    }

    /// Subscribes to subjects that patterns match as they appear, until it is stopped.
    async fn follow_subjects(&self, stop: Stop) {
        let mut ask_again = self.streams.shared();
        loop {
            let asks = async {
                match ask_again {
                    true => tokio::time::sleep(SUBJECTS_ASKED).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.claiming.cancelled() => return,
                () = self.streams.appeared() => {}
                () = asks => {}
            }
            let subscribed = self.subscribe_to_new().await;
            ask_again = subscribed.is_err() || self.streams.shared();
            if let Err(error) = subscribed {
                tracing::warn!(
                    error = in_words(&error),
                    "new subjects cannot be subscribed to yet"
                );
            }
        }
    }

    async fn subscribe_to_new(&self) -> Result<(), StreamError> {
        let _turn = self.binding.acquire().await;
        let application = self.application.lock().expect(UNPOISONED).clone();
        let Some(application) = application.filter(|a| !a.wildcards.is_empty()) else {
            return Ok(());
        };
        let expanded = self.expanded(&application).await?;
        if expanded.subscriptions == self.subscribed().subscriptions {
            return Ok(());
        }
        self.bind_all(&expanded).await
    }

    async fn bind_all(&self, application: &Application) -> Result<(), StreamError> {
        for (subject, limits) in &application.streams {
            let limited = self.streams.limit(subject, limits.length_max).await;
            self.may_come_later(limited)?;
        }
        let earlier = self.lock().clone();
        let mut bound = Vec::new();
        let mut turns = self.turns.lock().expect(UNPOISONED).clone();
        let all_places = turns.deal(application, self.instances_max);
        for (subscription, places) in application.subscriptions.iter().zip(&all_places) {
            let same = earlier
                .iter()
                .find(|bound| bound.subscription == *subscription);
            bound.push(match same {
                Some(same) => same.clone(),
                None => self.make(subscription, places.clone()).await?,
            });
        }
        *self.turns.lock().expect(UNPOISONED) = turns;
        for (bound, places) in bound.iter().zip(all_places) {
            bound.consumer.give(places);
        }
        for new in bound.iter().filter(|bound| !holds(&earlier, bound)) {
            self.work(new);
        }
        for gone in earlier.iter().filter(|gone| !holds(&bound, gone)) {
            gone.ended.cancel();
        }
        *self.lock() = bound;
        self.bind_channels(application);
        *self.subscribed.lock().expect(UNPOISONED) = Subscribed {
            subscriptions: application.subscriptions.clone(),
            limits: application.streams.clone(),
            wildcards: application.wildcards.clone(),
        };
        self.dispatch.route_by(Router::new(&application.routes));
        self.may_come_later(forget_strangers(application, &self.streams).await)
    }

    /// Has the subscriptions work until `stop`.
    pub(super) fn start(self: &Arc<Self>, stop: Stop) {
        *self.stop.lock().expect(UNPOISONED) = Some(stop.clone());
        let bindings = self.clone();
        self.tasks
            .spawn(async move { bindings.follow_subjects(stop).await });
        for bound in self.lock().iter() {
            self.work(bound);
        }
        for channel in self.channels.lock().expect(UNPOISONED).iter() {
            self.listen(channel);
        }
    }

    /// Has the application's channels listened to in place of the earlier ones.
    fn bind_channels(&self, application: &Application) {
        let mut channels = self.channels.lock().expect(UNPOISONED);
        let bound = application.channels.iter().map(|channel| {
            let settings = application.components.get(&channel.component);
            let concurrency = settings.map_or(1, |component| component.limits.instances_max);
            let mut earlier = channels.iter();
            let same =
                earlier.find(|bound| bound.channel == *channel && bound.concurrency == concurrency);
            same.cloned().unwrap_or_else(|| BoundChannel {
                channel: channel.clone(),
                concurrency,
                subscriber: Subscriber::new(
                    channel.clone(),
                    concurrency,
                    self.dispatch.clone(),
                    self.metrics.channel(&channel.channel, &channel.component),
                ),
                ended: CancellationToken::new(),
            })
        });
        let bound: Vec<_> = bound.collect();
        let holds = |all: &[BoundChannel], one: &BoundChannel| {
            all.iter()
                .any(|other| Arc::ptr_eq(&other.subscriber, &one.subscriber))
        };
        for new in bound.iter().filter(|new| !holds(&channels, new)) {
            self.listen(new);
        }
        for gone in channels.iter().filter(|gone| !holds(&bound, gone)) {
            gone.ended.cancel();
        }
        *channels = bound;
    }

    /// Waits until no subscription holds anything. They were told to stop.
    pub(super) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes the figures that are asked for, not counted, from the backend.
    pub(super) async fn observe(&self) {
        let bound = self.lock().clone();
        let consumers = bound.into_iter().map(|bound| bound.consumer).collect();
        observation::observe(consumers, self.streams.clone(), &self.metrics).await;
    }

    /// What holds, as operators are told.
    pub(super) fn subscribed(&self) -> Subscribed {
        self.subscribed.lock().expect(UNPOISONED).clone()
    }

    async fn make(
        &self,
        subscription: &Subscription,
        places: Places,
    ) -> Result<Bound, StreamError> {
        let metrics = &self.metrics;
        let consumer = Consumer::new(
            subscription.clone(),
            self.streams.clone(),
            self.dispatch.clone(),
            metrics.subscription(&subscription.subject, &subscription.component),
            places,
        );
        self.may_come_later(consumer.declare().await)?;
        Ok(Bound {
            subscription: subscription.clone(),
            consumer,
            ended: CancellationToken::new(),
        })
    }

    /// Streams that hosts share may be away for a while: consumers declare their groups once they are
    /// there. Those that are this host's own have no excuse.
    fn may_come_later(&self, outcome: Result<(), StreamError>) -> Result<(), StreamError> {
        match outcome {
            Err(error @ (StreamError::Backend { .. } | StreamError::Index { .. }))
                if self.streams.shared() =>
            {
                tracing::debug!(error = in_words(&error), "the streams are away");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn work(&self, bound: &Bound) {
        let consumer = bound.consumer.clone();
        self.until_ended(bound.ended.clone(), |stop| consumer.run(stop));
    }

    fn listen(&self, bound: &BoundChannel) {
        let subscriber = bound.subscriber.clone();
        self.until_ended(bound.ended.clone(), |stop| subscriber.run(stop));
    }

    /// Runs what takes nothing more once the host is told to stop, or `ended` is cancelled. Nothing
    /// before the host serves.
    fn until_ended<R>(&self, ended: CancellationToken, run: impl FnOnce(Stop) -> R)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.lock().expect(UNPOISONED);
        let Some(stop) = stop.clone() else {
            return;
        };
        let own = Stop {
            claiming: stop.claiming.child_token(),
            working: stop.working,
        };
        let claiming = own.claiming.clone();
        let run = run(own);
        self.tasks.spawn(async move {
            tokio::pin!(run);
            tokio::select! {
                biased;
                () = &mut run => return,
                () = ended.cancelled() => claiming.cancel(),
            }
            run.await;
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Bound>> {
        self.bound.lock().expect(UNPOISONED)
    }
}

fn holds(all: &[Bound], one: &Bound) -> bool {
    all.iter()
        .any(|other| Arc::ptr_eq(&other.consumer, &one.consumer))
}

/// Forgets groups that no subscription names any more and that owe nothing: they would hold messages
/// until their subjects are full. Where other hosts use the streams, one may be about to consume from
/// it: operators forget it.
async fn forget_strangers(
    application: &Application,
    streams: &PatternStreams,
) -> Result<(), StreamError> {
    for group in streams.groups().await? {
        let named = application.subscriptions.iter().any(|subscription| {
            subscription.subject == group.subject && subscription.component == group.name
        });
        if named {
            continue;
        }
        if streams.shared() {
            tracing::warn!(%group, "no subscription of this host names this group: if none of another host does, forget it with `wharf streams forget`, or what it owes counts against the subject's length");
            continue;
        }
        let status = streams.status(&group).await;
        if status.is_ok_and(|status| status.lag + status.pending + status.dead == 0) {
            streams.forget(&group).await?;
        } else {
            tracing::warn!(%group, "no subscription names this group any more, and it holds messages that nobody handles: subscribe again, or they count against the subject's length");
        }
    }
    Ok(())
}
