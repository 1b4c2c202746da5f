//! Streams on the embedded store: entries in tables, appointments in memory.
//!
//! ```text
//! publish, claim, acknowledge, ... --> writer thread: apply.rs (tables, then schedule.rs), commit
//! extend, retry ---------------------> schedule.rs alone: an attempt is durable since its claim
//! claim with nothing due ------------> waits for a wake or for the next appointment, looks again
//! ```
//!
//! The clock is the caller's (`tokio::time`); the writer thread reads none.

mod apply;
mod handover;
mod record;
mod schedule;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use redb::WriteTransaction;
use tokio::time::Instant;

use super::{
    DeadLetter, Delivery, Entry, EntryId, Group, GroupStatus, LeaseToken, MESSAGE_BYTES_MAX,
    Message, REASON_BYTES_MAX, StreamError, Streams,
};
use crate::capability::embedded::{Applied, Embedded, EmbeddedError, Outcome, creating};
use crate::name::Subject;
use apply::Held;
use handover::{Claim, Claimed, Handover};
use record::{DEAD, Death, ENTRIES};
use schedule::{Appointment, GroupState, Schedule};

/// Most dead letters that go back in one transaction; a redrive of all takes several, so that other
/// writers wait some ten milliseconds and not for all of it.
const REDRIVE_MAX: usize = 1000;

/// Message streams in the embedded store's file.
#[derive(Debug)]
pub struct EmbeddedStreams {
    store: Arc<Embedded>,
    /// Locked for one step of one operation, by the writer thread or by a caller; never while waiting.
    schedule: Arc<Mutex<Schedule>>,
}

impl EmbeddedStreams {
    /// Prepares the tables in `store` and reads what is pending: all of it is due at once, with the
    /// attempts counted that a killed host had begun.
    pub async fn open(store: Arc<Embedded>) -> Result<Self, EmbeddedError> {
        let now = Instant::now();
        let schedule: Result<Schedule, ()> = store
            .write(0, move |transaction| {
                let (schedule, new) = creating(transaction, || apply::load(transaction, now))?;
                Ok(if new {
                    Applied::Changed(schedule)
                } else {
                    Applied::Unchanged(schedule)
                })
            })
            .await?;
        let schedule = Arc::new(Mutex::new(schedule.expect("loading refuses nothing")));
        Ok(Self { store, schedule })
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }

    /// Runs a step on the writer thread.
    async fn step<T, F>(&self, subject: &Subject, bytes: usize, step: F) -> Result<T, StreamError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction, &mut Schedule) -> Outcome<T, StreamError> + Send + 'static,
    {
        let schedule = self.schedule.clone();
        let apply = move |transaction: &WriteTransaction| step(transaction, &mut lock(&schedule));
        self.store
            .write(bytes, apply)
            .await
            .map_err(|error| backend(subject, error))?
    }

    /// Runs a step on the entry that a delivery holds.
    async fn settle<F>(&self, delivery: &Delivery, step: F) -> Result<(), StreamError>
    where
        F: FnOnce(&WriteTransaction, &mut Schedule, &Held<'_>) -> Outcome<(), StreamError>
            + Send
            + 'static,
    {
        let (sequence, token) = (sequence_of(delivery)?, delivery.token);
        let group = delivery.group.clone();
        self.step(&delivery.group.subject, 0, move |transaction, schedule| {
            step(
                transaction,
                schedule,
                &Held {
                    group: &group,
                    sequence,
                    token,
                },
            )
        })
        .await
    }

    /// Changes the appointment that a delivery holds; in memory only.
    fn reappoint(
        &self,
        delivery: &Delivery,
        change: impl FnOnce(&GroupState, Appointment) -> Appointment,
    ) -> Result<(), StreamError> {
        let sequence = sequence_of(delivery)?;
        let mut schedule = self.schedule();
        let group = schedule
            .find(&delivery.group)
            .and_then(|subject| subject.groups.get_mut(&delivery.group.name))
            .ok_or_else(|| unknown(&delivery.group))?;
        let held = group.held(sequence, delivery.token);
        let held = held.ok_or_else(|| lost(&delivery.group, sequence))?;
        let changed = change(group, held);
        group.appoint(sequence, changed);
        if changed.due < held.due {
            group.wake();
        }
        Ok(())
    }

    /// Looks once; what it takes is given back if the caller is gone before it gets it.
    async fn look(&self, group: &Group, max: usize) -> Result<Claim, StreamError> {
        let now = Instant::now();
        let handover = Handover {
            group: group.clone(),
            claimed_at: now,
            claim: Claim::default(),
            schedule: self.schedule.clone(),
            afterthoughts: self.store.afterthoughts(),
        };
        let step = move |transaction: &WriteTransaction, schedule: &mut Schedule| {
            handover.fill(|group| apply::claim(transaction, schedule, group, max, now))
        };
        Ok(self.step(&group.subject, 0, step).await?.take())
    }
}

#[async_trait]
impl Streams for EmbeddedStreams {
    async fn declare(&self, group: &Group, lease: Duration) -> Result<(), StreamError> {
        let (id, now) = (group.clone(), Instant::now());
        self.step(&group.subject, 0, move |transaction, schedule| {
            let applied = apply::declare(transaction, schedule, &id, now)?;
            let state = schedule
                .find(&id)
                .and_then(|subject| subject.groups.get_mut(&id.name));
            if let Some(state) = state {
                state.lease = Some(lease);
                state.wake();
            }
            Ok(applied)
        })
        .await
    }

    async fn forget(&self, group: &Group) -> Result<(), StreamError> {
        let id = group.clone();
        self.step(&group.subject, 0, move |transaction, schedule| {
            apply::forget(transaction, schedule, &id)
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<Group>, StreamError> {
        Ok(self.schedule().groups())
    }

    async fn subjects(&self) -> Result<Vec<(Subject, u64)>, StreamError> {
        Ok(self.schedule().lengths())
    }

    async fn peek(
        &self,
        subject: &Subject,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        // What is no name of an entry comes after none and before all.
        let after = after.and_then(|entry| entry.as_str().parse().ok());
        let (store, id) = (self.store.clone(), subject.clone());
        tokio::task::spawn_blocking(move || entries(&store, &id, after.unwrap_or(0), limit))
            .await
            .map_err(|error| backend(subject, error))?
    }

    fn shared(&self) -> bool {
        false
    }

    async fn limit(&self, subject: &Subject, length_max: u64) -> Result<(), StreamError> {
        self.schedule().subject(subject).length_max = length_max;
        Ok(())
    }

    async fn publish(&self, message: Message) -> Result<EntryId, StreamError> {
        let bytes = message.bytes();
        let subject = message.subject.clone();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(StreamError::TooLarge {
                subject,
                bytes,
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        let record = record::encode(&message, SystemTime::now());
        let sequence = self
            .step(&message.subject, bytes, move |transaction, schedule| {
                apply::publish(transaction, schedule, &subject, &record)
            })
            .await?;
        Ok(entry(sequence))
    }

    async fn claim(&self, group: &Group, max: usize) -> Result<Vec<Delivery>, StreamError> {
        loop {
            let wake = {
                let mut schedule = self.schedule();
                let subject = schedule.find(group).ok_or_else(|| unknown(group))?;
                subject.groups[&group.name].listen()
            };
            let mut wake = std::pin::pin!(wake.notified());
            wake.as_mut().enable();
            let next_due = match self.look(group, max.max(1)).await? {
                Claim::Some { token, claimed } => {
                    return claimed
                        .into_iter()
                        .map(|claim| deliver(group, token, claim))
                        .collect();
                }
                Claim::Nothing { next_due } => next_due,
            };
            match next_due {
                Some(due) => tokio::select! {
                    () = wake => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => wake.await,
            }
        }
    }

    async fn extend(&self, delivery: &Delivery) -> Result<(), StreamError> {
        let now = Instant::now();
        self.reappoint(delivery, |group, held| Appointment {
            due: now + group.lease.unwrap_or_default(),
            ..held
        })
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.settle(delivery, apply::acknowledge).await
    }

    async fn retry(
        &self,
        delivery: &Delivery,
        after: Duration,
        reason: &str,
    ) -> Result<(), StreamError> {
        let due = Instant::now() + after;
        self.reappoint(delivery, |_, held| Appointment {
            due,
            holder: None,
            ..held
        })?;
        tracing::debug!(group = %delivery.group, entry_id = %delivery.entry, reason, "retry");
        Ok(())
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), StreamError> {
        let now = Instant::now();
        self.settle(delivery, move |transaction, schedule, held| {
            apply::release(transaction, schedule, held, now)
        })
        .await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), StreamError> {
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        let now = SystemTime::now();
        self.settle(delivery, move |transaction, schedule, held| {
            apply::dead_letter(transaction, schedule, held, &reason, now)
        })
        .await
    }

    async fn status(&self, group: &Group) -> Result<GroupStatus, StreamError> {
        let (mut status, oldest) = {
            let mut schedule = self.schedule();
            let subject = schedule.find(group).ok_or_else(|| unknown(group))?;
            let state = &subject.groups[&group.name];
            let counts = state.counts();
            let lag = subject.next - state.cursor + counts.never;
            let next = (state.cursor < subject.next).then_some(state.cursor);
            let status = GroupStatus {
                length: subject.length,
                lag,
                pending: counts.leased + counts.waiting,
                waiting: counts.waiting,
                oldest_age: None,
                dead: state.dead,
            };
            (status, state.oldest().or(next))
        };
        if let Some(oldest) = oldest {
            let published = published_at(&self.store, group, oldest);
            let published = published.map_err(|error| backend(&group.subject, error))?;
            status.oldest_age = published.map(|at| at.elapsed().unwrap_or_default());
        }
        Ok(status)
    }

    async fn dead(&self, group: &Group, limit: usize) -> Result<Vec<DeadLetter>, StreamError> {
        if self.schedule().find(group).is_none() {
            return Err(unknown(group));
        }
        let (store, id) = (self.store.clone(), group.clone());
        tokio::task::spawn_blocking(move || dead_letters(&store, &id, limit))
            .await
            .map_err(|error| backend(&group.subject, error))?
    }

    async fn redrive(&self, group: &Group, entry: Option<&EntryId>) -> Result<u64, StreamError> {
        let no_such = |entry: &EntryId| StreamError::UnknownEntry {
            group: group.clone(),
            entry: entry.clone(),
        };
        let only = match entry {
            Some(entry) => Some(entry.as_str().parse::<u64>().map_err(|_| no_such(entry))?),
            None => None,
        };
        let mut redriven = 0;
        loop {
            let (id, now) = (group.clone(), Instant::now());
            let count = self
                .step(&group.subject, 0, move |transaction, schedule| {
                    apply::redrive(transaction, schedule, &id, only, REDRIVE_MAX, now)
                })
                .await?;
            redriven += count;
            match entry {
                Some(entry) if count == 0 => return Err(no_such(entry)),
                None if count == REDRIVE_MAX as u64 => {}
                _ => return Ok(redriven),
            }
        }
    }
}

fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    // Poisoned: the writer thread panicked, and no step runs any more; what is left may be read.
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(group: &Group, token: LeaseToken, claim: Claimed) -> Result<Delivery, StreamError> {
    let (message, published_at) = record::decode(&group.subject, claim.record.into())
        .map_err(|error| backend(&group.subject, error))?;
    Ok(Delivery {
        entry: entry(claim.sequence),
        group: group.clone(),
        attempt: claim.attempt,
        message,
        published_at,
        token,
    })
}

fn published_at(
    store: &Embedded,
    group: &Group,
    sequence: u64,
) -> Result<Option<SystemTime>, EmbeddedError> {
    let entries = store.read()?.open_table(ENTRIES)?;
    let record = entries.get((group.subject.as_str(), sequence))?;
    Ok(record.and_then(|record| record::published_at(record.value())))
}

fn entries(
    store: &Embedded,
    subject: &Subject,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, StreamError> {
    let rows = || -> Result<Vec<(u64, Vec<u8>)>, EmbeddedError> {
        let entries = store.read()?.open_table(ENTRIES)?;
        let first = (subject.as_str(), after.saturating_add(1));
        let mut rows = Vec::new();
        for row in entries
            .range(first..=(subject.as_str(), u64::MAX))?
            .take(limit)
        {
            let (key, record) = row?;
            let (_, sequence) = key.value();
            rows.push((sequence, record.value().to_vec()));
        }
        Ok(rows)
    };
    let rows = rows().map_err(|error| backend(subject, error))?;
    let read = |(sequence, record): (u64, Vec<u8>)| {
        let (message, published_at) =
            record::decode(subject, record.into()).map_err(|error| backend(subject, error))?;
        Ok(Entry {
            entry: entry(sequence),
            published_at,
            message,
        })
    };
    rows.into_iter().map(read).collect()
}

fn dead_letters(
    store: &Embedded,
    group: &Group,
    limit: usize,
) -> Result<Vec<DeadLetter>, StreamError> {
    let failed = |error| backend(&group.subject, error);
    let (subject, name) = (group.subject.as_str(), group.name.as_str());
    let rows = || -> Result<Vec<(u64, Vec<u8>)>, EmbeddedError> {
        let dead = store.read()?.open_table(DEAD)?;
        let range = dead.range((subject, name, 0)..=(subject, name, u64::MAX))?;
        let copy = |row: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, &[u8]>), _>| {
            row.map(|(key, record)| {
                let (_, _, sequence): (&str, &str, u64) = key.value();
                (sequence, record.value().to_vec())
            })
        };
        Ok(range
            .take(limit)
            .map(copy)
            .collect::<Result<_, redb::StorageError>>()?)
    };
    let letter = |(sequence, record): (u64, Vec<u8>)| {
        let death = Death::decode(&record)?;
        let (message, published_at) =
            record::decode(&group.subject, bytes::Bytes::copy_from_slice(death.entry))?;
        Ok(DeadLetter {
            entry: entry(sequence),
            attempts: death.attempts,
            reason: death.reason.to_owned(),
            died_at: death.died_at,
            published_at,
            message,
        })
    };
    let letters = rows().map_err(failed)?.into_iter().map(letter);
    letters
        .collect::<Result<_, record::Damaged>>()
        .map_err(|error| backend(&group.subject, error))
}

fn entry(sequence: u64) -> EntryId {
    EntryId::new(sequence.to_string())
}

fn sequence_of(delivery: &Delivery) -> Result<u64, StreamError> {
    delivery
        .entry
        .as_str()
        .parse()
        .map_err(|_| StreamError::LeaseLost {
            group: delivery.group.clone(),
            entry: delivery.entry.clone(),
        })
}

fn lost(group: &Group, sequence: u64) -> StreamError {
    StreamError::LeaseLost {
        group: group.clone(),
        entry: entry(sequence),
    }
}

fn unknown(group: &Group) -> StreamError {
    StreamError::UnknownGroup {
        group: group.clone(),
    }
}

fn backend(
    subject: &Subject,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StreamError {
    StreamError::Backend {
        subject: subject.clone(),
        source: Box::new(source),
    }
}
