//! What the log forgets, so that a state directory does not grow for ever.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};

use super::log::lock;
use super::record::RevisionRecord;
use super::tables::{
    CURRENT, REVISIONS, ROLLOUTS, ROLLOUTS_OF, SWITCHED, UNFINISHED, Within, all, applied, find,
};
use super::{RolloutLog, StoreError};
use crate::name::{Digest, RevisionId};
use crate::rollout::model::Rollout;

impl RolloutLog {
    /// Deletes revisions, but for the `revisions_kept` of each component that were current last
    /// (the current one is one of them), those in `keep`, and candidates of rollouts at work. Also
    /// what a component that was removed leaves behind is kept in that number.
    ///
    /// Gives the digests that were used by what it deleted and by no revision that is left.
    pub async fn prune(
        &self,
        revisions_kept: usize,
        keep: &BTreeSet<RevisionId>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let (keep, volatile) = (keep.clone(), self.volatile().clone());
        self.write(move |transaction| {
            let records: Vec<RevisionRecord> = all(&transaction.open_table(REVISIONS)?)?;
            let mut kept = last_current(transaction, revisions_kept)?;
            for row in transaction.open_table(CURRENT)?.iter()? {
                kept.insert(RevisionId(row?.1.value()));
            }
            kept.extend(keep);
            kept.extend(&lock(&volatile).candidates);
            let (left, deleted): (Vec<_>, Vec<_>) = records
                .iter()
                .partition(|record| kept.contains(&record.revision));
            delete(transaction, &deleted)?;
            let used: BTreeSet<Digest> = left.iter().map(|record| record.digest).collect();
            let unused = deleted.iter().map(|record| record.digest);
            let unused = unused.filter(|digest| !used.contains(digest)).collect();
            Ok(applied(!deleted.is_empty(), unused))
        })
        .await
    }

    /// The artifacts of all revisions that are kept.
    pub async fn digests(&self) -> Result<BTreeSet<Digest>, StoreError> {
        self.read(|transaction| {
            let records: Vec<RevisionRecord> = all(&transaction.open_table(REVISIONS)?)?;
            Ok(records.iter().map(|record| record.digest).collect())
        })
        .await
    }
}

/// The `count` revisions of each component that were current last.
fn last_current(transaction: &WriteTransaction, count: usize) -> Within<BTreeSet<RevisionId>> {
    let mut by_component: BTreeMap<String, Vec<(u64, RevisionId)>> = BTreeMap::new();
    for row in transaction.open_table(SWITCHED)?.iter()? {
        let (key, number) = row?;
        let (component, revision) = key.value();
        let switches = by_component.entry(component.to_owned()).or_default();
        switches.push((number.value(), RevisionId(revision)));
    }
    let mut last = BTreeSet::new();
    for mut switches in by_component.into_values() {
        switches.sort_unstable();
        let newest = switches.iter().rev().take(count);
        last.extend(newest.map(|(_, revision)| *revision));
    }
    Ok(last)
}

fn delete(transaction: &WriteTransaction, records: &[&RevisionRecord]) -> Within<()> {
    let mut revisions = transaction.open_table(REVISIONS)?;
    let mut switched = transaction.open_table(SWITCHED)?;
    for record in records {
        revisions.remove(record.revision.0)?;
        switched.remove((record.component.as_str(), record.revision.0))?;
    }
    Ok(())
}

/// Deletes the oldest rollouts that have ended until `left_max` are left, or only others.
pub(super) fn bound_history(transaction: &WriteTransaction, left_max: usize) -> Within<()> {
    let mut rollouts = transaction.open_table(ROLLOUTS)?;
    let unfinished = transaction.open_table(UNFINISHED)?;
    let kept = u64::try_from(left_max).unwrap_or(u64::MAX);
    let mut excess = rollouts.len()?.saturating_sub(kept);
    if excess == 0 {
        return Ok(());
    }
    let mut oldest = Vec::new();
    for row in rollouts.iter()? {
        let id = row?.0.value();
        if excess == 0 {
            break;
        }
        if unfinished.get(id)?.is_none() {
            oldest.extend(find::<Rollout>(&rollouts, id)?);
            excess -= 1;
        }
    }
    let mut rows = transaction.open_table(ROLLOUTS_OF)?;
    for rollout in oldest {
        rows.remove((rollout.component.as_str(), rollout.id.0))?;
        rollouts.remove(rollout.id.0)?;
    }
    Ok(())
}
