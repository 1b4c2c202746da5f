//! What operators do with streams: look into them, put dead letters back, publish, forget groups.
//!
//! ```text
//! call -> known subject? group? -> Streams, within a limit -> what is shown
//! ```
//!
//! It knows the backend by its trait alone, and the subscriptions as a list: nothing of how they are
//! worked on. Whoever drops one of its futures leaves a step done or undone as a whole.

mod calls;
mod error;
pub mod model;
mod shown;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::capability::streams::{
    EntryId, Group, LENGTH_MAX_DEFAULT, Message, StreamError, Streams,
};
use crate::manifest::model::{StreamLimits, Subscription, Wildcard};
use crate::name::{ComponentName, Subject};
pub(super) use calls::{Call, answer};
pub use error::OperateError;
use model::{
    DeadMessage, Forgotten, GroupFigures, HeldMessage, PublishRequest, RedriveRequest, Redriven,
    SubjectStatus, SubscriptionSettings,
};
pub(super) use shown::{BODY_BYTES_SHOWN, SHOWN_BYTES_MAX};
use shown::{Room, ms};

/// Groups that the backend is asked about at once: enough to hide a network's delay, and no burst
/// beside traffic.
const ASKED_AT_ONCE: usize = 16;

/// Messages that are read at once where many are shown: each may have a megabyte.
const READ_AT_ONCE: usize = 16;

/// What this host's manifest says of streams.
#[derive(Debug, Clone, Default)]
pub struct Subscribed {
    /// The subscriptions that hold.
    pub subscriptions: Vec<Subscription>,
    /// What subscribes to subjects that are not there yet.
    pub wildcards: Vec<Wildcard>,
    /// Subjects with limits of their own.
    pub limits: BTreeMap<Subject, StreamLimits>,
}

/// Says what holds now.
pub type SubscribedNow = Box<dyn Fn() -> Subscribed + Send + Sync>;

/// Streams in an operator's hands.
pub struct StreamsOperator {
    streams: Arc<dyn Streams>,
    subscribed: SubscribedNow,
}

impl StreamsOperator {
    /// Works on `streams`.
    pub fn new(streams: Arc<dyn Streams>, subscribed: SubscribedNow) -> Arc<Self> {
        Arc::new(Self {
            streams,
            subscribed,
        })
    }

    /// Every subject, or `only` that one, with its groups; both by name.
    pub(super) async fn list(
        &self,
        only: Option<&Subject>,
    ) -> Result<Vec<SubjectStatus>, OperateError> {
        let subscribed = (self.subscribed)();
        let mut subjects = BTreeMap::new();
        for (subject, length) in self.streams.subjects().await? {
            if only.is_none_or(|only| *only == subject) {
                let status = subject_status(&subscribed, subject.clone(), length);
                subjects.insert(subject, status);
            }
        }
        if let Some(only) = only.filter(|only| !subjects.contains_key(*only)) {
            return Err(OperateError::UnknownSubject(only.clone()));
        }
        let mut groups = self.streams.groups().await?;
        groups.retain(|group| subjects.contains_key(&group.subject));
        groups.sort();
        let mut asked = stream::iter(groups)
            .map(|group| self.figures(&subscribed, group))
            .buffered(ASKED_AT_ONCE);
        while let Some(answer) = asked.try_next().await? {
            let Some((subject, figures)) = answer else {
                continue;
            };
            if let Some(status) = subjects.get_mut(&subject) {
                status.groups.push(figures);
            }
        }
        Ok(subjects.into_values().collect())
    }

    /// How a group stands; nothing where it was forgotten in the meantime.
    async fn figures(
        &self,
        subscribed: &Subscribed,
        group: Group,
    ) -> Result<Option<(Subject, GroupFigures)>, OperateError> {
        let status = match self.streams.status(&group).await {
            Ok(status) => status,
            Err(StreamError::UnknownGroup { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let figures = GroupFigures {
            lag: status.lag,
            pending: status.pending,
            waiting: status.waiting,
            oldest_age_ms: status.oldest_age.map(ms),
            dead: status.dead,
            subscription: subscribed.to(&group).map(settings),
            group: group.name,
        };
        Ok(Some((group.subject, figures)))
    }

    /// At most `limit` dead letters of one group, or of the subject's groups one after another.
    pub(super) async fn dead(
        &self,
        subject: &Subject,
        group: Option<&ComponentName>,
        limit: usize,
        full: bool,
    ) -> Result<Vec<DeadMessage>, OperateError> {
        let mut room = Room::new(full);
        let mut shown = Vec::new();
        for group in self.groups(subject, group).await? {
            for letter in self.streams.dead(&group, limit - shown.len()).await? {
                shown.push(room.dead(&group.name, letter));
                if room.is_used_up() {
                    return Ok(shown);
                }
            }
            if shown.len() >= limit {
                break;
            }
        }
        Ok(shown)
    }

    /// Puts dead letters back before their groups. Where it fails halfway, some are back, and asking
    /// again puts back the others.
    pub(super) async fn redrive(
        &self,
        subject: &Subject,
        request: RedriveRequest,
    ) -> Result<Redriven, OperateError> {
        let groups = self.groups(subject, request.group.as_ref()).await?;
        let entry = request.id.map(EntryId::new);
        let mut redriven = 0;
        for group in &groups {
            match self.streams.redrive(group, entry.as_ref()).await {
                Ok(count) => redriven += count,
                Err(StreamError::UnknownEntry { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(entry) = entry.filter(|_| redriven == 0) {
            return Err(OperateError::UnknownEntry {
                subject: subject.clone(),
                group: request.group,
                entry,
            });
        }
        tracing::info!(%subject, redriven, "dead letters put back by an operator");
        Ok(Redriven { redriven })
    }

    /// At most `limit` messages that the subject holds, the oldest first; none is delivered by it.
    pub(super) async fn peek(
        &self,
        subject: &Subject,
        after: Option<EntryId>,
        limit: usize,
        full: bool,
    ) -> Result<Vec<HeldMessage>, OperateError> {
        self.known(subject).await?;
        let mut room = Room::new(full);
        let mut shown = Vec::new();
        let mut after = after;
        while shown.len() < limit {
            let wanted = READ_AT_ONCE.min(limit - shown.len());
            let entries = self.streams.peek(subject, after.as_ref(), wanted).await?;
            for entry in &entries {
                shown.push(room.held(entry));
                if room.is_used_up() {
                    return Ok(shown);
                }
            }
            if entries.len() < wanted {
                break;
            }
            after = entries.last().map(|entry| entry.entry.clone());
        }
        Ok(shown)
    }

    /// Publishes a message, as a component would.
    pub(super) async fn publish(
        &self,
        subject: &Subject,
        request: PublishRequest,
    ) -> Result<EntryId, OperateError> {
        let message = message(subject, request)?;
        let subscribed = (self.subscribed)();
        let mut patterns = subscribed.wildcards.iter().map(|one| &one.pattern);
        if !patterns.any(|pattern| pattern.matches(subject)) {
            self.known(subject).await?;
        }
        let entry = self.streams.publish(message).await?;
        tracing::info!(%subject, entry_id = %entry, "message published by an operator");
        Ok(entry)
    }

    /// Removes a group with what it owes and its dead letters.
    pub(super) async fn forget(
        &self,
        subject: &Subject,
        group: &ComponentName,
    ) -> Result<Forgotten, OperateError> {
        let found = self.groups(subject, Some(group)).await?;
        let group = found.into_iter().next().expect("one group was asked for");
        // A manifest that is applied from here on declares the group anew.
        if (self.subscribed)().to(&group).is_some() {
            return Err(OperateError::Subscribed(group));
        }
        let status = self.streams.status(&group).await?;
        self.streams.forget(&group).await?;
        let (owed, dead) = (status.lag + status.pending, status.dead);
        tracing::info!(%group, owed, dead, "group forgotten by an operator");
        Ok(Forgotten {
            subject: group.subject,
            group: group.name,
            owed,
            dead,
        })
    }

    /// Refuses a subject that there is not: what is published to one by mistake is handled by nobody.
    async fn known(&self, subject: &Subject) -> Result<(), OperateError> {
        let subjects = self.streams.subjects().await?;
        if subjects.iter().any(|(known, _)| known == subject) {
            return Ok(());
        }
        Err(OperateError::UnknownSubject(subject.clone()))
    }

    /// The groups of a subject by name, or the one that is asked for.
    async fn groups(
        &self,
        subject: &Subject,
        only: Option<&ComponentName>,
    ) -> Result<Vec<Group>, OperateError> {
        let mut groups = self.streams.groups().await?;
        groups.retain(|group| group.subject == *subject);
        if groups.is_empty() {
            self.known(subject).await?;
        }
        groups.sort();
        let Some(name) = only else {
            return Ok(groups);
        };
        let found = groups.iter().find(|group| group.name == *name).cloned();
        match found {
            Some(found) => Ok(vec![found]),
            None => Err(OperateError::UnknownGroup {
                group: Group {
                    subject: subject.clone(),
                    name: name.clone(),
                },
                known: groups.into_iter().map(|group| group.name).collect(),
            }),
        }
    }
}

impl Subscribed {
    fn to(&self, group: &Group) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| {
            subscription.subject == group.subject && subscription.component == group.name
        })
    }
}

fn subject_status(subscribed: &Subscribed, subject: Subject, length: u64) -> SubjectStatus {
    let limits = subscribed.limits.get(&subject);
    SubjectStatus {
        length,
        length_max: limits.map_or(LENGTH_MAX_DEFAULT, |limits| limits.length_max),
        groups: Vec::new(),
        subject,
    }
}

fn settings(subscription: &Subscription) -> SubscriptionSettings {
    SubscriptionSettings {
        concurrency: subscription.concurrency as u64,
        deliveries_max: subscription.deliveries_max,
        deadline_ms: ms(subscription.deadline),
        lease_ms: ms(subscription.lease),
        backoff_first_ms: ms(subscription.backoff.first),
        backoff_max_ms: ms(subscription.backoff.max),
    }
}

fn message(subject: &Subject, request: PublishRequest) -> Result<Message, OperateError> {
    let body = match (request.body, request.body_base64) {
        (Some(_), Some(_)) => {
            return Err(OperateError::Invalid(
                "a message has `body` or `body_base64`, not both",
            ));
        }
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|_| OperateError::Invalid("`body_base64` is not Base64 with its padding"))?,
        (None, None) => Vec::new(),
    };
    let headers = request.headers.into_iter();
    let headers: Vec<_> = headers.map(|header| (header.name, header.value)).collect();
    if headers.iter().any(|(name, _)| name.is_empty()) {
        return Err(OperateError::Invalid("a header has an empty name"));
    }
    Ok(Message {
        subject: subject.clone(),
        body: body.into(),
        reply_to: request.reply_to,
        headers,
    })
}
