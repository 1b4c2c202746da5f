//! The rollout log: revisions, what is current, and the history.
//!
//! Every operation is durable when it returns, but for the steps of a rollout that goes on: they are
//! written at most once in [`STEPS_WRITTEN_EVERY`] and with every change of state, and reads see
//! them at once. A write whose future is dropped is done as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};
use tokio::time::Instant;

use super::StoreError;
use super::prune::bound_history;
use super::record::{NewRevision, NewRollout, RevisionRecord, now_ms};
use super::tables::{
    CURRENT, Counter, DECLARED, REVISIONS, ROLLOUTS, ROLLOUTS_OF, SWITCHED, UNFINISHED, Within,
    all, applied, create, current_of, find, next, put, rows_of,
};
use crate::capability::embedded::{Applied, Embedded, Failure, Outcome, creating};
use crate::name::{ComponentName, RevisionId, RolloutId};
use crate::rollout::model::{Rollout, RolloutState};

/// Rollouts that the history keeps: years of them by hand, a week of one a minute. At about 1 KiB
/// each they take 10 MiB.
pub const HISTORY_MAX: usize = 10_000;

/// How often the steps of one rollout are written, each time with an fsync. A killed host forgets
/// steps of this last span at most; nothing but the history depends on them.
pub const STEPS_WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// The log in the embedded store. Cheap to clone; all clones are one log.
#[derive(Debug, Clone)]
pub struct RolloutLog {
    store: Arc<Embedded>,
    volatile: Arc<Mutex<Volatile>>,
    pub(super) history_max: usize,
}

/// What a restart forgets.
#[derive(Debug, Default)]
pub(super) struct Volatile {
    /// Rollouts with steps that are not written yet.
    unwritten: BTreeMap<RolloutId, Rollout>,
    /// When each unfinished rollout was written last, and with which state.
    written: BTreeMap<RolloutId, (Instant, RolloutState)>,
    /// Revisions that are neither current yet nor given up.
    pub candidates: BTreeSet<RevisionId>,
}

impl RolloutLog {
    /// Prepares the log's tables in `store`.
    pub async fn open(store: Arc<Embedded>) -> Result<Self, StoreError> {
        let opened: Result<(), StoreError> = store
            .write(0, |transaction| {
                let ((), new) = creating(transaction, || create(transaction))?;
                Ok(applied(new, ()))
            })
            .await?;
        opened?;
        Ok(Self {
            store,
            volatile: Arc::default(),
            history_max: HISTORY_MAX,
        })
    }

    /// Records a candidate and numbers it. It is kept at least until a rollout that names it ends.
    pub async fn add_revision(&self, new: NewRevision) -> Result<RevisionRecord, StoreError> {
        let volatile = self.volatile.clone();
        self.write(move |transaction| {
            let id = next(transaction, Counter::Revision)?;
            let record = RevisionRecord::new(RevisionId(id), new);
            put(&mut transaction.open_table(REVISIONS)?, id, &record)?;
            // On the writer's thread, so that no pruning comes between.
            lock(&volatile).candidates.insert(record.revision);
            Ok(Applied::Changed(record))
        })
        .await
    }

    /// Records that a rollout begins, and numbers it. The oldest of the history makes room.
    pub async fn begin(&self, new: NewRollout) -> Result<Rollout, StoreError> {
        let history_max = self.history_max;
        let rollout = self
            .write(move |transaction| {
                bound_history(transaction, history_max.saturating_sub(1))?;
                let id = next(transaction, Counter::Rollout)?;
                let rollout = new.begun(RolloutId(id));
                put(&mut transaction.open_table(ROLLOUTS)?, id, &rollout)?;
                let row = (rollout.component.as_str(), id);
                transaction.open_table(ROLLOUTS_OF)?.insert(row, ())?;
                transaction.open_table(UNFINISHED)?.insert(id, ())?;
                Ok(Applied::Changed(rollout))
            })
            .await?;
        self.wrote(&rollout);
        Ok(rollout)
    }

    /// Records what became of a rollout. A change of state is durable when this returns; steps alone
    /// may wait for the next write.
    ///
    /// Fails where the log has no such rollout, or it has ended, or would succeed by this without a
    /// [`Self::switch`].
    pub async fn update(&self, rollout: &Rollout) -> Result<(), StoreError> {
        if self.can_wait(rollout) {
            return Ok(());
        }
        let updated = rollout.clone();
        self.write(move |transaction| {
            store_rollout(transaction, &updated)?;
            Ok(Applied::Changed(()))
        })
        .await?;
        self.wrote(rollout);
        Ok(())
    }

    /// Makes `to` the current revision of `component`, or the component absent, and records the
    /// rollout that did it, in one transaction: the rollout is decided when this returns.
    ///
    /// Fails, with nothing changed, where the component has no such revision, or where the rollout's
    /// state in the log does not allow the one in `rollout`, which must be a success.
    pub async fn switch(
        &self,
        component: &ComponentName,
        to: Option<RevisionId>,
        rollout: &Rollout,
    ) -> Result<(), StoreError> {
        let (component, switched) = (component.clone(), rollout.clone());
        self.write(move |transaction| {
            if let Some(revision) = to {
                let found: Option<RevisionRecord> =
                    find(&transaction.open_table(REVISIONS)?, revision.0)?;
                if found.is_none_or(|found| found.component != component) {
                    return Err(Failure::Refused(StoreError::UnknownRevision {
                        component,
                        revision,
                    }));
                }
            }
            store_switched(transaction, &switched)?;
            let mut current = transaction.open_table(CURRENT)?;
            match to {
                Some(revision) => {
                    current.insert(component.as_str(), revision.0)?;
                    let number = next(transaction, Counter::Switch)?;
                    let row = (component.as_str(), revision.0);
                    transaction.open_table(SWITCHED)?.insert(row, number)?;
                }
                None => drop(current.remove(component.as_str())?),
            }
            Ok(Applied::Changed(()))
        })
        .await?;
        self.wrote(rollout);
        Ok(())
    }

    /// Records what the manifest says now: a fingerprint for each of its components. What it said
    /// before of others is forgotten.
    pub async fn declare(
        &self,
        fingerprints: BTreeMap<ComponentName, String>,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let mut declared = transaction.open_table(DECLARED)?;
            let mut changed = false;
            declared.retain(|component, _| {
                let stays = fingerprints.contains_key(component);
                changed |= !stays;
                stays
            })?;
            for (component, fingerprint) in &fingerprints {
                let before = declared.get(component.as_str())?;
                if before.is_none_or(|before| before.value() != fingerprint) {
                    declared.insert(component.as_str(), fingerprint.as_str())?;
                    changed = true;
                }
            }
            Ok(applied(changed, ()))
        })
        .await
    }

    /// What the manifest said at the last [`Self::declare`].
    pub async fn declared(&self) -> Result<BTreeMap<ComponentName, String>, StoreError> {
        self.read(|transaction| {
            let mut declared = BTreeMap::new();
            for row in transaction.open_table(DECLARED)?.iter()? {
                let (component, fingerprint) = row?;
                declared.insert(named(component.value()), fingerprint.value().to_owned());
            }
            Ok(declared)
        })
        .await
    }

    /// The revisions that a restart brings up.
    pub async fn current(&self) -> Result<BTreeMap<ComponentName, RevisionId>, StoreError> {
        self.read(|transaction| {
            let mut current = BTreeMap::new();
            for row in transaction.open_table(CURRENT)?.iter()? {
                let (component, revision) = row?;
                current.insert(named(component.value()), RevisionId(revision.value()));
            }
            Ok(current)
        })
        .await
    }

    /// One revision; `None` where it is not kept.
    pub async fn revision(&self, id: RevisionId) -> Result<Option<RevisionRecord>, StoreError> {
        self.read(move |transaction| find(&transaction.open_table(REVISIONS)?, id.0))
            .await
    }

    /// The revisions of a component that are kept, the newest first. It reads those of all
    /// components, which are few.
    pub async fn revisions(
        &self,
        component: &ComponentName,
    ) -> Result<Vec<RevisionRecord>, StoreError> {
        let component = component.clone();
        self.read(move |transaction| {
            let mut records: Vec<RevisionRecord> = all(&transaction.open_table(REVISIONS)?)?;
            records.retain(|record| record.component == component);
            records.reverse();
            Ok(records)
        })
        .await
    }

    /// The revision that was current before the one that is: of all others that ever were, the one
    /// that was it last. After a rollback this is therefore the revision that was rolled back.
    pub async fn previous(
        &self,
        component: &ComponentName,
    ) -> Result<Option<RevisionId>, StoreError> {
        let component = component.clone();
        self.read(move |transaction| {
            let current = current_of(transaction, component.as_str())?;
            let switched = transaction.open_table(SWITCHED)?;
            let mut last: Option<(u64, u64)> = None;
            for row in switched.range(rows_of(component.as_str()))? {
                let (key, number) = row?;
                let (_, revision) = key.value();
                if Some(revision) != current {
                    last = last.max(Some((number.value(), revision)));
                }
            }
            Ok(last.map(|(_, revision)| RevisionId(revision)))
        })
        .await
    }

    /// One rollout; `None` where the history does not have it.
    pub async fn rollout(&self, id: RolloutId) -> Result<Option<Rollout>, StoreError> {
        let found = self
            .read(move |transaction| find(&transaction.open_table(ROLLOUTS)?, id.0))
            .await?;
        Ok(found.map(|rollout| self.with_unwritten(rollout)))
    }

    /// The newest rollouts of one component or of all, the newest first, at most `limit`.
    pub async fn history(
        &self,
        component: Option<&ComponentName>,
        limit: usize,
    ) -> Result<Vec<Rollout>, StoreError> {
        let component = component.cloned();
        let found = self
            .read(move |transaction| newest(transaction, component.as_ref(), limit))
            .await?;
        let found = found.into_iter();
        Ok(found.map(|rollout| self.with_unwritten(rollout)).collect())
    }

    /// Ends, at start, what the host's end left unfinished: a rollout that had not switched is
    /// interrupted, one that had is complete. Gives them as they are now.
    pub async fn interrupt_unfinished(&self) -> Result<Vec<Rollout>, StoreError> {
        self.write(|transaction| {
            let mut unfinished = transaction.open_table(UNFINISHED)?;
            let mut rollouts = transaction.open_table(ROLLOUTS)?;
            let mut ended = Vec::new();
            for row in unfinished.iter()? {
                let found: Option<Rollout> = find(&rollouts, row?.0.value())?;
                ended.extend(found.map(interrupted));
            }
            for rollout in &ended {
                put(&mut rollouts, rollout.id.0, rollout)?;
            }
            unfinished.retain(|_, ()| false)?;
            Ok(applied(!ended.is_empty(), ended))
        })
        .await
    }

    pub(super) async fn write<T, F>(&self, apply: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Outcome<T, StoreError> + Send + 'static,
    {
        self.store.write(0, apply).await?
    }

    /// Reads a snapshot on the blocking pool.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction) -> Within<T> + Send + 'static,
    {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || Ok(read(&store.read()?)?)).await?
    }

    pub(super) fn volatile(&self) -> &Arc<Mutex<Volatile>> {
        &self.volatile
    }

    /// Whether an update is only steps that need not be written yet; then it is remembered.
    fn can_wait(&self, rollout: &Rollout) -> bool {
        let mut volatile = lock(&self.volatile);
        let waits = volatile.written.get(&rollout.id).is_some_and(|written| {
            let (at, state) = *written;
            state == rollout.state && at.elapsed() < STEPS_WRITTEN_EVERY
        });
        if waits {
            volatile.unwritten.insert(rollout.id, rollout.clone());
        }
        waits
    }

    /// Remembers that `rollout` is durable as it is.
    fn wrote(&self, rollout: &Rollout) {
        let mut volatile = lock(&self.volatile);
        volatile.unwritten.remove(&rollout.id);
        if rollout.state.is_final() {
            volatile.written.remove(&rollout.id);
        } else {
            let written = (Instant::now(), rollout.state);
            volatile.written.insert(rollout.id, written);
        }
        if rollout.state != RolloutState::Running
            && let Some(candidate) = rollout.to
        {
            volatile.candidates.remove(&candidate);
        }
    }

    /// A rollout as it was read, or with the steps that are not written yet. What was written with a
    /// later state is not taken back.
    fn with_unwritten(&self, read: Rollout) -> Rollout {
        match lock(&self.volatile).unwritten.get(&read.id) {
            Some(newer) if newer.state == read.state => newer.clone(),
            Some(_) | None => read,
        }
    }
}

pub(super) fn lock(volatile: &Mutex<Volatile>) -> MutexGuard<'_, Volatile> {
    volatile.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that the log wrote, which was one then.
fn named(text: &str) -> ComponentName {
    text.parse()
        .expect("the log writes the names of components alone")
}

fn newest(
    transaction: &ReadTransaction,
    component: Option<&ComponentName>,
    limit: usize,
) -> Within<Vec<Rollout>> {
    let rollouts = transaction.open_table(ROLLOUTS)?;
    let mut ids = Vec::new();
    match component {
        Some(component) => {
            let rows = transaction.open_table(ROLLOUTS_OF)?;
            for row in rows.range(rows_of(component.as_str()))?.rev().take(limit) {
                ids.push(row?.0.value().1);
            }
        }
        None => {
            for row in rollouts.iter()?.rev().take(limit) {
                ids.push(row?.0.value());
            }
        }
    }
    let mut found = Vec::new();
    for id in ids {
        found.extend(find::<Rollout>(&rollouts, id)?);
    }
    Ok(found)
}

/// Puts an update in place, where the rollout's state in the log allows it.
fn store_rollout(transaction: &WriteTransaction, rollout: &Rollout) -> Within<()> {
    let from = state_of(transaction, rollout.id)?;
    let allowed = match from {
        RolloutState::Running => !rollout.state.is_success(),
        RolloutState::Switched => rollout.state.is_success(),
        RolloutState::Completed
        | RolloutState::Refused
        | RolloutState::RolledBack
        | RolloutState::Superseded
        | RolloutState::Cancelled
        | RolloutState::Interrupted => false,
    };
    replace(transaction, rollout, from, allowed)
}

/// The same for a switch.
fn store_switched(transaction: &WriteTransaction, rollout: &Rollout) -> Within<()> {
    let from = state_of(transaction, rollout.id)?;
    let allowed = from == RolloutState::Running && rollout.state.is_success();
    replace(transaction, rollout, from, allowed)
}

fn state_of(transaction: &WriteTransaction, id: RolloutId) -> Within<RolloutState> {
    let found: Option<Rollout> = find(&transaction.open_table(ROLLOUTS)?, id.0)?;
    found
        .map(|rollout| rollout.state)
        .ok_or(Failure::Refused(StoreError::UnknownRollout(id)))
}

fn replace(
    transaction: &WriteTransaction,
    rollout: &Rollout,
    from: RolloutState,
    allowed: bool,
) -> Within<()> {
    if !allowed {
        return Err(Failure::Refused(StoreError::WrongOrder {
            rollout: rollout.id,
            from,
            to: rollout.state,
        }));
    }
    let mut rollouts = transaction.open_table(ROLLOUTS)?;
    put(&mut rollouts, rollout.id.0, rollout)?;
    if rollout.state.is_final() {
        transaction.open_table(UNFINISHED)?.remove(rollout.id.0)?;
    }
    Ok(())
}

fn interrupted(mut rollout: Rollout) -> Rollout {
    let (state, reason) = if rollout.state == RolloutState::Switched {
        let reason = "the host ended while the earlier revision drained";
        (RolloutState::Completed, reason)
    } else {
        let reason = "the host ended before the switch";
        (RolloutState::Interrupted, reason)
    };
    rollout.state = state;
    rollout.reason = Some(reason.to_owned());
    rollout.ended_at_ms = Some(now_ms());
    rollout
}
