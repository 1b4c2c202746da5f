//! Containers and their listings: `wasi:blobstore/container`.

use futures::StreamExt;
use wasmtime::component::Resource;

use super::upload::Upload;
use super::{Container, IncomingValue, ObjectNames, OutgoingValue, text};
use crate::capability::blobs::ObjectInfo;
use crate::runtime::bindings::blobstore::wasi::blobstore::container;
use crate::runtime::state::InstanceState;

impl container::Host for InstanceState {}

impl container::HostContainer for InstanceState {
    async fn name(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<String, String>> {
        Ok(Ok(self.table.get(&container)?.name.to_string()))
    }

    async fn info(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<container::ContainerMetadata, String>> {
        let name = self.table.get(&container)?.name.to_string();
        // Containers are the manifest's, so they have no date of their own.
        Ok(Ok(container::ContainerMetadata {
            name,
            created_at: 0,
        }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        start: u64,
        end: u64,
    ) -> wasmtime::Result<Result<Resource<IncomingValue>, String>> {
        let (blobs, container) = self.opened(&container)?;
        let size = match blobs.head(&container, &object).await {
            Ok(Some(info)) => info.size,
            Ok(None) => return Ok(Err(format!("there is no object {object:?} in {container}"))),
            Err(error) => return Ok(Err(text(&error))),
        };
        let end = end.saturating_add(1).min(size);
        let range = start.min(end)..end;
        Ok(Ok(self.table.push(IncomingValue {
            container,
            object,
            range,
        })?))
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<(), String>> {
        let (blobs, container) = match self.opened_to_write(&container)? {
            Ok(opened) => opened,
            Err(refused) => return Ok(Err(refused)),
        };
        let value = self.table.get_mut(&value)?;
        let Some(chunks) = value.receiver.take() else {
            return Ok(Err("the value was given to a container already".to_owned()));
        };
        value.upload = Some(Upload::begin(blobs, container, object, chunks));
        Ok(Ok(()))
    }

    async fn list_objects(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<Resource<ObjectNames>, String>> {
        let (blobs, container) = self.opened(&container)?;
        let names = blobs.list(&container);
        Ok(Ok(self.table.push(ObjectNames(names))?))
    }

    async fn delete_object(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<(), String>> {
        self.delete_objects(container, vec![object]).await
    }

    async fn delete_objects(
        &mut self,
        container: Resource<Container>,
        objects: Vec<String>,
    ) -> wasmtime::Result<Result<(), String>> {
        Ok(match self.opened_to_write(&container)? {
            Ok((blobs, container)) => blobs
                .delete_many(&container, &objects)
                .await
                .map_err(|error| text(&error)),
            Err(refused) => Err(refused),
        })
    }

    async fn has_object(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<bool, String>> {
        let (blobs, container) = self.opened(&container)?;
        let info = blobs.head(&container, &object).await;
        Ok(info
            .map(|info| info.is_some())
            .map_err(|error| text(&error)))
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<container::ObjectMetadata, String>> {
        let (blobs, container) = self.opened(&container)?;
        Ok(match blobs.head(&container, &object).await {
            Ok(Some(info)) => Ok(container::ObjectMetadata {
                created_at: millis(&info),
                size: info.size,
                container: container.to_string(),
                name: object,
            }),
            Ok(None) => Err(format!("there is no object {object:?} in {container}")),
            Err(error) => Err(text(&error)),
        })
    }

    async fn clear(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<(), String>> {
        Ok(match self.opened_to_write(&container)? {
            Ok((blobs, container)) => blobs.clear(&container).await.map_err(|error| text(&error)),
            Err(refused) => Err(refused),
        })
    }

    async fn drop(&mut self, container: Resource<Container>) -> wasmtime::Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for InstanceState {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<ObjectNames>,
        len: u64,
    ) -> wasmtime::Result<Result<(Vec<String>, bool), String>> {
        let names = &mut self.table.get_mut(&names)?.0;
        let mut read = Vec::new();
        while (read.len() as u64) < len {
            match names.next().await {
                Some(Ok(name)) => read.push(name),
                Some(Err(error)) => return Ok(Err(text(&error))),
                None => return Ok(Ok((read, true))),
            }
        }
        Ok(Ok((read, false)))
    }

    async fn skip_stream_object_names(
        &mut self,
        names: Resource<ObjectNames>,
        count: u64,
    ) -> wasmtime::Result<Result<(u64, bool), String>> {
        let names = &mut self.table.get_mut(&names)?.0;
        for skipped in 0..count {
            match names.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(Err(text(&error))),
                None => return Ok(Ok((skipped, true))),
            }
        }
        Ok(Ok((count, false)))
    }

    async fn drop(&mut self, names: Resource<ObjectNames>) -> wasmtime::Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}

fn millis(info: &ObjectInfo) -> u64 {
    let since = info
        .modified
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
