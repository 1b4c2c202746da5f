//! One look at what is to be delivered, and its way to a caller that may be gone by then.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::runtime::Handle;

use super::super::{Delivery, EntryId, StreamError};
use super::place::Place;
use super::server::{CLAIM, Server, is_unknown_group};
use super::settle::{self, Outcome};
use super::{backend, damaged, entry};

/// Why an entry that is no message becomes a dead letter at once.
const NO_MESSAGE: &str = "it is no message: something else than a host wrote it";

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// Leased to this host.
    Some(Vec<Delivery>),
    /// Nothing before this time has passed, as far as is known now.
    Nothing(Option<Duration>),
    /// The server does not know the group.
    NoGroup,
}

/// Why a look gave nothing.
#[derive(Debug)]
pub(super) enum LookError {
    Redis(RedisError),
    Other(StreamError),
}

/// Looks once. Cancelled, it leaves nothing leased.
pub(super) async fn look(
    server: &Arc<Server>,
    place: &Arc<Place>,
    max: usize,
) -> Result<Found, LookError> {
    let handover = Handover {
        server: server.clone(),
        place: place.clone(),
        runtime: Handle::current(),
        claimed: Vec::new(),
    };
    // The task goes on when its caller does not; what it gives is then dropped with it.
    let looking = tokio::spawn(handover.fill(max));
    let (handover, wait) = match looking.await {
        Ok(looked) => looked?,
        Err(error) => return Err(LookError::Other(backend(&place.group.subject, error))),
    };
    Ok(match wait {
        Wait::Forgotten => Found::NoGroup,
        Wait::Until(wait) => match handover.take() {
            claimed if claimed.is_empty() => Found::Nothing(wait),
            claimed => Found::Some(claimed),
        },
    })
}

enum Wait {
    Until(Option<Duration>),
    Forgotten,
}

/// Carries deliveries. Dropped with them (the caller was cancelled), it releases them.
struct Handover {
    server: Arc<Server>,
    place: Arc<Place>,
    runtime: Handle,
    claimed: Vec<Delivery>,
}

impl Handover {
    async fn fill(mut self, max: usize) -> Result<(Self, Wait), LookError> {
        let group = &self.place.group;
        let look = u8::from(self.place.is_time_to_look());
        let called = self
            .server
            .call(&CLAIM, &self.place.keys, &group.subject, |command| {
                command.arg(group.name.as_str());
                command.arg(self.server.host.as_str()).arg(max).arg(look);
            });
        let answer = match called.await {
            Ok(answer) => answer,
            Err(error) if is_unknown_group(&error) => return Ok((self, Wait::Forgotten)),
            Err(error) => return Err(LookError::Redis(error)),
        };
        let claimed = entry::claimed(group, answer);
        let claimed = claimed.map_err(|_| LookError::Other(damaged(&group.subject)))?;
        let wait = if claimed.damaged.is_empty() {
            claimed.wait
        } else {
            Some(Duration::ZERO)
        };
        for (entry, attempt) in claimed.damaged {
            tracing::error!(%group, entry_id = %entry, reason = NO_MESSAGE, "message moved to the dead letters");
            self.settle(&entry, attempt, Outcome::Dead(NO_MESSAGE.to_owned()));
        }
        self.claimed = claimed.deliveries;
        Ok((self, Wait::Until(wait)))
    }

    /// Has an outcome carried out without waiting for it. If it never arrives, the lease runs out.
    fn settle(&self, entry: &EntryId, attempt: u64, outcome: Outcome) {
        let (server, place) = (&self.server, &self.place);
        settle::settle(server, place, entry, attempt, outcome, &self.runtime);
    }

    /// The caller has it.
    fn take(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.claimed)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        for delivery in std::mem::take(&mut self.claimed) {
            self.settle(&delivery.entry, delivery.token.0, Outcome::Release);
        }
    }
}
