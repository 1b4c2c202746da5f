//! `wasi:blobstore`: streamed in both directions.
//!
//! ```text
//! outgoing-value: write-body -> chunks -> (bounded channel) -> upload task -> backend
//!                 write-data starts the task, finish commits, dropping discards
//! ```
//!
//! An object becomes visible when `finish` returns, whole. Containers are the manifest's: they can be
//! neither created nor deleted by a component.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use crate::capability::blobs::{BlobError, Blobs, ObjectInfo};
use crate::manifest::model::Access;
use crate::name::ContainerName;
use crate::runtime::bindings::blobstore::wasi::blobstore::{blobstore, container, types};
use crate::runtime::state::InstanceState;

/// Bytes that a guest may write at once.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Chunks between a guest and its upload: enough to keep both busy, 512 KiB at most.
const CHUNKS_MAX: usize = 8;

/// Bytes that `incoming-value-consume-sync` gives at most: they are in the host's memory and then in
/// the guest's. Larger values are for `consume-async`.
const SYNC_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A container that was opened.
pub struct Container {
    name: ContainerName,
    access: Access,
}

/// A listing in progress.
pub struct ObjectNames(BoxStream<'static, Result<String, BlobError>>);

/// A range of an object, not yet read.
pub struct IncomingValue {
    container: ContainerName,
    object: String,
    range: std::ops::Range<u64>,
}

/// A value on its way into a container.
pub struct OutgoingValue {
    /// Taken by `outgoing-value-write-body`.
    sender: Option<mpsc::Sender<Bytes>>,
    /// Taken by `write-data`.
    receiver: Option<mpsc::Receiver<Bytes>>,
    upload: Option<Upload>,
}

struct Upload {
    commit: oneshot::Sender<()>,
    task: AbortOnDropJoinHandle<Result<(), String>>,
}

/// The guest's end of an upload.
struct Body(mpsc::Sender<Bytes>);

#[async_trait::async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {
        // Closed is ready too: the next check says why.
        drop(self.0.reserve().await);
    }
}

impl OutputStream for Body {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StreamError::trap("write without a permit"),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.0.is_closed() {
            return Err(stopped());
        }
        Ok(if self.0.capacity() > 0 { CHUNK_BYTES_MAX } else { 0 })
    }
}

fn stopped() -> StreamError {
    StreamError::LastOperationFailed(wasmtime::format_err!(
        "the upload stopped; `finish` of the outgoing value says why"
    ))
}

/// Writes chunks until they end, then commits if told so. Dropping the writer discards everything.
async fn upload(
    blobs: Blobs,
    container: ContainerName,
    object: String,
    mut chunks: mpsc::Receiver<Bytes>,
    commit: oneshot::Receiver<()>,
) -> Result<(), String> {
    let mut writer = blobs.write(&container, &object).await.map_err(|error| text(&error))?;
    while let Some(chunk) = chunks.recv().await {
        writer.write(chunk).await.map_err(|error| text(&error))?;
    }
    if commit.await.is_err() {
        return Err("the value was dropped before it was finished".to_owned());
    }
    writer.finish().await.map(drop).map_err(|error| text(&error))
}

fn text(error: &BlobError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn millis(info: &ObjectInfo) -> u64 {
    let since = info.modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl InstanceState {
    fn granted(&self, container: &str) -> Result<(ContainerName, Access), String> {
        let component = &self.context.component;
        let grant = self.context.grants.blobstore.get_key_value(container);
        grant.map(|(name, access)| (name.clone(), *access)).ok_or_else(|| {
            let text = format!(
                "container {container:?} is not granted: to allow it, add \"{container}\" to blobstore \
                 in [component.{component}.grants]"
            );
            tracing::warn!(%component, request_id = self.work.id, "{text}");
            text
        })
    }

    fn writable(&self, container: &str) -> Result<ContainerName, String> {
        match self.granted(container)? {
            (name, Access::ReadWrite) => Ok(name),
            (name, Access::Read) => Err(read_only(&name)),
        }
    }

    fn opened(&self, container: &Resource<Container>) -> wasmtime::Result<(Blobs, ContainerName)> {
        let name = self.table.get(container)?.name.clone();
        Ok((self.context.backends.blobs.clone(), name))
    }

    fn opened_to_write(
        &self,
        container: &Resource<Container>,
    ) -> wasmtime::Result<Result<(Blobs, ContainerName), String>> {
        let container = self.table.get(container)?;
        Ok(match container.access {
            Access::ReadWrite => {
                Ok((self.context.backends.blobs.clone(), container.name.clone()))
            }
            Access::Read => Err(read_only(&container.name)),
        })
    }
}

fn read_only(container: &ContainerName) -> String {
    format!("container {container:?} is granted for reading only")
}

impl types::Host for InstanceState {}

impl types::HostOutgoingValue for InstanceState {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<OutgoingValue>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let value =
            OutgoingValue { sender: Some(sender), receiver: Some(receiver), upload: None };
        Ok(self.table.push(value)?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(sender) = self.table.get_mut(&value)?.sender.take() else {
            return Ok(Err(()));
        };
        let stream: DynOutputStream = Box::new(Body(sender));
        Ok(Ok(self.table.push_child(stream, &value)?))
    }

    async fn finish(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<(), String>> {
        let Ok(OutgoingValue { sender, receiver: _, upload }) = self.table.delete(value) else {
            return Ok(Err("drop the value's output stream before finish".to_owned()));
        };
        drop(sender);
        let Some(Upload { commit, task }) = upload else {
            return Ok(Err("the value was given to no container: call write-data first".to_owned()));
        };
        // A task that failed already is no longer there to be told.
        let _ = commit.send(());
        Ok(task.await)
    }

    async fn drop(&mut self, value: Resource<OutgoingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for InstanceState {
    async fn incoming_value_consume_sync(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let IncomingValue { container, object, range } = self.table.delete(value)?;
        if range.end - range.start > SYNC_BYTES_MAX {
            return Ok(Err(format!(
                "more than {SYNC_BYTES_MAX} bytes at once: use incoming-value-consume-async"
            )));
        }
        let chunks = match self.context.backends.blobs.read(&container, &object, range).await {
            Ok(chunks) => chunks,
            Err(error) => return Ok(Err(text(&error))),
        };
        let read = chunks.try_fold(Vec::new(), |mut bytes, chunk| async move {
            bytes.extend_from_slice(&chunk);
            Ok(bytes)
        });
        Ok(read.await.map_err(|error| text(&error)))
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, String>> {
        let IncomingValue { container, object, range } = self.table.delete(value)?;
        let chunks = match self.context.backends.blobs.read(&container, &object, range).await {
            Ok(chunks) => chunks,
            Err(error) => return Ok(Err(text(&error))),
        };
        let reader = tokio_util::io::StreamReader::new(chunks.map_err(std::io::Error::other));
        let stream: DynInputStream = Box::new(AsyncReadStream::new(reader));
        Ok(Ok(self.table.push(stream)?))
    }

    async fn size(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<u64> {
        let range = &self.table.get(&value)?.range;
        Ok(range.end - range.start)
    }

    async fn drop(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

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
        Ok(Ok(container::ContainerMetadata { name, created_at: 0 }))
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
        Ok(Ok(self.table.push(IncomingValue { container, object, range })?))
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
        let (commit, committed) = oneshot::channel();
        let task =
            wasmtime_wasi::runtime::spawn(upload(blobs, container, object, chunks, committed));
        value.upload = Some(Upload { commit, task });
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
            Ok((blobs, container)) => {
                blobs.delete_many(&container, &objects).await.map_err(|error| text(&error))
            }
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
        Ok(info.map(|info| info.is_some()).map_err(|error| text(&error)))
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
            Err(format!("container {name:?} belongs to the application's manifest; use clear"))
        }))
    }

    async fn container_exists(&mut self, name: String) -> wasmtime::Result<Result<bool, String>> {
        Ok(Ok(self.context.grants.blobstore.contains_key(name.as_str())))
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
                let copied = blobs.copy((&from, &source.object), (&to, &destination.object)).await;
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
                let moved = blobs.rename((&from, &source.object), (&to, &destination.object)).await;
                moved.map_err(|error| text(&error))
            }
            (Err(refused), _) | (_, Err(refused)) => Err(refused),
        })
    }
}
