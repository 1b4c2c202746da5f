//! `wasi:keyvalue`, both drafts, from one trait.
//!
//! `default`, and the empty identifier that wasmtime uses, are the component's own store; any other
//! label is a store that the application shares among those whom it is granted to. Whoever may open
//! stores of any name shares all of them, `default` as well.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::capability::keyvalue::{KeyValue, KeyValueError, StoreId};
use crate::name::StoreLabel;
use crate::runtime::bindings::{keyvalue_draft as draft, keyvalue_draft2 as draft2};
use crate::runtime::state::InstanceState;

/// Keys that one call of `list-keys` gives at most: 1 KiB each at worst, so 1 MiB in the guest.
const PAGE_KEYS_MAX: usize = 1000;

/// The label of each component's own store.
const OWN: &str = "default";

/// An open store.
pub struct Bucket {
    pub(super) backend: Arc<dyn KeyValue>,
    pub(super) store: StoreId,
    /// The last key of each page that was listed: what draft's numeric cursors stand for.
    pages: Vec<String>,
}

/// A value as it was read, to be swapped for another (draft2).
pub struct Cas {
    backend: Arc<dyn KeyValue>,
    store: StoreId,
    key: String,
    seen: Option<Bytes>,
}

/// Why a store is not opened.
pub(super) enum Refusal {
    NoSuchStore,
    AccessDenied,
}

impl InstanceState {
    pub(super) fn open_store(&self, identifier: &str) -> Result<Bucket, Refusal> {
        if let Some(label) = self.context.grants.stores.get(identifier) {
            return Ok(self.opened_store(StoreId::label(label)));
        }
        let label = if identifier.is_empty() {
            OWN
        } else {
            identifier
        };
        if self.context.grants.any.keyvalue {
            return Ok(self.opened_store(StoreId::named(label)));
        }
        let label = match label.parse::<StoreLabel>() {
            Ok(label) => label,
            // Stores of any name may be there to be granted.
            Err(_) if self.context.grants.refuse_when_called => return Err(self.denied(label)),
            Err(_) => return Err(Refusal::NoSuchStore),
        };
        let component = &self.context.component;
        let every = self.context.ambient.as_ref().is_some_and(|a| a.keyvalue);
        if !every && !self.context.grants.keyvalue.contains(&label) {
            return Err(self.denied(label.as_str()));
        }
        let store = match label.as_str() {
            OWN => StoreId::component(component),
            _ => StoreId::label(&label),
        };
        Ok(self.opened_store(store))
    }

    fn denied(&self, label: &str) -> Refusal {
        let component = &self.context.component;
        let place = self.context.where_granted("keyvalue", "key_value_stores");
        tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), "key-value store denied: to allow it, add {label:?} to {place}");
        Refusal::AccessDenied
    }

    fn opened_store(&self, store: StoreId) -> Bucket {
        Bucket {
            backend: self.context.backends.keyvalue.clone(),
            store,
            pages: Vec::new(),
        }
    }

    pub(super) fn bucket(
        &self,
        bucket: &Resource<Bucket>,
    ) -> wasmtime::Result<(Arc<dyn KeyValue>, StoreId)> {
        let bucket = self.table.get(bucket)?;
        Ok((bucket.backend.clone(), bucket.store.clone()))
    }

    async fn read_for_swap(
        &mut self,
        backend: Arc<dyn KeyValue>,
        store: StoreId,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Cas>, KeyValueError>> {
        match backend.get(&store, &key).await {
            Ok(seen) => Ok(Ok(self.table.push(Cas {
                backend,
                store,
                key,
                seen,
            })?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// The error of either draft: the text of this error and of what it stems from.
pub(super) fn text(error: &KeyValueError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

macro_rules! store_view {
    ($draft:ident, $cursor:ty, $next_page:expr, $after:expr) => {
        impl From<Refusal> for $draft::wasi::keyvalue::store::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::NoSuchStore => Self::NoSuchStore,
                    Refusal::AccessDenied => Self::AccessDenied,
                }
            }
        }

        impl From<KeyValueError> for $draft::wasi::keyvalue::store::Error {
            fn from(error: KeyValueError) -> Self {
                Self::Other(text(&error))
            }
        }

        impl $draft::wasi::keyvalue::store::Host for InstanceState {
            async fn open(
                &mut self,
                identifier: String,
            ) -> wasmtime::Result<Result<Resource<Bucket>, $draft::wasi::keyvalue::store::Error>>
            {
                match self.open_store(&identifier) {
                    Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
                    Err(refusal) => Ok(Err(refusal.into())),
                }
            }
        }

        impl $draft::wasi::keyvalue::store::HostBucket for InstanceState {
            async fn get(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<Option<Vec<u8>>, $draft::wasi::keyvalue::store::Error>>
            {
                let (backend, store) = self.bucket(&bucket)?;
                let value = backend.get(&store, &key).await;
                Ok(value
                    .map(|value| value.map(|bytes| bytes.to_vec()))
                    .map_err(Into::into))
            }

            async fn set(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
                value: Vec<u8>,
            ) -> wasmtime::Result<Result<(), $draft::wasi::keyvalue::store::Error>> {
                let (backend, store) = self.bucket(&bucket)?;
                Ok(backend
                    .set(&store, &key, value.into())
                    .await
                    .map_err(Into::into))
            }

            async fn delete(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<(), $draft::wasi::keyvalue::store::Error>> {
                let (backend, store) = self.bucket(&bucket)?;
                Ok(backend.delete(&store, &key).await.map_err(Into::into))
            }

            async fn exists(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<bool, $draft::wasi::keyvalue::store::Error>> {
                let (backend, store) = self.bucket(&bucket)?;
                Ok(backend.exists(&store, &key).await.map_err(Into::into))
            }

            async fn list_keys(
                &mut self,
                bucket: Resource<Bucket>,
                cursor: Option<$cursor>,
            ) -> wasmtime::Result<
                Result<
                    $draft::wasi::keyvalue::store::KeyResponse,
                    $draft::wasi::keyvalue::store::Error,
                >,
            > {
                let (backend, store) = self.bucket(&bucket)?;
                let after = $after(self.table.get(&bucket)?, cursor);
                let keys = match backend.keys(&store, after.as_deref(), PAGE_KEYS_MAX).await {
                    Ok(keys) => keys,
                    Err(error) => return Ok(Err(error.into())),
                };
                let last = keys.last().filter(|_| keys.len() == PAGE_KEYS_MAX).cloned();
                let bucket = self.table.get_mut(&bucket)?;
                let cursor = last.map(|last| $next_page(bucket, last));
                Ok(Ok($draft::wasi::keyvalue::store::KeyResponse {
                    keys,
                    cursor,
                }))
            }

            async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
                self.table.delete(bucket)?;
                Ok(())
            }
        }
    };
}

store_view!(
    draft,
    u64,
    |bucket: &mut Bucket, last: String| {
        bucket.pages.push(last);
        bucket.pages.len() as u64
    },
    |bucket: &Bucket, cursor: Option<u64>| {
        let page = usize::try_from(cursor?).ok()?.checked_sub(1)?;
        bucket.pages.get(page).cloned()
    }
);
store_view!(
    draft2,
    String,
    |_: &mut Bucket, last: String| last,
    |_: &Bucket, cursor| cursor
);

macro_rules! batch_writes {
    ($draft:ident) => {
        async fn set_many(
            &mut self,
            bucket: Resource<Bucket>,
            entries: Vec<(String, Vec<u8>)>,
        ) -> wasmtime::Result<Result<(), $draft::wasi::keyvalue::store::Error>> {
            let (backend, store) = self.bucket(&bucket)?;
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect();
            Ok(backend.set_many(&store, entries).await.map_err(Into::into))
        }

        async fn delete_many(
            &mut self,
            bucket: Resource<Bucket>,
            keys: Vec<String>,
        ) -> wasmtime::Result<Result<(), $draft::wasi::keyvalue::store::Error>> {
            let (backend, store) = self.bucket(&bucket)?;
            Ok(backend.delete_many(&store, &keys).await.map_err(Into::into))
        }
    };
}

impl draft::wasi::keyvalue::batch::Host for InstanceState {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<(String, Vec<u8>)>>, draft::wasi::keyvalue::store::Error>>
    {
        let (backend, store) = self.bucket(&bucket)?;
        let values = backend.get_many(&store, &keys).await;
        let pair = |(key, value): (String, Option<Bytes>)| value.map(|value| (key, value.to_vec()));
        Ok(values
            .map(|values| keys.into_iter().zip(values).map(pair).collect())
            .map_err(Into::into))
    }

    batch_writes!(draft);
}

impl draft2::wasi::keyvalue::batch::Host for InstanceState {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<
        Result<Vec<(String, Option<Vec<u8>>)>, draft2::wasi::keyvalue::store::Error>,
    > {
        let (backend, store) = self.bucket(&bucket)?;
        let values = backend.get_many(&store, &keys).await;
        let pair = |(key, value): (String, Option<Bytes>)| (key, value.map(|value| value.to_vec()));
        Ok(values
            .map(|values| keys.into_iter().zip(values).map(pair).collect())
            .map_err(Into::into))
    }

    batch_writes!(draft2);
}

impl draft::wasi::keyvalue::atomics::Host for InstanceState {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, draft::wasi::keyvalue::store::Error>> {
        use draft::wasi::keyvalue::store::Error;
        let (backend, store) = self.bucket(&bucket)?;
        let Ok(delta) = i64::try_from(delta) else {
            return Ok(Err(Error::Other("the delta must be below 2^63".to_owned())));
        };
        Ok(match backend.increment(&store, &key, delta).await {
            Ok(sum) => u64::try_from(sum)
                .map_err(|_| Error::Other(format!("the value of {key:?} is negative"))),
            Err(error) => Err(error.into()),
        })
    }
}

impl draft2::wasi::keyvalue::atomics::Host for InstanceState {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, draft2::wasi::keyvalue::store::Error>> {
        let (backend, store) = self.bucket(&bucket)?;
        Ok(backend
            .increment(&store, &key, delta)
            .await
            .map_err(Into::into))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), draft2::wasi::keyvalue::atomics::CasError>> {
        use draft2::wasi::keyvalue::atomics::CasError;
        let Cas {
            backend,
            store,
            key,
            seen,
        } = self.table.delete(cas)?;
        Ok(match backend.swap(&store, &key, seen, value.into()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(seen)) => {
                let fresh = self.table.push(Cas {
                    backend,
                    store,
                    key,
                    seen,
                })?;
                Err(CasError::CasFailed(fresh))
            }
            Err(error) => Err(CasError::StoreError(error.into())),
        })
    }
}

impl draft2::wasi::keyvalue::atomics::HostCas for InstanceState {
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Cas>, draft2::wasi::keyvalue::store::Error>> {
        let (backend, store) = self.bucket(&bucket)?;
        Ok(self
            .read_for_swap(backend, store, key)
            .await?
            .map_err(Into::into))
    }

    async fn current(
        &mut self,
        cas: Resource<Cas>,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, draft2::wasi::keyvalue::store::Error>> {
        Ok(Ok(self
            .table
            .get(&cas)?
            .seen
            .as_ref()
            .map(|bytes| bytes.to_vec())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
