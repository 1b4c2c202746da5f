//! Opening containers, copying between them: `wasi:blobstore/blobstore`.

use wasmtime::component::Resource;

use super::{Container, text};
use crate::runtime::bindings::blobstore::wasi::blobstore::blobstore;
use crate::runtime::state::InstanceState;

impl blobstore::Host for InstanceState {
    async fn create_container(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Container>, String>> {
        // A granted container is there already, so making it again is the same as opening it.
        self.get_container(name).await
    }

    async fn get_container(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Container>, String>> {
        Ok(match self.granted(&name) {
            Ok((name, access)) => Ok(self.table.push(Container { name, access })?),
            Err(refused) => Err(refused),
        })
    }

    async fn delete_container(&mut self, name: String) -> wasmtime::Result<Result<(), String>> {
        Ok(self.writable(&name).and_then(|name| {
            Err(format!(
                "container {name:?} belongs to the application's manifest; use clear"
            ))
        }))
    }

    async fn container_exists(&mut self, name: String) -> wasmtime::Result<Result<bool, String>> {
        Ok(Ok(self
            .context
            .grants
            .blobstore
            .contains_key(name.as_str())))
    }

    async fn copy_object(
        &mut self,
        source: blobstore::ObjectId,
        destination: blobstore::ObjectId,
    ) -> wasmtime::Result<Result<(), String>> {
        let from = self.granted(&source.container).map(|(name, _)| name);
        let to = self.writable(&destination.container);
        Ok(match (from, to) {
            (Ok(from), Ok(to)) => {
                let blobs = &self.context.backends.blobs;
                let copied = blobs
                    .copy((&from, &source.object), (&to, &destination.object))
                    .await;
                copied.map_err(|error| text(&error))
            }
            (Err(refused), _) | (_, Err(refused)) => Err(refused),
        })
    }

    async fn move_object(
        &mut self,
        source: blobstore::ObjectId,
        destination: blobstore::ObjectId,
    ) -> wasmtime::Result<Result<(), String>> {
        let from = self.writable(&source.container);
        let to = self.writable(&destination.container);
        Ok(match (from, to) {
            (Ok(from), Ok(to)) => {
                let blobs = &self.context.backends.blobs;
                let moved = blobs
                    .rename((&from, &source.object), (&to, &destination.object))
                    .await;
                moved.map_err(|error| text(&error))
            }
            (Err(refused), _) | (_, Err(refused)) => Err(refused),
        })
    }
}
