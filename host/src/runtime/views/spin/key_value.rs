//! `fermyon:spin/key-value@2.0.0` and `spin:key-value@3.0.0`, from the trait that `wasi:keyvalue` is
//! served from, too.

use std::sync::Arc;

use wasmtime::component::{FutureReader, Resource, StreamReader};

use super::{Caller, Spin, at};
use crate::capability::keyvalue::{KeyValue, KeyValueError, StoreId};
use crate::runtime::bindings::spin_2::fermyon::spin::key_value as two;
use crate::runtime::bindings::spin_3::spin::key_value::key_value as three;
use crate::runtime::state::InstanceState;
use crate::runtime::views::keyvalue::{Bucket, Refusal, text};

/// Keys that are read from the backend at once.
const PAGE_KEYS_MAX: usize = 1000;

/// Bytes of keys that `get-keys` gives at most: they are whole in the guest's memory.
const KEYS_BYTES_MAX: usize = 16 * 1024 * 1024;

macro_rules! errors {
    ($version:ident) => {
        impl From<Refusal> for $version::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::NoSuchStore => Self::NoSuchStore,
                    Refusal::AccessDenied => Self::AccessDenied,
                }
            }
        }

        impl From<KeyValueError> for $version::Error {
            fn from(error: KeyValueError) -> Self {
                Self::Other(text(&error))
            }
        }
    };
}

errors!(two);
errors!(three);

/// All keys of a store.
async fn all_keys(backend: Arc<dyn KeyValue>, store: StoreId) -> Result<Vec<String>, String> {
    let mut keys: Vec<String> = Vec::new();
    let mut bytes = 0;
    loop {
        let page = backend.keys(&store, keys.last().map(String::as_str), PAGE_KEYS_MAX);
        let page = page.await.map_err(|error| text(&error))?;
        let last = page.len() < PAGE_KEYS_MAX;
        bytes += page.iter().map(String::len).sum::<usize>();
        if bytes > KEYS_BYTES_MAX {
            return Err(format!(
                "the keys have more than {KEYS_BYTES_MAX} bytes: list them in pages with wasi:keyvalue"
            ));
        }
        keys.extend(page);
        if last {
            return Ok(keys);
        }
    }
}

impl two::Host for InstanceState {}

impl two::HostStore for InstanceState {
    async fn open(
        &mut self,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, two::Error>> {
        Ok(match self.open_store(&label) {
            Ok(bucket) => Ok(self.table.push(bucket)?),
            Err(refusal) => Err(refusal.into()),
        })
    }

    async fn get(
        &mut self,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, two::Error>> {
        let (backend, store) = self.bucket(&store)?;
        let value = backend.get(&store, &key).await;
        Ok(value.map(|value| value.map(Vec::from)).map_err(Into::into))
    }

    async fn set(
        &mut self,
        store: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), two::Error>> {
        let (backend, store) = self.bucket(&store)?;
        let set = backend.set(&store, &key, value.into()).await;
        Ok(set.map_err(Into::into))
    }

    async fn delete(
        &mut self,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), two::Error>> {
        let (backend, store) = self.bucket(&store)?;
        Ok(backend.delete(&store, &key).await.map_err(Into::into))
    }

    async fn exists(
        &mut self,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, two::Error>> {
        let (backend, store) = self.bucket(&store)?;
        Ok(backend.exists(&store, &key).await.map_err(Into::into))
    }

    async fn get_keys(
        &mut self,
        store: Resource<Bucket>,
    ) -> wasmtime::Result<Result<Vec<String>, two::Error>> {
        let (backend, store) = self.bucket(&store)?;
        Ok(all_keys(backend, store).await.map_err(two::Error::Other))
    }

    async fn drop(&mut self, store: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl three::Host for InstanceState {}

impl three::HostStore for InstanceState {
    async fn drop(&mut self, store: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl three::HostStoreWithStore<InstanceState> for Spin {
    async fn open(
        caller: &Caller,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, three::Error>> {
        at(caller, |state| match state.open_store(&label) {
            Ok(bucket) => Ok(Ok(state.table.push(bucket)?)),
            Err(refusal) => Ok(Err(refusal.into())),
        })?
    }

    async fn get(
        caller: &Caller,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, three::Error>> {
        let (backend, store) = at(caller, |state| state.bucket(&store))??;
        let value = backend.get(&store, &key).await;
        Ok(value.map(|value| value.map(Vec::from)).map_err(Into::into))
    }

    async fn set(
        caller: &Caller,
        store: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), three::Error>> {
        let (backend, store) = at(caller, |state| state.bucket(&store))??;
        let set = backend.set(&store, &key, value.into()).await;
        Ok(set.map_err(Into::into))
    }

    async fn delete(
        caller: &Caller,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), three::Error>> {
        let (backend, store) = at(caller, |state| state.bucket(&store))??;
        Ok(backend.delete(&store, &key).await.map_err(Into::into))
    }

    async fn exists(
        caller: &Caller,
        store: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, three::Error>> {
        let (backend, store) = at(caller, |state| state.bucket(&store))??;
        Ok(backend.exists(&store, &key).await.map_err(Into::into))
    }

    async fn get_keys(
        caller: &Caller,
        store: Resource<Bucket>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), three::Error>>)> {
        let (backend, store) = at(caller, |state| state.bucket(&store))??;
        let (keys, outcome) = match all_keys(backend, store).await {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(three::Error::Other(error))),
        };
        caller.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let outcome =
                FutureReader::new(&mut access, async move { wasmtime::error::Ok(outcome) })?;
            Ok((keys, outcome))
        })
    }
}
