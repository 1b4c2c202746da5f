//! Values on their way: `wasi:blobstore/types`.

use futures::TryStreamExt;
use tokio::sync::mpsc;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::upload::{Body, CHUNKS_MAX};
use super::{IncomingValue, OutgoingValue, text};
use crate::runtime::bindings::blobstore::wasi::blobstore::types;
use crate::runtime::state::InstanceState;

/// Bytes that `incoming-value-consume-sync` gives at most: they are in the host's memory and then in
/// the guest's. Larger values are for `consume-async`.
const SYNC_BYTES_MAX: u64 = 32 * 1024 * 1024;

impl types::Host for InstanceState {}

impl types::HostOutgoingValue for InstanceState {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<OutgoingValue>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let value = OutgoingValue {
            sender: Some(sender),
            receiver: Some(receiver),
            upload: None,
        };
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
        let Ok(OutgoingValue {
            sender,
            receiver: _,
            upload,
        }) = self.table.delete(value)
        else {
            return Ok(Err(
                "drop the value's output stream before finish".to_owned()
            ));
        };
        drop(sender);
        match upload {
            Some(upload) => Ok(upload.finish().await),
            None => Ok(Err(
                "the value was given to no container: call write-data first".to_owned(),
            )),
        }
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
        let IncomingValue {
            container,
            object,
            range,
        } = self.table.delete(value)?;
        if range.end - range.start > SYNC_BYTES_MAX {
            return Ok(Err(format!(
                "more than {SYNC_BYTES_MAX} bytes at once: use incoming-value-consume-async"
            )));
        }
        let chunks = match self
            .context
            .backends
            .blobs
            .read(&container, &object, range)
            .await
        {
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
        let IncomingValue {
            container,
            object,
            range,
        } = self.table.delete(value)?;
        let chunks = match self
            .context
            .backends
            .blobs
            .read(&container, &object, range)
            .await
        {
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
