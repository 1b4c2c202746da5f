//! What the log keeps of revisions and rollouts, as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::manifest::model::Component;
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};
use crate::rollout::model::{Cause, RevisionSummary, Rollout, RolloutState};

/// A revision that is to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRevision {
    /// Its configuration, whose name says whose revision it is.
    pub settings: Component,
    /// Its artifact.
    pub digest: Digest,
    /// What made it.
    pub cause: Cause,
    /// Who asked for it, in their own words.
    pub by: String,
}

/// A revision as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Its number.
    pub revision: RevisionId,
    /// Whose.
    pub component: ComponentName,
    /// Its configuration, as the manifest was resolved when it was made.
    pub settings: Component,
    /// Its artifact.
    pub digest: Digest,
    /// When it was made, in milliseconds since 1970.
    pub made_at_ms: u64,
    /// What made it.
    pub cause: Cause,
    /// Who asked for it, in their own words.
    pub by: String,
}

impl RevisionRecord {
    pub(super) fn new(revision: RevisionId, new: NewRevision) -> Self {
        Self {
            revision,
            component: new.settings.name.clone(),
            settings: new.settings,
            digest: new.digest,
            made_at_ms: now_ms(),
            cause: new.cause,
            by: new.by,
        }
    }

    /// What operators see of it: no values of variables. `current` says whether it is what a restart
    /// brings up.
    pub fn summary(&self, current: bool) -> RevisionSummary {
        let settings = &self.settings;
        let variables = settings.environment.keys().chain(settings.secrets.keys());
        let mut environment: Vec<String> = variables.cloned().collect();
        environment.sort();
        RevisionSummary {
            revision: self.revision,
            component: self.component.clone(),
            digest: self.digest,
            made_at_ms: self.made_at_ms,
            cause: self.cause,
            by: self.by.clone(),
            current,
            environment,
        }
    }
}

/// A rollout that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRollout {
    /// Whose.
    pub component: ComponentName,
    /// What makes it begin.
    pub cause: Cause,
    /// Who asked, in their own words.
    pub by: String,
    /// The revision that is current now.
    pub from: Option<RevisionId>,
    /// The candidate, where it has a number already.
    pub to: Option<RevisionId>,
    /// The candidate's artifact.
    pub digest: Digest,
}

impl NewRollout {
    pub(super) fn begun(self, id: RolloutId) -> Rollout {
        Rollout {
            id,
            component: self.component,
            cause: self.cause,
            by: self.by,
            from: self.from,
            to: self.to,
            digest: self.digest,
            state: RolloutState::Running,
            reason: None,
            began_at_ms: now_ms(),
            ended_at_ms: None,
            steps: Vec::new(),
        }
    }
}

/// A kind of record.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// What it is called where it is wrong.
    const NAME: &'static str;
}

impl Record for RevisionRecord {
    const NAME: &'static str = "revision";
}

impl Record for Rollout {
    const NAME: &'static str = "rollout";
}

fn wrong<T: Record>(id: u64) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |source| StoreError::Record {
        record: format!("{} {id}", T::NAME),
        source,
    }
}

/// Writes the record with the number `id`.
pub(super) fn encode<T: Record>(id: u64, record: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(wrong::<T>(id))
}

/// Reads the record with the number `id`.
pub(super) fn decode<T: Record>(id: u64, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(wrong::<T>(id))
}

/// The time of day. A clock before 1970 reads as 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
