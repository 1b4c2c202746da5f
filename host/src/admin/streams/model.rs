//! What operators ask of streams and are told: the words that the admin API and the command line
//! share.
//!
//! Everything here is plain data that goes over the wire as JSON; times are milliseconds since 1970
//! (UTC), durations milliseconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ComponentName, Subject};

/// A subject, and how its groups stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectStatus {
    /// The subject.
    pub subject: Subject,
    /// Messages that it holds: what some group still owes, or what waits for a first group.
    pub length: u64,
    /// Messages that it may hold, by this host's manifest.
    pub length_max: u64,
    /// Its groups, by name.
    pub groups: Vec<GroupFigures>,
}

/// How a group stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupFigures {
    /// The component that consumes; a group has its name.
    pub group: ComponentName,
    /// Messages that it was never delivered.
    pub lag: u64,
    /// Messages that it was delivered and has not settled.
    pub pending: u64,
    /// Those of the pending ones that wait for another attempt.
    pub waiting: u64,
    /// How long ago the oldest message that it has not settled was published.
    pub oldest_age_ms: Option<u64>,
    /// Its dead letters.
    pub dead: u64,
    /// How this host subscribes; null where no subscription of this host names the group.
    pub subscription: Option<SubscriptionSettings>,
}

/// How a subscription is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionSettings {
    /// Deliveries in progress at once.
    pub concurrency: u64,
    /// Deliveries of one message before it becomes a dead letter.
    pub deliveries_max: u32,
    /// Longest that one delivery may work.
    pub deadline_ms: u64,
    /// How long a delivery is held before another host may take it over.
    pub lease_ms: u64,
    /// The pause after the first failure.
    pub backoff_first_ms: u64,
    /// The longest pause.
    pub backoff_max_ms: u64,
}

/// A header of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageHeader {
    /// Its name, which may repeat.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownMessage {
    /// Its headers, in their order.
    pub headers: Vec<MessageHeader>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// Its body, where that is text.
    pub body: Option<String>,
    /// Its body in Base64 (RFC 4648, section 4), where that is no text.
    pub body_base64: Option<String>,
    /// The length of its whole body.
    pub body_bytes: u64,
    /// Whether only the beginning of the body is shown.
    pub cut: bool,
}

/// A message that a subject holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldMessage {
    /// Which one.
    pub entry: String,
    /// When it was published.
    pub published_at_ms: u64,
    /// What was published.
    #[serde(flatten)]
    pub message: ShownMessage,
}

/// A message that a group gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadMessage {
    /// Which one.
    pub entry: String,
    /// The group.
    pub group: ComponentName,
    /// Attempts that were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When it was given up.
    pub died_at_ms: u64,
    /// When it was published.
    pub published_at_ms: u64,
    /// What was published.
    #[serde(flatten)]
    pub message: ShownMessage,
}

/// Which dead letters go back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// Those of this group; of every group where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ComponentName>,
    /// The one with this entry; all of them where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What a redrive has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redriven {
    /// Dead letters that are before their group again.
    pub redriven: u64,
}

/// A message to be published. Its body is empty where neither form is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in Base64 (RFC 4648, section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<MessageHeader>,
    /// Where an answer is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// Its entry.
    pub id: String,
}

/// A group that is forgotten, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    /// The subject.
    pub subject: Subject,
    /// The group.
    pub group: ComponentName,
    /// Messages that it owed and that are removed, unless another group owes them.
    pub owed: u64,
    /// Dead letters that are removed.
    pub dead: u64,
}
