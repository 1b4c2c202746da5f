//! Streams for subscriptions by pattern.
//!
//! A group gets the messages of one subject. Whoever subscribes to a pattern gets a group for each
//! subject that matches, and has to have it before the subject's first message can be settled by
//! others. So a publication to a subject that this host has not seen declares those groups first:
//!
//! ```text
//! publish -> new subject? -> declare the group of each pattern that matches -> tell -> publish
//! ```
//!
//! Hosts that run one application know the same patterns, so it holds whoever publishes. Between
//! those that run different manifests for a while it is as with every new group: it starts at the
//! oldest message that the subject still holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    DeadLetter, Delivery, Entry, EntryId, Group, GroupStatus, Message, StreamError, Streams,
};
use crate::manifest::model::Wildcard;
use crate::name::Subject;

/// Subjects that patterns may match in one application: each is a group in the backend and a consumer
/// on every host, some kilobytes each.
pub const PATTERN_SUBJECTS_MAX: usize = 1000;

/// Streams that know which subjects patterns match.
pub struct PatternStreams {
    streams: Arc<dyn Streams>,
    known: Mutex<Known>,
    appeared: Notify,
}

#[derive(Default)]
struct Known {
    wildcards: Arc<[Wildcard]>,
    /// Subjects that patterns match and whose groups are declared.
    subjects: BTreeSet<Subject>,
}

impl PatternStreams {
    /// The same streams, without patterns.
    pub fn new(streams: Arc<dyn Streams>) -> Arc<Self> {
        Arc::new(Self {
            streams,
            known: Mutex::default(),
            appeared: Notify::new(),
        })
    }

    /// From now on, who publishes to a new subject makes these patterns' groups first.
    pub fn set(&self, wildcards: &[Wildcard]) {
        let mut known = self.known();
        if *known.wildcards != *wildcards {
            *known = Known {
                wildcards: wildcards.into(),
                subjects: BTreeSet::new(),
            };
        }
    }

    /// Every subject that is known to the streams or was published to, as far as patterns match it.
    /// [`PATTERN_SUBJECTS_MAX`] of them at most.
    ///
    /// # Errors
    ///
    /// The streams cannot be asked.
    pub async fn matching(&self) -> Result<Vec<Subject>, StreamError> {
        if self.known().wildcards.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.streams.subjects().await?;
        let mut subjects = self.known().subjects.clone();
        let wildcards = self.known().wildcards.clone();
        subjects.extend(all.into_iter().map(|(subject, _)| subject));
        subjects.retain(|subject| wildcards.iter().any(|one| one.pattern.matches(subject)));
        if subjects.len() > PATTERN_SUBJECTS_MAX {
            tracing::error!(
                subjects = subjects.len(),
                subjects_max = PATTERN_SUBJECTS_MAX,
                "patterns match more subjects than can be subscribed to: messages of the rest wait"
            );
        }
        Ok(subjects.into_iter().take(PATTERN_SUBJECTS_MAX).collect())
    }

    /// Returns once a subject appeared that patterns match.
    pub async fn appeared(&self) {
        self.appeared.notified().await;
    }

    /// Makes the groups of whoever subscribes to `subject` by pattern, the first time.
    async fn own(&self, subject: &Subject) -> Result<(), StreamError> {
        let wildcards = {
            let known = self.known();
            if known.wildcards.is_empty() || known.subjects.contains(subject) {
                return Ok(());
            }
            known.wildcards.clone()
        };
        let matching: Vec<_> = wildcards
            .iter()
            .filter(|wildcard| wildcard.pattern.matches(subject))
            .collect();
        if matching.is_empty() {
            return Ok(());
        }
        if self.known().subjects.len() >= PATTERN_SUBJECTS_MAX {
            return Err(StreamError::TooManySubjects {
                subject: subject.clone(),
                subjects_max: PATTERN_SUBJECTS_MAX,
            });
        }
        for wildcard in matching {
            let subscription = wildcard.on(subject);
            let group = Group {
                subject: subscription.subject,
                name: subscription.component,
            };
            self.streams.declare(&group, subscription.lease).await?;
        }
        let mut known = self.known();
        // Other patterns may have come to hold meanwhile.
        if Arc::ptr_eq(&known.wildcards, &wildcards) {
            known.subjects.insert(subject.clone());
        }
        self.appeared.notify_one();
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Streams for PatternStreams {
    async fn publish(&self, message: Message) -> Result<EntryId, StreamError> {
        self.own(&message.subject).await?;
        self.streams.publish(message).await
    }

    async fn declare(&self, group: &Group, lease: Duration) -> Result<(), StreamError> {
        self.streams.declare(group, lease).await
    }

    async fn forget(&self, group: &Group) -> Result<(), StreamError> {
        // Whoever publishes next makes it anew if a pattern wants it.
        self.known().subjects.remove(&group.subject);
        self.streams.forget(group).await
    }

    async fn groups(&self) -> Result<Vec<Group>, StreamError> {
        self.streams.groups().await
    }

    async fn subjects(&self) -> Result<Vec<(Subject, u64)>, StreamError> {
        self.streams.subjects().await
    }

    async fn peek(
        &self,
        subject: &Subject,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        self.streams.peek(subject, after, limit).await
    }

    fn shared(&self) -> bool {
        self.streams.shared()
    }

    async fn limit(&self, subject: &Subject, length_max: u64) -> Result<(), StreamError> {
        self.streams.limit(subject, length_max).await
    }

    async fn claim(&self, group: &Group, max: usize) -> Result<Vec<Delivery>, StreamError> {
        self.streams.claim(group, max).await
    }

    async fn extend(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.streams.extend(delivery).await
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.streams.acknowledge(delivery).await
    }

    async fn retry(
        &self,
        delivery: &Delivery,
        after: Duration,
        reason: &str,
    ) -> Result<(), StreamError> {
        self.streams.retry(delivery, after, reason).await
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), StreamError> {
        self.streams.release(delivery).await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), StreamError> {
        self.streams.dead_letter(delivery, reason).await
    }

    async fn status(&self, group: &Group) -> Result<GroupStatus, StreamError> {
        self.streams.status(group).await
    }

    async fn dead(&self, group: &Group, limit: usize) -> Result<Vec<DeadLetter>, StreamError> {
        self.streams.dead(group, limit).await
    }

    async fn redrive(&self, group: &Group, entry: Option<&EntryId>) -> Result<u64, StreamError> {
        self.streams.redrive(group, entry).await
    }
}
