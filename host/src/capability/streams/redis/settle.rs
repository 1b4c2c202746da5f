//! Outcomes on their way to the server. Those of one group that come while a call is under way go
//! together with the next one, so that a hundred deliveries that end at once cost two calls.
//!
//! ```text
//! settle -> queue -> (one call at a time for each group) -> settle.lua -> answer to each
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::{EntryId, StreamError};
use super::entry;
use super::place::Place;
use super::server::{SETTLE, Server};
use super::{backend, damaged};

/// Most outcomes that one call carries: about a millisecond of the server's time.
const BATCH_MAX: usize = 128;

/// What is decided about a delivery.
#[derive(Debug)]
pub(super) enum Outcome {
    Acknowledge,
    Extend,
    Release,
    Retry(Duration),
    Dead(String),
}

/// Outcomes that wait for the call under way.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    outcomes: Vec<Asked>,
    /// Whether a task is sending, which takes up what is added.
    sending: bool,
}

/// One outcome, and who wants to know whether it holds.
#[derive(Debug)]
struct Asked {
    entry: EntryId,
    attempt: u64,
    outcome: Outcome,
    answer: oneshot::Sender<Result<bool, StreamError>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes next; `None` when the sending task may end.
    fn next(&self) -> Option<Vec<Asked>> {
        let mut waiting = self.lock();
        if waiting.outcomes.is_empty() {
            waiting.sending = false;
            return None;
        }
        let count = waiting.outcomes.len().min(BATCH_MAX);
        let mut batch: Vec<Asked> = waiting.outcomes.drain(..count).collect();
        drop(waiting);
        // In the order of their entries, as the script takes them; what is asked of one keeps its own.
        batch.sort_by_cached_key(|asked| entry::order(&asked.entry));
        Some(batch)
    }
}

/// Has an outcome carried out; once this is called it is, also when nobody waits for the answer. The
/// answer says whether the lease was still held.
pub(super) fn settle(
    server: &Arc<Server>,
    place: &Arc<Place>,
    entry: &EntryId,
    attempt: u64,
    outcome: Outcome,
    runtime: &Handle,
) -> oneshot::Receiver<Result<bool, StreamError>> {
    let (answer, answered) = oneshot::channel();
    let asked = Asked {
        entry: entry.clone(),
        attempt,
        outcome,
        answer,
    };
    let sending = {
        let mut waiting = place.queue.lock();
        waiting.outcomes.push(asked);
        std::mem::replace(&mut waiting.sending, true)
    };
    if !sending {
        runtime.spawn(send_all(server.clone(), place.clone()));
    }
    answered
}

async fn send_all(server: Arc<Server>, place: Arc<Place>) {
    while let Some(batch) = place.queue.next() {
        let subject = &place.group.subject;
        let arguments = |command: &mut Cmd| {
            command.arg(place.group.name.as_str());
            command.arg(server.host.as_str());
            batch.iter().for_each(|asked| asked.encode(command));
        };
        let called = server.call(&SETTLE, &place.keys, subject, arguments).await;
        answer_all(batch, called, &place);
    }
}

fn answer_all(batch: Vec<Asked>, called: Result<redis::Value, RedisError>, place: &Place) {
    let subject = &place.group.subject;
    let held = called.map(|answer| entry::settled(answer).unwrap_or_default());
    for (at, asked) in batch.into_iter().enumerate() {
        let answer = match &held {
            Ok(held) => held.get(at).copied().ok_or_else(|| damaged(subject)),
            Err(error) => Err(backend(subject, error.clone())),
        };
        // Whoever asked may have been cancelled; it is settled all the same.
        let _ = asked.answer.send(answer);
    }
}

impl Asked {
    /// What, entry, attempt and value, as `settle.lua` takes them.
    fn encode(&self, command: &mut Cmd) {
        let what = match &self.outcome {
            Outcome::Acknowledge => "acknowledge",
            Outcome::Extend => "extend",
            Outcome::Release => "release",
            Outcome::Retry(_) => "retry",
            Outcome::Dead(_) => "dead",
        };
        command.arg(what).arg(self.entry.as_str()).arg(self.attempt);
        match &self.outcome {
            Outcome::Retry(after) => {
                command.arg(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
            }
            Outcome::Dead(reason) => command.arg(reason),
            Outcome::Acknowledge | Outcome::Extend | Outcome::Release => command.arg(""),
        };
    }
}
