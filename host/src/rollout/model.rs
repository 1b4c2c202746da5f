//! What operators ask for and are told: the words of rollouts, shared by the rollout log, the admin
//! API and the command line.
//!
//! Everything here is plain data that goes over the wire as JSON; times are milliseconds since 1970
//! (UTC), durations milliseconds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::manifest::supplied::Supplied;
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};

/// A share of new work, in percent: more than 0, at most 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.01, "maximum": 100 })
    }
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self(100.0);

    /// As a fraction of 1.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

/// A share that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a share: write a percentage from 0.01% to 100%, such as 10%")]
pub struct ShareError(String);

impl TryFrom<f64> for Share {
    type Error = ShareError;

    fn try_from(percent: f64) -> Result<Self, ShareError> {
        if (0.01..=100.0).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(ShareError(percent.to_string()))
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Reads `10%` or `10`.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let error = || ShareError(text.to_owned());
        let number = text.strip_suffix('%').unwrap_or(text);
        let percent: f64 = number.trim().parse().map_err(|_| error())?;
        Self::try_from(percent).map_err(|_| error())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// What a swap is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapRequest {
    /// The new artifact, which was uploaded before; without one the current revision's is kept.
    #[serde(default)]
    pub artifact: Option<Digest>,
    /// Environment variables to set on top of the current revision's.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// A share of the work first, and the rest once it has proved itself.
    #[serde(default)]
    pub canary: Option<CanaryRequest>,
    /// Who asks, in their own words; kept in the history.
    pub by: String,
    /// Stop before anything changes, and answer with the plan.
    #[serde(default)]
    pub dry_run: bool,
}

/// How a candidate proves itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryRequest {
    /// Shares of new work, one after another, each larger than the one before.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<Share>,
    /// How long each step is watched.
    pub bake_ms: u64,
    /// Pieces of work on each side without which a step decides nothing; 100 by default.
    #[serde(default)]
    pub samples_min: Option<u64>,
}

/// What a rollback is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The revision to go back to; without one, the one that was current before.
    #[serde(default)]
    pub to: Option<RevisionId>,
    /// Who asks, in their own words; kept in the history.
    pub by: String,
}

/// A manifest to be made true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The manifest's text.
    pub manifest: String,
    /// Where the manifest is, for messages; nothing is read there.
    pub path: String,
    /// What it is given from outside of it.
    #[serde(default)]
    pub supplied: Supplied,
    /// The digest of each component's artifact, all of which were uploaded before.
    pub artifacts: BTreeMap<ComponentName, Digest>,
    /// Who asks, in their own words; kept in the history.
    pub by: String,
    /// Answer with the plan and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// An artifact that was taken into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredArtifact {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// What a swap would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Whose.
    pub component: ComponentName,
    /// The revision that serves now.
    pub from: Option<RevisionId>,
    /// The digest that serves now.
    pub from_digest: Option<Digest>,
    /// The digest that would serve.
    pub digest: Digest,
    /// The size of the candidate's artifact.
    pub bytes: u64,
    /// How the candidate's world differs, as a unified diff of WIT; empty where it does not.
    pub wit_diff: String,
    /// Environment variables that change: names only, since values may be private.
    pub config_changes: Vec<String>,
    /// Why the candidate would be refused; empty where it would be accepted.
    pub problems: Vec<String>,
    /// The shares of work it would get, one after another; the last one is 100.
    pub steps: Vec<Share>,
}

/// What applying a manifest would do, or does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplyPlan {
    /// Components that are added, changed or removed, with what changes about each, in the order in
    /// which they are rolled out. Components that stay as they are do not appear.
    pub components: Vec<ComponentChange>,
    /// Routes that are added, with a leading `+`, and removed, with a leading `-`.
    pub routes: Vec<String>,
    /// The same for subscriptions and stream limits.
    pub subscriptions: Vec<String>,
    /// Why the manifest would be refused; empty where it would be accepted.
    pub problems: Vec<String>,
    /// The rollouts that were begun; none for a dry run.
    pub rollouts: Vec<RolloutId>,
}

/// What becomes of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentChange {
    /// Whose.
    pub component: ComponentName,
    /// What happens to it.
    pub change: Change,
    /// What differs, in words: `artifact`, `environment LOG_LEVEL`, `limits.memory`.
    pub details: Vec<String>,
}

/// What happens to a component when a manifest is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It gets a new revision.
    Changed,
    /// It is drained and ends.
    Removed,
}

/// The steps of a rollout, in their order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It waits for an earlier rollout of the same component.
    Queue,
    /// The artifact is read; its outline and its imports are checked, and its world is compared with the
    /// current one.
    Verify,
    /// It is compiled, or found in the cache.
    Compile,
    /// It is linked, checked type by type against what uses it, and instantiated; its health request, if
    /// it has one, is answered.
    Prewarm,
    /// Its migration hook, if it exports one, is run.
    Migrate,
    /// A share of the new work goes to it; there may be several of these.
    Canary,
    /// It becomes durable, then current.
    Switch,
    /// The earlier revision finishes what it accepted.
    Drain,
    /// The earlier revision is released.
    Retire,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It goes on. Allowed next: any other.
    Running,
    /// The new revision is current; the earlier one may still drain. Allowed next: `Completed`.
    Switched,
    /// The new revision is current and the earlier one is gone.
    Completed,
    /// The candidate was refused before it got any work.
    Refused,
    /// The candidate got work and did not prove itself; the earlier revision serves.
    RolledBack,
    /// A later swap of the same component ended its canary; the earlier revision serves.
    Superseded,
    /// An operator ended it before the switch; the earlier revision serves.
    Cancelled,
    /// The host ended before the switch; the earlier revision serves.
    Interrupted,
}

impl RolloutState {
    /// Whether the rollout's candidate is what serves.
    pub fn is_success(self) -> bool {
        match self {
            Self::Switched | Self::Completed => true,
            Self::Running
            | Self::Refused
            | Self::RolledBack
            | Self::Superseded
            | Self::Cancelled
            | Self::Interrupted => false,
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Switched)
    }
}

/// What made a rollout begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The host started with a manifest that said something new.
    Start,
    /// An operator asked for a swap.
    Swap,
    /// An operator asked for a rollback.
    Rollback,
    /// An operator applied a manifest.
    Apply,
    /// A source file was saved.
    Watch,
}

/// One rollout: the history's entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// Its number.
    pub id: RolloutId,
    /// Whose.
    pub component: ComponentName,
    /// What made it begin.
    pub cause: Cause,
    /// Who asked, in their own words.
    pub by: String,
    /// The revision that was current when it began.
    pub from: Option<RevisionId>,
    /// The candidate, once it has a number.
    pub to: Option<RevisionId>,
    /// The candidate's digest.
    pub digest: Digest,
    /// Where it stands.
    pub state: RolloutState,
    /// Why it ended as it did, where that was not what was asked for.
    pub reason: Option<String>,
    /// When it began.
    pub began_at_ms: u64,
    /// When its state became final.
    pub ended_at_ms: Option<u64>,
    /// The steps that ended, in their order.
    pub steps: Vec<StepDone>,
}

/// A step that ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepDone {
    /// Which.
    pub step: Step,
    /// How long it took.
    pub took_ms: f64,
    /// What there is to say about it: `cached`, `10% for 30s: 812 requests, 0 errors, p99 1.2 ms`.
    pub detail: Option<String>,
}

/// Something that happens in a rollout, as its events tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RolloutEvent {
    /// A step begins.
    Began {
        /// Which.
        step: Step,
        /// What there is to say about it.
        detail: Option<String>,
    },
    /// A step is still at work, with how far it is: what a canary measures, what still drains.
    Progress {
        /// Which.
        step: Step,
        /// How far.
        detail: String,
    },
    /// A step ended well.
    Done(StepDone),
    /// The rollout's state changed. The last event of a rollout has a final state.
    State {
        /// The new state.
        state: RolloutState,
        /// Why.
        reason: Option<String>,
    },
}

/// A component as `wharf ps` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentStatus {
    /// Its name.
    pub component: ComponentName,
    /// What serves and what drains, the current revision first.
    pub revisions: Vec<RevisionStatus>,
    /// The rollout that is at work on it.
    pub rollout: Option<RolloutId>,
}

/// A revision that lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionStatus {
    /// Its number.
    pub revision: RevisionId,
    /// Its artifact.
    pub digest: Digest,
    /// What it is to new work.
    pub role: Role,
    /// The share of new work that it gets, in percent.
    pub share: f64,
    /// Requests that it works on.
    pub requests: u64,
    /// Deliveries that it works on.
    pub deliveries: u64,
    /// Pieces of work that ended in each second, over the last ten.
    pub rate: f64,
    /// The share of them that failed, from 0 to 1.
    pub error_ratio: f64,
    /// The 99th percentile of their latency over the last ten seconds; none where nothing ended.
    pub p99_ms: Option<f64>,
}

/// What a revision is to new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It gets what the candidate does not.
    Active,
    /// It gets a share.
    Candidate,
    /// It gets none and finishes what it has.
    Draining,
}

/// A revision as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionSummary {
    /// Its number.
    pub revision: RevisionId,
    /// Whose.
    pub component: ComponentName,
    /// Its artifact.
    pub digest: Digest,
    /// When it was made.
    pub made_at_ms: u64,
    /// What made it.
    pub cause: Cause,
    /// Who.
    pub by: String,
    /// It is the one that a restart brings up.
    pub current: bool,
    /// Environment variables that it has, without values.
    pub environment: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("10%".parse::<Share>().expect("a share").fraction(), 0.1);
        assert_eq!("0.5".parse::<Share>().expect("a share").to_string(), "0.5%");
        for bad in ["", "%", "0", "-1%", "101%", "ten", "nan"] {
            assert!(bad.parse::<Share>().is_err(), "{bad:?}");
        }
    }
}
