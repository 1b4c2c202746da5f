//! Channels of Redis: their messages, brought to a component.
//!
//! ```text
//! listener -> queue -> dispatch -> counted
//!     ^ again, after a pause that grows, when the connection is lost
//! ```
//!
//! At most once: a message that comes while nobody listens, or that a handler fails on, is lost, and
//! every host that runs the application gets each. Whoever needs more binds the same handler to a
//! stream. What has come is handled, also by a revision that replaces another, and on shutdown within
//! its grace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capability::channels::{ListenError, Listener};
use crate::dispatch::Dispatch;
use crate::manifest::model::Channel;
use crate::runtime::{Incoming, InvokeError};
use crate::telemetry::{ChannelMetrics, in_words};
use crate::trigger::stop::Stop;

/// First pause before a lost connection is made again, and the longest.
const CONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Messages that wait for an instance. Redis keeps none: what comes beyond is lost and counted.
const QUEUE_MAX: usize = 4096;

/// Bytes that they may have together.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Pause before a message is tried again for which there was no instance, and the longest.
const BUSY_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One channel's messages, on their way to a component.
pub struct Subscriber {
    channel: Channel,
    /// Messages that are handled at once.
    concurrency: usize,
    dispatch: Arc<Dispatch>,
    metrics: ChannelMetrics,
    queued_bytes: AtomicUsize,
}

impl Subscriber {
    /// Brings the channel's messages to its component, `concurrency` at once.
    pub fn new(
        channel: Channel,
        concurrency: usize,
        dispatch: Arc<Dispatch>,
        metrics: ChannelMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            channel,
            concurrency: concurrency.max(1),
            dispatch,
            metrics,
            queued_bytes: AtomicUsize::new(0),
        })
    }

    /// Works until it is stopped and has handled what had come.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let listening = self.listen(queue, &stop.claiming);
        let handling = self.handle_all(queued, &stop.working);
        tokio::join!(listening, handling);
    }

    /// Listens until it is stopped.
    async fn listen(&self, queue: mpsc::Sender<Bytes>, stop: &CancellationToken) {
        let (first, longest) = CONNECT_PAUSES;
        let mut away: Option<Duration> = None;
        let listening = async {
            loop {
                let Channel {
                    address, channel, ..
                } = &self.channel;
                let lost = match Listener::open(address, channel).await {
                    Ok(listener) => {
                        if away.take().is_some() {
                            tracing::info!(channel, component = %self.channel.component, "channel is listened to again");
                        }
                        self.metrics.listening.set(1);
                        let lost = self.hear(listener, &queue).await;
                        self.metrics.listening.set(0);
                        lost
                    }
                    Err(error) => error,
                };
                let pause = match away {
                    Some(pause) => (pause * 2).min(longest),
                    None => {
                        tracing::error!(channel, component = %self.channel.component, error = in_words(&lost), "channel is not listened to: its messages are lost until it is again");
                        first
                    }
                };
                away = Some(pause);
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {
                self.metrics.listening.set(0);
            }
            () = listening => {}
        }
    }

    /// Queues what is heard until the connection is lost.
    async fn hear(&self, mut listener: Listener, queue: &mpsc::Sender<Bytes>) -> ListenError {
        loop {
            let body = match listener.next().await {
                Ok(body) => body,
                Err(error) => return error,
            };
            self.metrics.received.inc();
            let bytes = body.len();
            let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if queued > QUEUE_BYTES_MAX || queue.try_send(body).is_err() {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.metrics.dropped.inc();
                tracing::warn!(channel = self.channel.channel, component = %self.channel.component, "message of a channel lost: more wait for an instance than may");
            }
        }
    }

    /// Has everything that was queued handled, until nothing more can come or it is given up.
    async fn handle_all(
        self: &Arc<Self>,
        mut queued: mpsc::Receiver<Bytes>,
        stop: &CancellationToken,
    ) {
        let mut working = JoinSet::new();
        let all = async {
            loop {
                while working.len() >= self.concurrency {
                    working.join_next().await;
                }
                tokio::select! {
                    Some(_) = working.join_next() => {}
                    next = queued.recv() => match next {
                        Some(body) => {
                            self.queued_bytes.fetch_sub(body.len(), Ordering::Relaxed);
                            working.spawn(self.clone().handle(body));
                        }
                        None => break,
                    },
                }
            }
            while working.join_next().await.is_some() {}
        };
        let given_up = tokio::select! {
            () = all => false,
            () = stop.cancelled() => true,
        };
        if given_up {
            let lost = queued.len() + working.len();
            if lost > 0 {
                tracing::warn!(channel = self.channel.channel, component = %self.channel.component, lost, "messages of a channel lost: they were not handled within the shutdown's grace");
            }
        }
    }

    /// Has one message handled, as soon as there is an instance for it.
    async fn handle(self: Arc<Self>, body: Bytes) {
        let message = Incoming {
            subject: self.channel.channel.clone(),
            body,
            reply_to: None,
            delivery: None,
        };
        let work = self.dispatch.channel_message();
        let (mut pause, longest) = BUSY_PAUSES;
        loop {
            let component = &self.channel.component;
            let handled = self
                .dispatch
                .channel(component, message.clone(), work.clone());
            match handled.await {
                Ok(()) => self.metrics.handled.inc(),
                Err(InvokeError::Overloaded { .. } | InvokeError::PoolExhausted { .. }) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    continue;
                }
                Err(_) => self.metrics.failed.inc(),
            };
            return;
        }
    }
}
