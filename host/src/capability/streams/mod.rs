//! Message streams: what `wasmcloud:messaging` is served from.
//!
//! A subject holds entries in the order of their publication. Each group (one per subscription) gets
//! every entry at least once and owes an outcome for it:
//!
//! ```text
//! never delivered --claim--> leased --acknowledge--> gone
//!                   ^          |  \--dead_letter--> dead --redrive--> never delivered
//!                   |          |--retry(after)--> waiting --claim--> leased (attempt + 1)
//!                   \-release--/  lease runs out: as retry, at once
//! ```
//!
//! An entry is removed once every group of its subject has acknowledged or dead-lettered it. What is
//! decided about a failed delivery (how often, how long between) is the caller's policy, not ours.

mod embedded;
mod patterns;
mod redis;

#[cfg(test)]
mod conformance;

pub use embedded::EmbeddedStreams;
pub use patterns::{PATTERN_SUBJECTS_MAX, PatternStreams};

pub use self::redis::RedisStreams;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::name::{ComponentName, Subject};

/// Most entries that a subject holds unless its manifest says otherwise: a hundred thousand messages
/// of a few hundred bytes are some tens of megabytes on disk, and hours of work for most consumers.
pub const LENGTH_MAX_DEFAULT: u64 = 100_000;

/// Largest message: body, headers and reply subject together. It is the default `max_payload` of
/// NATS, which `wasmcloud:messaging` was made for; what is larger belongs into a blob.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Longest reason that is kept with a dead letter, in bytes. It is for a person to read.
const REASON_BYTES_MAX: usize = 4096;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it is published to.
    pub subject: Subject,
    /// The payload.
    pub body: Bytes,
    /// Where an answer is wanted, if one is. Any text: it is handed through.
    pub reply_to: Option<String>,
    /// Names and values that are handed through, in order; a name may repeat.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// What counts against [`MESSAGE_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.body.len() + self.reply_to.as_ref().map_or(0, String::len) + headers.sum::<usize>()
    }
}

/// An entry of a subject, unique within it for ever. The form is the backend's; it is text without
/// spaces that can stand in a log, a header or a URL path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Arc<str>);

impl EntryId {
    /// Takes an identifier as the backend or an operator wrote it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A consumer group: one subscription's place in one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// What it consumes.
    pub subject: Subject,
    /// The component that consumes it.
    pub name: ComponentName,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.subject)
    }
}

/// Proof of one claim, so that whoever lost its lease cannot settle another's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseToken(u64);

/// One attempt at one message: the holder owes `acknowledge`, `retry`, `release` or `dead_letter`, or
/// the lease runs out.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Which entry.
    pub entry: EntryId,
    /// For which group.
    pub group: Group,
    /// 1 the first time.
    pub attempt: u32,
    /// What was published.
    pub message: Message,
    /// When it was published, by the clock of the publishing host.
    pub published_at: SystemTime,
    /// The claim that made it.
    pub token: LeaseToken,
}

/// A message that a group gave up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Which entry it was, and is again after a redrive.
    pub entry: EntryId,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When it was given up.
    pub died_at: SystemTime,
    /// When it was published.
    pub published_at: SystemTime,
    /// What was published.
    pub message: Message,
}

/// An entry that a subject holds, as it can be looked at without being delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub entry: EntryId,
    /// When it was published, by the clock of the publishing host.
    pub published_at: SystemTime,
    /// What was published.
    pub message: Message,
}

/// How a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// Entries that the subject holds, for all groups.
    pub length: u64,
    /// Entries that this group was never delivered.
    pub lag: u64,
    /// Entries that this group was delivered and has not settled: leased, or waiting for a retry.
    pub pending: u64,
    /// Those of the pending entries that wait for another attempt.
    pub waiting: u64,
    /// How long ago the oldest entry that this group has not settled was published.
    pub oldest_age: Option<Duration>,
    /// Dead letters of this group.
    pub dead: u64,
}

/// Why an operation on a stream did not happen. Nothing was changed, unless it is `Backend`: then it
/// may or may not have become durable.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The subject holds as many unsettled entries as it may. It passes when consumers catch up.
    #[error(
        "subject {subject} is full: it holds {length_max} messages that are not acknowledged yet"
    )]
    Full {
        /// Which subject.
        subject: Subject,
        /// How many entries it may hold.
        length_max: u64,
    },
    /// Patterns match as many subjects as can be subscribed to, and this would be one more.
    #[error(
        "subject {subject} would be one more than the {subjects_max} that subscriptions by pattern may match: publish to fewer subjects, or subscribe to them by name"
    )]
    TooManySubjects {
        /// Which subject.
        subject: Subject,
        /// How many there may be.
        subjects_max: usize,
    },
    /// The delivery's lease ran out and another claim has the entry, or it was settled already.
    #[error("the lease on entry {entry} for {group} was lost")]
    LeaseLost {
        /// For which group.
        group: Group,
        /// Which entry.
        entry: EntryId,
    },
    /// The message is larger than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes to {subject} is larger than the {bytes_max} bytes allowed")]
    TooLarge {
        /// Which subject.
        subject: Subject,
        /// How large the message is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// The group was not declared since this backend was opened.
    #[error("there is no group {group}")]
    UnknownGroup {
        /// Which group was asked for.
        group: Group,
    },
    /// The group has no such dead letter.
    #[error("{group} has no dead letter {entry}")]
    UnknownEntry {
        /// Which group was asked.
        group: Group,
        /// Which entry was asked for.
        entry: EntryId,
    },
    /// The backend cannot say what it holds.
    #[error("the streams cannot be listed")]
    Index {
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The host failed: the backend cannot be reached, or its medium is broken.
    #[error("the stream of subject {subject} failed")]
    Backend {
        /// Which subject.
        subject: Subject,
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// One backend that holds any number of subjects.
///
/// Every call that changes something is atomic and durable when it returns. Cancelling one (dropping
/// its future) leaves it either undone or done as a whole.
#[async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Makes `group` known, with the time that a claim is leased for. It may be called again, and is
    /// after every open; a changed lease holds for later claims. A new group starts at the oldest
    /// entry that the subject still holds: at everything, while no group has consumed from it. The
    /// first time after an open, what this host had leased before it is due at once.
    async fn declare(&self, group: &Group, lease: Duration) -> Result<(), StreamError>;

    /// Removes a group with its dead letters, and the entries that only it still owed. A group that no
    /// subscription consumes any more would otherwise hold entries until the subject is full.
    async fn forget(&self, group: &Group) -> Result<(), StreamError>;

    /// Every group that was declared and not forgotten, also before the last open.
    async fn groups(&self) -> Result<Vec<Group>, StreamError>;

    /// Every subject that was published to or that a group was declared for, with the number of
    /// entries that it holds.
    async fn subjects(&self) -> Result<Vec<(Subject, u64)>, StreamError>;

    /// At most `limit` entries that the subject holds, the oldest first, after the entry `after`.
    /// Nothing is delivered by it.
    async fn peek(
        &self,
        subject: &Subject,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StreamError>;

    /// Whether other hosts use the same streams: then what this one does not know may be theirs.
    fn shared(&self) -> bool;

    /// Sets how many entries `subject` may hold until the next open ([`LENGTH_MAX_DEFAULT`] unless
    /// set).
    async fn limit(&self, subject: &Subject, length_max: u64) -> Result<(), StreamError>;

    /// Adds a message; it is durable when this returns. [`StreamError::Full`] when the subject holds
    /// its `length_max` of entries that some group has not settled (or that wait for a first group).
    async fn publish(&self, message: Message) -> Result<EntryId, StreamError>;

    /// Takes at most `max` due deliveries, the ones that wait for a retry first, then in the order of
    /// publication; waits until there is at least one. Each one's attempt is durable before it is
    /// handed over. Cancelled, it leaves nothing leased.
    async fn claim(&self, group: &Group, max: usize) -> Result<Vec<Delivery>, StreamError>;

    /// Starts the delivery's lease anew. Call it well within the lease time.
    async fn extend(&self, delivery: &Delivery) -> Result<(), StreamError>;

    /// Settles the delivery: this group is done with the entry.
    async fn acknowledge(&self, delivery: &Delivery) -> Result<(), StreamError>;

    /// Gives the delivery back, to be claimed again once `after` has passed; what is behind it does
    /// not wait. Where the delay is kept by this process, it is due at once after an open.
    async fn retry(
        &self,
        delivery: &Delivery,
        after: Duration,
        reason: &str,
    ) -> Result<(), StreamError>;

    /// Gives the delivery back, due at once, as if it had not been claimed: the attempt does not count.
    async fn release(&self, delivery: &Delivery) -> Result<(), StreamError>;

    /// Moves the entry to the group's dead letters, in one step.
    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), StreamError>;

    /// How the group stands.
    async fn status(&self, group: &Group) -> Result<GroupStatus, StreamError>;

    /// At most `limit` of the group's dead letters, the oldest entry first.
    async fn dead(&self, group: &Group, limit: usize) -> Result<Vec<DeadLetter>, StreamError>;

    /// Puts one dead letter, or all of them, back before the group, with no attempt counted; says how
    /// many. It may take the subject past its `length_max`: what was accepted once is not refused.
    async fn redrive(&self, group: &Group, entry: Option<&EntryId>) -> Result<u64, StreamError>;
}
