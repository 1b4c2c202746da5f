//! Key-value on the embedded store: one table, ordered by store and key.
//!
//! Writes go through the store's writer, which makes increments and swaps atomic without a lock.
//! Single lookups run on the calling thread: they walk a few cached pages (3 µs measured), which is
//! less work than handing them to another thread. Reads of many keys go to the blocking pool, and
//! those from a store that was ever given a large value (16 MiB took 77 ms) with them.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::{
    BATCH_BYTES_MAX, KeyValue, KeyValueError, StoreId, check, check_entry, check_key, whole_number,
};
use crate::capability::embedded::{Applied, Embedded, EmbeddedError, Failure, Outcome, creating};

/// (store, key) to value.
const VALUES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("keyvalue");

/// Stores that were ever given a value above [`INLINE_BYTES_MAX`].
const LARGE_STORES: TableDefinition<&str, ()> = TableDefinition::new("keyvalue-large-stores");

/// Largest value that is read on the calling thread: some tens of microseconds even from the page
/// cache of the operating system.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Key-value stores in the embedded store's file.
#[derive(Debug, Clone)]
pub struct EmbeddedKeyValue {
    store: Arc<Embedded>,
    /// What [`LARGE_STORES`] holds. A store never leaves it.
    large: Arc<RwLock<HashSet<String>>>,
}

/// How much memory a write holds while it queues.
#[derive(Clone, Copy, Default)]
struct Load {
    bytes: usize,
    largest: usize,
}

impl Load {
    fn add(self, value: &Bytes) -> Self {
        Self {
            bytes: self.bytes + value.len(),
            largest: self.largest.max(value.len()),
        }
    }
}

impl EmbeddedKeyValue {
    /// Prepares the tables in `store`.
    pub async fn open(store: Arc<Embedded>) -> Result<Self, EmbeddedError> {
        let opened: Result<HashSet<String>, ()> = store
            .write(0, |transaction| {
                let (large, new) = creating(transaction, || {
                    transaction.open_table(VALUES)?;
                    let mut large = HashSet::new();
                    for row in transaction.open_table(LARGE_STORES)?.iter()? {
                        large.insert(row?.0.value().to_owned());
                    }
                    Ok(large)
                })?;
                Ok(if new {
                    Applied::Changed(large)
                } else {
                    Applied::Unchanged(large)
                })
            })
            .await?;
        let large = opened.expect("opening tables refuses nothing");
        Ok(Self {
            store,
            large: Arc::new(RwLock::new(large)),
        })
    }

    async fn write<T, F>(&self, store: &StoreId, load: Load, apply: F) -> Result<T, KeyValueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Values<'_>, &str) -> Outcome<T, KeyValueError> + Send + 'static,
    {
        let (id, large) = (store.clone(), self.large.clone());
        let apply = move |transaction: &WriteTransaction| {
            if load.largest > INLINE_BYTES_MAX && !contains(&large, &id) {
                transaction
                    .open_table(LARGE_STORES)?
                    .insert(id.as_str(), ())?;
                let mut large = large.write().unwrap_or_else(PoisonError::into_inner);
                large.insert(id.as_str().to_owned());
            }
            apply(&mut transaction.open_table(VALUES)?, id.as_str())
        };
        let written = self.store.write(load.bytes, apply).await;
        written.map_err(|error| backend(store, error))?
    }

    /// Reads on the blocking pool.
    async fn read<T, F>(&self, store: &StoreId, read: F) -> Result<T, KeyValueError>
    where
        T: Send + 'static,
        F: FnOnce(&Embedded, &str) -> Result<T, EmbeddedError> + Send + 'static,
    {
        let (embedded, id) = (self.store.clone(), store.clone());
        tokio::task::spawn_blocking(move || read(&embedded, id.as_str()))
            .await
            .map_err(|error| backend(store, error))?
            .map_err(|error| backend(store, error))
    }
}

fn contains(large: &RwLock<HashSet<String>>, store: &StoreId) -> bool {
    large
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(store.as_str())
}

type Values<'a> = Table<'a, (&'static str, &'static str), &'static [u8]>;

fn backend(
    store: &StoreId,
    source: impl std::error::Error + Send + Sync + 'static,
) -> KeyValueError {
    KeyValueError::Backend {
        store: store.clone(),
        source: Box::new(source),
    }
}

fn lookup(embedded: &Embedded, store: &str, key: &str) -> Result<Option<Bytes>, EmbeddedError> {
    let table = embedded.read()?.open_table(VALUES)?;
    let found = table.get((store, key))?;
    Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
}

fn keys_after(
    embedded: &Embedded,
    store: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, EmbeddedError> {
    let table = embedded.read()?.open_table(VALUES)?;
    let start = match after {
        Some(after) => Bound::Excluded((store, after)),
        None => Bound::Included((store, "")),
    };
    let mut keys = Vec::new();
    for entry in table
        .range::<(&str, &str)>((start, Bound::Unbounded))?
        .take(limit)
    {
        let (key, _) = entry?;
        let (found, key) = key.value();
        if found != store {
            break;
        }
        keys.push(key.to_owned());
    }
    Ok(keys)
}

/// Reads a counter: decimal text, 0 where there is none.
fn number(store: &StoreId, key: &str, value: Option<&[u8]>) -> Result<i64, KeyValueError> {
    let Some(value) = value else { return Ok(0) };
    whole_number(value).ok_or_else(|| KeyValueError::NotANumber {
        store: store.clone(),
        key: key.to_owned(),
    })
}

#[async_trait]
impl KeyValue for EmbeddedKeyValue {
    async fn get(&self, store: &StoreId, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        check_key(store, key)?;
        if contains(&self.large, store) {
            let key = key.to_owned();
            return self
                .read(store, move |embedded, store| lookup(embedded, store, &key))
                .await;
        }
        lookup(&self.store, store.as_str(), key).map_err(|error| backend(store, error))
    }

    async fn set(&self, store: &StoreId, key: &str, value: Bytes) -> Result<(), KeyValueError> {
        check_entry(store, key, &value)?;
        let key = key.to_owned();
        self.write(store, Load::default().add(&value), move |values, store| {
            values.insert((store, key.as_str()), &*value)?;
            Ok(Applied::Changed(()))
        })
        .await
    }

    async fn delete(&self, store: &StoreId, key: &str) -> Result<(), KeyValueError> {
        self.delete_many(store, &[key.to_owned()]).await
    }

    async fn exists(&self, store: &StoreId, key: &str) -> Result<bool, KeyValueError> {
        Ok(self.get(store, key).await?.is_some())
    }

    async fn keys(
        &self,
        store: &StoreId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, KeyValueError> {
        let after = after.map(str::to_owned);
        self.read(store, move |embedded, store| {
            keys_after(embedded, store, after.as_deref(), limit)
        })
        .await
    }

    async fn increment(
        &self,
        store: &StoreId,
        key: &str,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        if delta == 0 {
            return number(store, key, self.get(store, key).await?.as_deref());
        }
        check_key(store, key)?;
        let (id, key) = (store.clone(), key.to_owned());
        self.write(store, Load::default(), move |values, store| {
            let current = match values.get((store, key.as_str()))? {
                Some(value) => number(&id, &key, Some(value.value())),
                None => Ok(0),
            };
            let sum = current.map_err(Failure::Refused)?.checked_add(delta);
            let sum = sum.ok_or_else(|| {
                Failure::Refused(KeyValueError::Overflow {
                    store: id.clone(),
                    key: key.clone(),
                })
            })?;
            values.insert((store, key.as_str()), sum.to_string().as_bytes())?;
            Ok(Applied::Changed(sum))
        })
        .await
    }

    async fn swap(
        &self,
        store: &StoreId,
        key: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Result<(), Option<Bytes>>, KeyValueError> {
        check_entry(store, key, &new)?;
        let key = key.to_owned();
        self.write(store, Load::default().add(&new), move |values, store| {
            let current = values.get((store, key.as_str()))?;
            let current = current.map(|value| Bytes::copy_from_slice(value.value()));
            if current != expected {
                return Ok(Applied::Unchanged(Err(current)));
            }
            values.insert((store, key.as_str()), &*new)?;
            Ok(Applied::Changed(Ok(())))
        })
        .await
    }

    async fn get_many(
        &self,
        store: &StoreId,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        keys.iter().try_for_each(|key| check_key(store, key))?;
        let keys = keys.to_vec();
        self.read(store, move |embedded, store| {
            let table = embedded.read()?.open_table(VALUES)?;
            let value = |key: &String| -> Result<_, EmbeddedError> {
                let found = table.get((store, key.as_str()))?;
                Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
            };
            keys.iter().map(value).collect()
        })
        .await
    }

    async fn set_many(
        &self,
        store: &StoreId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), KeyValueError> {
        entries
            .iter()
            .try_for_each(|(key, value)| check_entry(store, key, value))?;
        let bytes = entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        check(store, "batch", bytes, BATCH_BYTES_MAX)?;
        let load = entries
            .iter()
            .fold(Load::default(), |load, (_, value)| load.add(value));
        let load = Load { bytes, ..load };
        self.write(store, load, move |values, store| {
            for (key, value) in &entries {
                values.insert((store, key.as_str()), &**value)?;
            }
            Ok(Applied::Changed(()))
        })
        .await
    }

    async fn delete_many(&self, store: &StoreId, keys: &[String]) -> Result<(), KeyValueError> {
        keys.iter().try_for_each(|key| check_key(store, key))?;
        let keys = keys.to_vec();
        let load = Load {
            bytes: keys.iter().map(String::len).sum(),
            largest: 0,
        };
        self.write(store, load, move |values, store| {
            let mut found = false;
            for key in &keys {
                found |= values.remove((store, key.as_str()))?.is_some();
            }
            Ok(if found {
                Applied::Changed(())
            } else {
                Applied::Unchanged(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    async fn open(dir: &std::path::Path) -> EmbeddedKeyValue {
        EmbeddedKeyValue::open(Embedded::open(dir).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_embedded_store_is_a_key_value_store() {
        let dir = tempfile::tempdir().unwrap();
        conformance::every_promise(&open(dir.path()).await).await;
    }

    #[tokio::test]
    async fn it_keeps_what_it_answered() {
        let dir = tempfile::tempdir().unwrap();
        conformance::survives_reopening(async || Box::new(open(dir.path()).await) as _).await;
    }

    #[tokio::test]
    async fn it_remembers_which_stores_are_read_on_the_blocking_pool() {
        let dir = tempfile::tempdir().unwrap();
        let [small, large] =
            ["small", "large"].map(|name| StoreId::component(&name.parse().unwrap()));
        let values = open(dir.path()).await;
        let value = Bytes::from(vec![1; INLINE_BYTES_MAX + 1]);
        values.set(&small, "k", value.slice(1..)).await.unwrap();
        values.set(&large, "k", value.clone()).await.unwrap();
        assert!(!contains(&values.large, &small) && contains(&values.large, &large));
        drop(values);
        let values = open(dir.path()).await;
        assert!(!contains(&values.large, &small) && contains(&values.large, &large));
        assert_eq!(values.get(&large, "k").await.unwrap(), Some(value));
    }

    #[tokio::test]
    async fn a_closed_store_is_a_backend_error() {
        let dir = tempfile::tempdir().unwrap();
        let values = open(dir.path()).await;
        let fail = |_: &WriteTransaction| -> Outcome<(), ()> {
            Err(redb::Error::Corrupted("on purpose".to_owned()).into())
        };
        values.store.write(0, fail).await.unwrap_err();
        let store = StoreId::component(&"auth".parse().unwrap());
        let error = values.set(&store, "key", Bytes::new()).await.unwrap_err();
        assert!(matches!(error, KeyValueError::Backend { .. }), "{error:?}");
    }
}
