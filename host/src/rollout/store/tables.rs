//! The log's tables in the embedded store.

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::StoreError;
use super::record::{Record, decode, encode};
use crate::capability::embedded::{Applied, Failure};

/// Revision to its record.
pub(super) const REVISIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("rollout-revisions");

/// Component to its current revision.
pub(super) const CURRENT: TableDefinition<&str, u64> = TableDefinition::new("rollout-current");

/// (component, revision) to the number of the last switch that made the revision current. A revision
/// that never was is not in it.
pub(super) const SWITCHED: TableDefinition<(&str, u64), u64> =
    TableDefinition::new("rollout-switched");

/// Component to the fingerprint of what the manifest last said of it.
pub(super) const DECLARED: TableDefinition<&str, &str> = TableDefinition::new("rollout-declared");

/// Rollout to its record.
pub(super) const ROLLOUTS: TableDefinition<u64, &[u8]> = TableDefinition::new("rollout-history");

/// (component, rollout), for the history of one component.
pub(super) const ROLLOUTS_OF: TableDefinition<(&str, u64), ()> =
    TableDefinition::new("rollout-history-of");

/// Rollouts whose state is not final.
pub(super) const UNFINISHED: TableDefinition<u64, ()> = TableDefinition::new("rollout-unfinished");

/// What is counted, to the last number that was given out.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("rollout-counters");

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    Revision,
    Rollout,
    Switch,
}

impl Counter {
    fn key(self) -> &'static str {
        match self {
            Self::Revision => "revision",
            Self::Rollout => "rollout",
            Self::Switch => "switch",
        }
    }
}

/// A result within a transaction.
pub(super) type Within<T> = Result<T, Failure<StoreError>>;

/// A table of records.
pub(super) type Records<'a> = Table<'a, u64, &'static [u8]>;

/// Opens every table, so that each read finds them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(REVISIONS)?;
    transaction.open_table(CURRENT)?;
    transaction.open_table(SWITCHED)?;
    transaction.open_table(DECLARED)?;
    transaction.open_table(ROLLOUTS)?;
    transaction.open_table(ROLLOUTS_OF)?;
    transaction.open_table(UNFINISHED)?;
    transaction.open_table(COUNTERS)?;
    Ok(())
}

/// The next number, which is never given out again.
pub(super) fn next(transaction: &WriteTransaction, counter: Counter) -> Within<u64> {
    let mut counters = transaction.open_table(COUNTERS)?;
    let last = counters.get(counter.key())?.map(|number| number.value());
    let number = last.unwrap_or(0) + 1;
    counters.insert(counter.key(), number)?;
    Ok(number)
}

/// The record with the number `id`.
pub(super) fn find<T: Record>(
    table: &impl ReadableTable<u64, &'static [u8]>,
    id: u64,
) -> Within<Option<T>> {
    let found = table.get(id)?;
    found
        .map(|bytes| decode(id, bytes.value()).map_err(Failure::Refused))
        .transpose()
}

/// Every record, the oldest first.
pub(super) fn all<T: Record>(table: &impl ReadableTable<u64, &'static [u8]>) -> Within<Vec<T>> {
    let mut records = Vec::new();
    for row in table.iter()? {
        let (id, bytes) = row?;
        records.push(decode(id.value(), bytes.value()).map_err(Failure::Refused)?);
    }
    Ok(records)
}

/// Puts a record in place of the one with the number `id`.
pub(super) fn put<T: Record>(table: &mut Records<'_>, id: u64, record: &T) -> Within<()> {
    let bytes = encode(id, record).map_err(Failure::Refused)?;
    table.insert(id, bytes.as_slice())?;
    Ok(())
}

/// The end of an operation that may have had nothing to do.
pub(super) fn applied<T>(changed: bool, value: T) -> Applied<T> {
    if changed {
        Applied::Changed(value)
    } else {
        Applied::Unchanged(value)
    }
}

/// The rows of a table of (component, number) that belong to `component`.
pub(super) fn rows_of(component: &str) -> std::ops::RangeInclusive<(&str, u64)> {
    (component, 0)..=(component, u64::MAX)
}

/// The current revision of `component` in a snapshot.
pub(super) fn current_of(transaction: &ReadTransaction, component: &str) -> Within<Option<u64>> {
    let current = transaction.open_table(CURRENT)?;
    Ok(current.get(component)?.map(|revision| revision.value()))
}
