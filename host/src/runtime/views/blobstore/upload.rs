//! An upload: the guest's output stream, and the task that writes it into the backend.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use super::text;
use crate::capability::blobs::Blobs;
use crate::name::ContainerName;

/// Bytes that a guest may write at once.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Chunks between a guest and its upload: enough to keep both busy, 512 KiB at most.
pub(super) const CHUNKS_MAX: usize = 8;

/// An upload in progress; dropping it discards what was written.
pub(super) struct Upload {
    commit: oneshot::Sender<()>,
    task: AbortOnDropJoinHandle<Result<(), String>>,
}

impl Upload {
    /// Begins to write `chunks` as an object, which becomes visible when the upload is finished.
    pub(super) fn begin(
        blobs: Blobs,
        container: ContainerName,
        object: String,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Self {
        let (commit, committed) = oneshot::channel();
        let task =
            wasmtime_wasi::runtime::spawn(upload(blobs, container, object, chunks, committed));
        Self { commit, task }
    }

    /// Waits for the last chunk and makes the object visible.
    pub(super) async fn finish(self) -> Result<(), String> {
        // A task that failed already is no longer there to be told.
        let _ = self.commit.send(());
        self.task.await
    }
}

/// The guest's end of an upload.
pub(super) struct Body(pub(super) mpsc::Sender<Bytes>);

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
        Ok(if self.0.capacity() > 0 {
            CHUNK_BYTES_MAX
        } else {
            0
        })
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
    let mut writer = blobs
        .write(&container, &object)
        .map_err(|error| text(&error))?;
    while let Some(chunk) = chunks.recv().await {
        writer.write(chunk).await.map_err(|error| text(&error))?;
    }
    if commit.await.is_err() {
        return Err("the value was dropped before it was finished".to_owned());
    }
    writer
        .finish()
        .await
        .map(drop)
        .map_err(|error| text(&error))
}
