//! Keeps one connection up: makes it, asks over it every now and then, and makes it anew when it is
//! lost.
//!
//! ```text
//! Unknown --connected--> Up --lost, or silent--> Away --connected--> Up
//!        \--refused-----------------------------/  \--refused: again, after a pause
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::{Notify, watch};

use super::link::{Endpoint, Link};

/// First pause between attempts to connect, and the longest: a server that comes back is found
/// within a second.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often a connection that seems well is asked: a server that fell silent is noticed within this
/// and [`PING_TIMEOUT`]. Fifty bytes a second.
const PING_EVERY: Duration = Duration::from_secs(1);

/// How long a server may say nothing at all before it counts as away: shorter than the wait for one
/// answer, so that all callers but the first fail at once, and longer than a fork of a large server.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// How the connection stands.
#[derive(Clone)]
pub(super) enum State {
    /// Nobody has tried yet. *Allowed next:* `Up`, `Away`.
    Unknown,
    /// Commands go over this. *Allowed next:* `Away`.
    Up(Link),
    /// Commands fail at once. *Allowed next:* `Up`, or `Away` for another reason.
    Away(Arc<RedisError>),
}

/// What the keeper and those whom it serves share.
#[derive(Default)]
pub(super) struct Signals {
    /// Somebody has reason to believe that the connection is lost.
    pub(super) doubt: Notify,
    /// The bell's channel is to be subscribed to, on every connection.
    pub(super) listening: AtomicBool,
}

/// The task that keeps one connection.
pub(super) struct Keeper {
    pub(super) endpoint: Endpoint,
    pub(super) address: Arc<str>,
    pub(super) channel: String,
    pub(super) signals: Arc<Signals>,
    pub(super) state: watch::Sender<State>,
}

impl Keeper {
    /// Works until nobody has use for the connection any more.
    pub(super) async fn run(self) {
        let unused = self.state.clone();
        tokio::select! {
            () = unused.closed() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut pause = RECONNECT_PAUSES.0;
        loop {
            match self.connect().await {
                Ok((link, listens)) => {
                    self.found(&link);
                    pause = RECONNECT_PAUSES.0;
                    let lost = self.until_lost(&link, listens).await;
                    self.lost(lost);
                }
                Err(error) => {
                    self.lost(error);
                    // Half of the pause is chance, so that many hosts do not come all at once.
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(RECONNECT_PAUSES.1);
                }
            }
        }
    }

    /// A connection whose server answers, and whether it listens for the bell. A server that still
    /// loads its data does not count.
    async fn connect(&self) -> Result<(Link, bool), RedisError> {
        let link = self.endpoint.connect().await?;
        ping(&link).await?;
        let listens = self.signals.listening.load(Ordering::Acquire);
        if listens {
            link.clone().subscribe(&self.channel).await?;
        }
        Ok((link, listens))
    }

    async fn until_lost(&self, link: &Link, listens: bool) -> RedisError {
        // Whoever asked to listen while this connection was made saw none to subscribe on.
        if !listens
            && self.signals.listening.load(Ordering::Acquire)
            && let Err(error) = link.clone().subscribe(&self.channel).await
        {
            return error;
        }
        loop {
            let _ = tokio::time::timeout(PING_EVERY, self.signals.doubt.notified()).await;
            if let Err(error) = ping(link).await {
                return error;
            }
        }
    }

    fn found(&self, link: &Link) {
        let before = self.state.send_replace(State::Up(link.clone()));
        match before {
            State::Unknown => {
                tracing::debug!(address = %self.address, "connected to Redis");
            }
            State::Away(_) => tracing::info!(address = %self.address, "Redis is there again"),
            State::Up(_) => {}
        }
    }

    fn lost(&self, error: RedisError) {
        let reason = error.to_string();
        let before = self.state.send_replace(State::Away(Arc::new(error)));
        match before {
            State::Up(_) => {
                tracing::warn!(address = %self.address, reason, "Redis is lost; what needs it fails until it is there again");
            }
            State::Unknown => {
                tracing::warn!(address = %self.address, reason, "Redis cannot be reached yet; what needs it fails until it can");
            }
            State::Away(_) => {
                tracing::debug!(address = %self.address, reason, "Redis is still away");
            }
        }
    }
}

async fn ping(link: &Link) -> Result<(), RedisError> {
    match tokio::time::timeout(PING_TIMEOUT, link.clone().ping()).await {
        // A user who may not ask was answered.
        Ok(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
        Ok(answered) => answered,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
