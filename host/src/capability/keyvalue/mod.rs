//! Key-value stores: what `wasi:keyvalue` is served from.
//!
//! A store is an ordered map from UTF-8 keys to bytes, durable when a call returns. The trait refuses
//! to know who may open which store; [`StoreId`] comes out of the resolved grants.

mod embedded;
mod redis;

#[cfg(test)]
mod conformance;

pub use embedded::EmbeddedKeyValue;
pub use redis::RedisKeyValue;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::name::{ComponentName, Digest, StoreLabel};

/// Longest key, in bytes. Keys are held whole in the branch pages of the embedded store's tree
/// (4 KiB each); at 1 KiB several still fit, so that the tree stays flat.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest value, in bytes. Values are read and written whole, in the host's and the guest's memory;
/// what is larger than this is a blob.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes of keys and values in one `set_many`: the whole batch is in memory, in one transaction,
/// and four of the largest values are the most that a guest with the default memory could hold.
pub const BATCH_BYTES_MAX: usize = 4 * VALUE_BYTES_MAX;

/// Which store: unique in one application, the same on every host that runs it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(Arc<str>);

impl StoreId {
    /// The private store of a component.
    pub fn component(name: &ComponentName) -> Self {
        Self(format!("component/{name}").into())
    }

    /// The store that the manifest gives a label, shared by whom it grants it to.
    pub fn label(label: &StoreLabel) -> Self {
        Self(format!("label/{label}").into())
    }

    /// The store that components know by `name`, which need not be a label, shared by all who may open
    /// stores of any name.
    pub fn named(name: &str) -> Self {
        match name.parse() {
            Ok(label) => Self::label(&label),
            Err(_) => Self(format!("named/{}", Digest::of(name.as_bytes())).into()),
        }
    }

    /// The identifier as text: `component/<name>`, `label/<label>` or `named/<digest>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Why an operation on a store did not happen. Nothing was changed, unless it is `Backend`: then a
/// write may or may not have become durable.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    /// The caller was wrong: a key, a value or a batch is larger than its limit.
    #[error(
        "{what} of {bytes} bytes in store {store} is larger than the {bytes_max} bytes allowed"
    )]
    TooLarge {
        /// The store that was asked.
        store: StoreId,
        /// `key`, `value` or `batch`.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// The value under the key is not a decimal number of 64 bits, so it cannot be incremented.
    #[error("the value of {key:?} in store {store} is not a whole number of 64 bits")]
    NotANumber {
        /// The store that was asked.
        store: StoreId,
        /// The key whose value it is.
        key: String,
    },
    /// The sum does not fit 64 bits.
    #[error("incrementing {key:?} in store {store} leaves the range of 64 bits")]
    Overflow {
        /// The store that was asked.
        store: StoreId,
        /// The key whose value it is.
        key: String,
    },
    /// The host failed: the backend cannot be reached, or its medium is broken.
    #[error("store {store} failed")]
    Backend {
        /// The store that was asked.
        store: StoreId,
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// One backend that holds any number of stores. A store exists as soon as it is written to.
///
/// Every write is atomic and durable when it returns. Cancelling a write (dropping its future) leaves
/// it either undone or done as a whole; cancelling a read leaves nothing.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The value of `key`, or `None` where there is none.
    async fn get(&self, store: &StoreId, key: &str) -> Result<Option<Bytes>, KeyValueError>;

    /// Writes `value`, over what was there.
    async fn set(&self, store: &StoreId, key: &str, value: Bytes) -> Result<(), KeyValueError>;

    /// Removes `key`; it is no error when there is none.
    async fn delete(&self, store: &StoreId, key: &str) -> Result<(), KeyValueError>;

    /// Whether `key` has a value.
    async fn exists(&self, store: &StoreId, key: &str) -> Result<bool, KeyValueError>;

    /// At most `limit` keys in ascending order of their bytes, the first one strictly after `after`.
    /// Fewer than `limit` means that there are no more.
    async fn keys(
        &self,
        store: &StoreId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, KeyValueError>;

    /// Adds `delta` to the number under `key` in one step and gives the sum. The number is kept as
    /// decimal text, without sign `+` or leading zeros; a missing one is 0. A `delta` of 0 reads (and
    /// does not create) it.
    async fn increment(&self, store: &StoreId, key: &str, delta: i64)
    -> Result<i64, KeyValueError>;

    /// Writes `new` if the value is `expected` (`None`: if there is no value), in one step. The inner
    /// error is the value that was found instead.
    async fn swap(
        &self,
        store: &StoreId,
        key: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Result<(), Option<Bytes>>, KeyValueError>;

    /// The values of `keys`, in their order, all read at one moment.
    async fn get_many(
        &self,
        store: &StoreId,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, KeyValueError>;

    /// Writes all `entries` or none; of one key that occurs twice, the last.
    async fn set_many(
        &self,
        store: &StoreId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), KeyValueError>;

    /// Removes all `keys` or, if that fails, none.
    async fn delete_many(&self, store: &StoreId, keys: &[String]) -> Result<(), KeyValueError>;
}

/// The number that a value is the decimal text of, written in the one way that Redis takes, too.
fn whole_number(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Refuses a key that is too long.
fn check_key(store: &StoreId, key: &str) -> Result<(), KeyValueError> {
    check(store, "key", key.len(), KEY_BYTES_MAX)
}

/// Refuses a key or a value that is too long.
fn check_entry(store: &StoreId, key: &str, value: &Bytes) -> Result<(), KeyValueError> {
    check_key(store, key)?;
    check(store, "value", value.len(), VALUE_BYTES_MAX)
}

fn check(
    store: &StoreId,
    what: &'static str,
    bytes: usize,
    bytes_max: usize,
) -> Result<(), KeyValueError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(KeyValueError::TooLarge {
        store: store.clone(),
        what,
        bytes,
        bytes_max,
    })
}
