//! Streams on Redis: a subject is a Redis stream, a group a consumer group, a host a consumer.
//!
//! ```text
//! publish ------------------> publish.lua --\
//! claim --> look ------------> claim.lua ----+--> one step on the server, which rings if somebody waits
//!   nothing there: waits for the bell, the next retry, or half a lease, and looks again
//! settle --> queue ----------> settle.lua --/
//! ```
//!
//! No connection blocks: a claim that finds nothing marks the subject as waited for in the same step,
//! and whatever makes something claimable rings. All times are the server's. What is leased survives
//! everything; a dead host's leases run out, and it gets them back at once if it starts again.

mod claim;
mod entry;
mod place;
mod server;
mod settle;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::{AsyncCommands as _, Cmd, RedisError, Script, Value};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::{
    DeadLetter, Delivery, Entry, EntryId, Group, GroupStatus, MESSAGE_BYTES_MAX, Message,
    REASON_BYTES_MAX, StreamError, Streams,
};
use crate::capability::redis::Redis;
use crate::name::{HostId, Subject};
use claim::{Found, LookError};
use entry::Damaged;
use place::{Place, Topic};
use server::Server;
use settle::Outcome;

/// Most dead letters that go back in one step of the server: some ten milliseconds, in which it does
/// nothing else.
const REDRIVE_MAX: u64 = 1000;

/// Most entries or dead letters that are asked for at once: a hundred megabytes if all are the
/// largest.
const PAGE: usize = 100;

/// Subjects that are asked for their state at once when all are listed.
const LISTED_AT_ONCE: usize = 64;

/// Shortest and longest pause of a waiting claim while the server cannot be reached.
const AWAY_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Message streams on a Redis server or cluster, for one host of those that use it together.
#[derive(Debug)]
pub struct RedisStreams {
    server: Arc<Server>,
    topics: Mutex<HashMap<Subject, Arc<Topic>>>,
    places: Mutex<HashMap<Group, Arc<Place>>>,
    /// Set once this process listens for the bell.
    listening: OnceCell<()>,
}

impl RedisStreams {
    /// Prepares streams on `redis`, with `host` as the name of this consumer: stable, and no other
    /// host's. Nothing is sent.
    pub fn open(redis: Redis, host: HostId) -> Self {
        Self {
            server: Arc::new(Server::new(redis, host)),
            topics: Mutex::default(),
            places: Mutex::default(),
            listening: OnceCell::new(),
        }
    }

    fn topic(&self, subject: &Subject) -> Arc<Topic> {
        let mut topics = lock(&self.topics);
        if let Some(topic) = topics.get(subject) {
            return topic.clone();
        }
        let topic = Arc::new(Topic::new(&self.server.redis, subject));
        topics.insert(subject.clone(), topic.clone());
        topic
    }

    fn place(&self, group: &Group) -> Arc<Place> {
        let mut places = lock(&self.places);
        if let Some(place) = places.get(group) {
            return place.clone();
        }
        let place = Arc::new(Place::new(&self.server.redis, group));
        places.insert(group.clone(), place.clone());
        place
    }

    /// The key of the set of all subjects.
    fn index(&self) -> String {
        self.server.redis.key("streams", "subjects")
    }

    /// Puts a subject into the index.
    async fn list(&self, topic: &Topic) -> Result<(), RedisError> {
        let mut link = self.server.redis.clone();
        let () = link.sadd(self.index(), topic.subject.as_str()).await?;
        topic.indexed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a group known to the server as this process knows it.
    async fn begin(&self, place: &Place, lease: Duration) -> Result<(), RedisError> {
        let subject = &place.group.subject;
        self.list(&self.topic(subject)).await?;
        let begins = !place.begun.swap(true, Ordering::Relaxed);
        let arguments = |command: &mut Cmd| {
            command.arg(place.group.name.as_str());
            command.arg(self.server.host.as_str());
            command.arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1));
            command.arg(u8::from(begins));
        };
        let called = self
            .server
            .call(&server::DECLARE, &place.keys, subject, arguments);
        let declared = called.await.map(drop);
        if declared.is_err() && begins {
            place.begun.store(false, Ordering::Relaxed);
        }
        declared
    }

    /// Makes a group known again that the server has lost. An error if this process never declared it.
    async fn begin_again(&self, place: &Place) -> Result<(), StreamError> {
        let group = &place.group;
        let lease = place.lease().ok_or_else(|| unknown(group))?;
        tracing::warn!(%group, "Redis does not know this group any more; it is declared again");
        let declared = self.begin(place, lease).await;
        declared.map_err(|error| backend(&group.subject, error))
    }

    /// Runs a script about a group, which is declared again if the server has lost it.
    async fn ask(
        &self,
        place: &Place,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<Value, StreamError> {
        let subject = &place.group.subject;
        let ask = || self.server.call(script, &place.keys, subject, &arguments);
        let mut answer = ask().await;
        if answer.as_ref().is_err_and(server::is_unknown_group) {
            self.begin_again(place).await?;
            answer = ask().await;
        }
        answer.map_err(|error| backend(subject, error))
    }

    async fn settle(&self, delivery: &Delivery, outcome: Outcome) -> Result<(), StreamError> {
        let place = self.place(&delivery.group);
        let runtime = Handle::current();
        let (entry, attempt) = (&delivery.entry, delivery.token.0);
        let answer = settle::settle(&self.server, &place, entry, attempt, outcome, &runtime);
        // There is no answer where the runtime ends, and with it the task that sends.
        let held = answer.await;
        if held.map_err(|error| backend(&delivery.group.subject, error))?? {
            return Ok(());
        }
        Err(StreamError::LeaseLost {
            group: delivery.group.clone(),
            entry: delivery.entry.clone(),
        })
    }

    /// Looks once, listening for what comes after.
    async fn look(&self, place: &Arc<Place>, max: usize) -> Result<Found, LookError> {
        let listen = || self.server.redis.listen();
        let listening = self.listening.get_or_try_init(listen).await;
        listening.map_err(LookError::Redis)?;
        if let (Some(lease), false) = (place.lease(), place.begun.load(Ordering::Relaxed)) {
            // The declaration failed, and the host went on without.
            let declared = self.begin(place, lease).await;
            declared.map_err(LookError::Redis)?;
        }
        claim::look(&self.server, place, max).await
    }

    /// Asks something of every subject in the index.
    async fn of_every_subject<T, F>(
        &self,
        ask: impl Fn(Arc<Topic>) -> F,
    ) -> Result<Vec<T>, StreamError>
    where
        F: Future<Output = Result<T, StreamError>>,
    {
        let mut link = self.server.redis.clone();
        let names: Result<Vec<String>, _> = link.smembers(self.index()).await;
        let names = names.map_err(index)?;
        let subjects: Result<Vec<Subject>, _> = names.iter().map(|name| name.parse()).collect();
        let mut subjects = subjects.map_err(index)?;
        subjects.sort();
        let topics: Vec<_> = subjects.iter().map(|name| self.topic(name)).collect();
        stream::iter(topics.into_iter().map(ask))
            .buffered(LISTED_AT_ONCE)
            .try_collect()
            .await
    }
}

#[async_trait]
impl Streams for RedisStreams {
    async fn declare(&self, group: &Group, lease: Duration) -> Result<(), StreamError> {
        let place = self.place(group);
        place.declare(Some(lease));
        let declared = self.begin(&place, lease).await;
        declared.map_err(|error| backend(&group.subject, error))
    }

    async fn forget(&self, group: &Group) -> Result<(), StreamError> {
        let place = self.place(group);
        place.declare(None);
        let arguments = |command: &mut Cmd| {
            command.arg(group.name.as_str());
        };
        let forget = &server::FORGET;
        let called = self
            .server
            .call(forget, &place.keys, &group.subject, arguments);
        called
            .await
            .map_err(|error| backend(&group.subject, error))?;
        lock(&self.places).remove(group);
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<Group>, StreamError> {
        let groups = self.of_every_subject(async |topic: Arc<Topic>| {
            let mut link = self.server.redis.clone();
            let names: Result<Vec<String>, _> = link.hkeys(topic.groups()).await;
            let names = names.map_err(|error| backend(&topic.subject, error))?;
            let group = |name: &String| {
                Ok(Group {
                    subject: topic.subject.clone(),
                    name: name
                        .parse()
                        .map_err(|error| backend(&topic.subject, error))?,
                })
            };
            names
                .iter()
                .map(group)
                .collect::<Result<Vec<_>, StreamError>>()
        });
        let mut groups = groups.await?.concat();
        groups.sort();
        Ok(groups)
    }

    async fn subjects(&self) -> Result<Vec<(Subject, u64)>, StreamError> {
        self.of_every_subject(async |topic: Arc<Topic>| {
            let mut link = self.server.redis.clone();
            let mut both = redis::pipe();
            both.xlen(topic.entries()).zcard(topic.parked());
            let counts: Result<(u64, u64), _> = both.query_async(&mut link).await;
            let (all, parked) = counts.map_err(|error| backend(&topic.subject, error))?;
            Ok((topic.subject.clone(), all.saturating_sub(parked)))
        })
        .await
    }

    async fn peek(
        &self,
        subject: &Subject,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let topic = self.topic(subject);
        // What is no name of an entry comes after none and before all.
        let after = after.filter(|entry| entry::is_id(entry));
        let mut from = after.map_or_else(|| "-".to_owned(), |entry| format!("({entry}"));
        let mut found = Vec::new();
        while found.len() < limit {
            let most = PAGE.min(limit - found.len());
            let arguments = |command: &mut Cmd| {
                command.arg(&from).arg(most);
            };
            let peek = &server::PEEK;
            let called = self.server.call(peek, &topic.keys, subject, arguments);
            let answer = called.await.map_err(|error| backend(subject, error))?;
            let page = entry::entries(subject, answer).map_err(|Damaged| damaged(subject))?;
            let Some(last) = page.last() else { break };
            from = format!("({}", last.entry);
            found.extend(page);
        }
        Ok(found)
    }

    fn shared(&self) -> bool {
        true
    }

    async fn limit(&self, subject: &Subject, length_max: u64) -> Result<(), StreamError> {
        let topic = self.topic(subject);
        topic.length_max.store(length_max, Ordering::Relaxed);
        Ok(())
    }

    async fn publish(&self, message: Message) -> Result<EntryId, StreamError> {
        let (subject, bytes) = (&message.subject, message.bytes());
        if bytes > MESSAGE_BYTES_MAX {
            return Err(StreamError::TooLarge {
                subject: subject.clone(),
                bytes,
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        let failed = |error| backend(subject, error);
        let topic = self.topic(subject);
        if !topic.indexed.load(Ordering::Relaxed) {
            self.list(&topic).await.map_err(failed)?;
        }
        let length_max = topic.length_max.load(Ordering::Relaxed);
        let arguments = |command: &mut Cmd| {
            command.arg(length_max);
            entry::encode(command, &message, SystemTime::now());
        };
        let publish = &server::PUBLISH;
        let called = self.server.call(publish, &topic.keys, subject, arguments);
        let answer = called.await.map_err(failed)?;
        if answer == Value::Nil {
            return Err(StreamError::Full {
                subject: subject.clone(),
                length_max,
            });
        }
        let (entry, added) = entry::published(answer).map_err(|Damaged| damaged(subject))?;
        if added == 1 {
            // It is new to the server, which may have lost its index, too.
            self.list(&topic).await.map_err(failed)?;
        }
        Ok(entry)
    }

    async fn claim(&self, group: &Group, max: usize) -> Result<Vec<Delivery>, StreamError> {
        let place = self.place(group);
        let bell = self.server.redis.bell().of(group.subject.as_str());
        let mut pause = AWAY_PAUSES.0;
        loop {
            if place.lease().is_none() {
                return Err(unknown(group));
            }
            // Listening before looking, so that no ring falls between the two.
            let mut ring = std::pin::pin!(bell.notified());
            ring.as_mut().enable();
            let wait = match self.look(&place, max.max(1)).await {
                Ok(Found::Some(deliveries)) => return Ok(deliveries),
                Ok(Found::Nothing(wait)) => {
                    pause = AWAY_PAUSES.0;
                    let patience = place.patience();
                    wait.map_or(patience, |wait| wait.min(patience))
                }
                Ok(Found::NoGroup) => {
                    self.begin_again(&place).await?;
                    continue;
                }
                Err(LookError::Redis(error)) if server::is_passing(&error) => {
                    // Its connection has told whoever reads the log.
                    tracing::debug!(%group, %error, "a claim waits for Redis");
                    let longer = (pause * 2).min(AWAY_PAUSES.1);
                    std::mem::replace(&mut pause, longer)
                }
                Err(LookError::Redis(error)) => return Err(backend(&group.subject, error)),
                Err(LookError::Other(error)) => return Err(error),
            };
            // Whichever comes first: it looks again.
            let _ = tokio::time::timeout(wait, ring).await;
        }
    }

    async fn extend(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.settle(delivery, Outcome::Extend).await
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.settle(delivery, Outcome::Acknowledge).await
    }

    async fn retry(
        &self,
        delivery: &Delivery,
        after: Duration,
        reason: &str,
    ) -> Result<(), StreamError> {
        self.settle(delivery, Outcome::Retry(after)).await?;
        tracing::debug!(group = %delivery.group, entry_id = %delivery.entry, reason, "retry");
        Ok(())
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.settle(delivery, Outcome::Release).await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), StreamError> {
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        self.settle(delivery, Outcome::Dead(reason)).await
    }

    async fn status(&self, group: &Group) -> Result<GroupStatus, StreamError> {
        let place = self.place(group);
        let arguments = |command: &mut Cmd| {
            command.arg(group.name.as_str());
        };
        let answer = self.ask(&place, &server::STATUS, arguments).await?;
        entry::status(answer).map_err(|Damaged| damaged(&group.subject))
    }

    async fn dead(&self, group: &Group, limit: usize) -> Result<Vec<DeadLetter>, StreamError> {
        let place = self.place(group);
        let (mut shown, mut letters) = (0, Vec::new());
        while letters.len() < limit {
            let most = PAGE.min(limit - letters.len());
            let arguments = |command: &mut Cmd| {
                command.arg(group.name.as_str()).arg(shown);
                command.arg(shown + most - 1);
            };
            let answer = self.ask(&place, &server::DEAD, arguments).await?;
            let page = entry::dead(&group.subject, answer);
            let (count, found) = page.map_err(|Damaged| damaged(&group.subject))?;
            shown += count;
            letters.extend(found);
            if count < most {
                break;
            }
        }
        Ok(letters)
    }

    async fn redrive(&self, group: &Group, entry: Option<&EntryId>) -> Result<u64, StreamError> {
        let place = self.place(group);
        let arguments = |command: &mut Cmd| {
            command.arg(group.name.as_str()).arg(REDRIVE_MAX);
            command.arg(entry.map_or("", EntryId::as_str));
        };
        let mut redriven = 0;
        loop {
            let answer = self.ask(&place, &server::REDRIVE, arguments).await?;
            let counts = entry::counts(answer).map_err(|Damaged| damaged(&group.subject))?;
            let (gone, back) = counts;
            redriven += back;
            match entry {
                Some(entry) if back == 0 => {
                    return Err(StreamError::UnknownEntry {
                        group: group.clone(),
                        entry: entry.clone(),
                    });
                }
                None if gone == REDRIVE_MAX => {}
                _ => return Ok(redriven),
            }
        }
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(group: &Group) -> StreamError {
    StreamError::UnknownGroup {
        group: group.clone(),
    }
}

fn damaged(subject: &Subject) -> StreamError {
    backend(subject, Damaged)
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

fn index(source: impl std::error::Error + Send + Sync + 'static) -> StreamError {
    StreamError::Index {
        source: Box::new(source),
    }
}
