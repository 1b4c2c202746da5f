//! The connection to Redis that the networked backends share.
//!
//! ```text
//! command, script -> Redis -> one multiplexed connection -> server | cluster
//!                      ^ up, or away       ^ kept by a task
//! message on the bell's channel -> Bell -> whoever waits
//! ```
//!
//! Commands of many callers are pipelined on one connection. A lost connection is made again with
//! backoff, in the background; what is asked meanwhile fails at once. No command is sent twice unless
//! the server said that it did not carry it out, so an error means that it may or may not have been.

mod bell;
mod keeper;
mod link;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use bell::Bell;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisFuture, Value};
use tokio::sync::watch;

use crate::config::model::RedisConfig;
use keeper::{Keeper, Signals, State};
use link::{Endpoint, Link, address};

/// Why Redis cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// The URL is not one.
    #[error("{url:?} is no Redis URL: write redis://HOST:PORT, or rediss://HOST:PORT for TLS")]
    Url {
        /// Without its password.
        url: String,
        /// What is wrong with it.
        #[source]
        source: RedisError,
    },
    /// It answered, and refuses.
    #[error("Redis at {address} refuses: check username and password_secret in [redis]")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        #[source]
        source: Arc<RedisError>,
    },
}

/// A connection. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Redis {
    state: watch::Receiver<State>,
    signals: Arc<Signals>,
    address: Arc<str>,
    prefix: Arc<str>,
    bell: Arc<Bell>,
}

impl Redis {
    /// Connects to `url` as `config` says, with `password` for its user, in the background; call it
    /// on a runtime.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::Url`].
    pub fn open(
        url: &str,
        config: &RedisConfig,
        password: Option<&str>,
    ) -> Result<Self, RedisOpenError> {
        install_crypto();
        let bell = Arc::new(Bell::default());
        let signals = Arc::new(Signals::default());
        let (heard, doubted) = (bell.clone(), signals.clone());
        let pushed = move |push: PushInfo| {
            heard.pushed(&push);
            if push.kind == PushKind::Disconnection {
                doubted.doubt.notify_one();
            }
        };
        let address: Arc<str> = address(url).into();
        let (sender, state) = watch::channel(State::Unknown);
        let redis = Self {
            state,
            signals: signals.clone(),
            address: address.clone(),
            prefix: config.prefix.as_str().into(),
            bell,
        };
        let keeper = Keeper {
            endpoint: Endpoint::new(url, config, password, Arc::new(pushed))?,
            address,
            channel: redis.bell_channel(),
            signals,
            state: sender,
        };
        tokio::spawn(keeper.run());
        Ok(redis)
    }

    /// Waits for the first answer, and says whether there is a server. One that cannot be reached is
    /// no error: it may come up after this host.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::Refused`].
    pub async fn greet(&self) -> Result<bool, RedisOpenError> {
        match self.tried().await {
            State::Up(_) => Ok(true),
            State::Away(source) if refuses(&source) => Err(RedisOpenError::Refused {
                address: self.address.to_string(),
                source,
            }),
            State::Away(_) | State::Unknown => Ok(false),
        }
    }

    /// Whether it answered when it was last asked.
    pub fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }

    /// Waits until it answers.
    pub async fn until_up(&self) {
        let mut state = self.state.clone();
        // It closes with the runtime.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
    }

    /// A key of this application. `slot` is its hash tag: keys with the same one lie in one slot of
    /// a cluster, so that a script may use them together.
    pub fn key(&self, slot: &str, name: &str) -> String {
        format!("{}:{{{slot}}}:{name}", self.prefix)
    }

    /// What rings when something that somebody may wait for has changed.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The channel on which the bell's messages arrive.
    pub fn bell_channel(&self) -> String {
        format!("{}:bell", self.prefix)
    }

    /// Listens for the bell, now and after every loss of the connection. While the server is away it
    /// is no error: the next connection listens.
    ///
    /// # Errors
    ///
    /// The server is there, and refuses.
    pub async fn listen(&self) -> Result<(), RedisError> {
        self.signals.listening.store(true, Ordering::Release);
        match self.tried().await {
            State::Up(link) => match link.subscribe(&self.bell_channel()).await {
                Err(error) if !error.is_io_error() => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
            State::Away(_) | State::Unknown => Ok(()),
        }
    }

    /// How the connection stands, once an attempt was made.
    async fn tried(&self) -> State {
        let mut state = self.state.clone();
        let tried = state
            .wait_for(|state| !matches!(state, State::Unknown))
            .await;
        tried.map_or(State::Unknown, |state| state.clone())
    }

    async fn link(&self) -> Result<Link, RedisError> {
        let away = match self.tried().await {
            State::Up(link) => return Ok(link),
            State::Away(reason) => format!("Redis is away: {reason}"),
            State::Unknown => "the connection to Redis is closed".to_owned(),
        };
        Err(io::Error::new(io::ErrorKind::NotConnected, away).into())
    }

    /// Has the connection looked at, where the outcome of a command gives reason to.
    fn noted<T>(&self, outcome: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &outcome
            && error.is_io_error()
        {
            self.signals.doubt.notify_one();
        }
        outcome
    }
}

impl fmt::Debug for Redis {
    /// Without addresses and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let sent = async move {
            let link = self.link().await?;
            self.noted(link.command(cmd).await)
        };
        sent.boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let sent = async move {
            let link = self.link().await?;
            self.noted(link.pipeline(cmd, offset, count).await)
        };
        sent.boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// Whether a server answered that this user, or what it says, is wrong. Waiting does not help.
fn refuses(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

/// Gives rustls its cryptography, once for the process: the HTTP client of object stores and the
/// Redis client bring none.
pub(super) fn install_crypto() {
    // The error says that somebody was first, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
