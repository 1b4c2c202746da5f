//! One object that is being written: parts go out while the next one fills.

use bytes::Bytes;
use object_store::{MultipartUpload, WriteMultipart};

use super::{BlobError, backend};
use crate::name::ContainerName;

/// Size of a part. A writer holds at most this much for each part in flight and for the one that
/// fills: 1.5 MiB, so that a hundred uploads at once stay under 150 MiB. (S3 wants parts of 5 MiB.)
const PART_BYTES: usize = 512 * 1024;

/// Parts that are written while the next one fills. One file takes its writes one after the other;
/// the second only keeps the disk busy while a caller is woken.
const PARTS_IN_FLIGHT_MAX: usize = 2;

/// Writes one object. Dropped before [`finish`](BlobWriter::finish) has returned, it discards what was
/// written, and what was there under the name stays.
#[derive(Debug)]
pub struct BlobWriter {
    container: ContainerName,
    /// `None` once finished, aborted or failed.
    upload: Option<WriteMultipart>,
    size: u64,
}

impl BlobWriter {
    pub(super) fn new(container: ContainerName, upload: Box<dyn MultipartUpload>) -> Self {
        let upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Self {
            container,
            upload: Some(upload),
            size: 0,
        }
    }

    /// Appends `bytes`; waits while too much is under way. Cancelled, it may have appended a part of
    /// them: drop the writer then. After an error the object is discarded.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let upload = self
                .upload
                .as_mut()
                .ok_or_else(|| failed(&self.container))?;
            if let Err(error) = upload.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await {
                self.discard();
                return Err(backend(&self.container, error));
            }
            let piece = bytes.split_to(bytes.len().min(PART_BYTES));
            // Copied, so that what is held is the part and not every network buffer it came in.
            upload.write(&piece);
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes the object appear, whole and durable, and gives its size in bytes.
    pub async fn finish(mut self) -> Result<u64, BlobError> {
        let upload = self.upload.take().ok_or_else(|| failed(&self.container))?;
        upload
            .finish()
            .await
            .map_err(|error| backend(&self.container, error))?;
        Ok(self.size)
    }

    /// Discards what was written, and returns when nothing of it is left.
    pub async fn abort(mut self) -> Result<(), BlobError> {
        let Some(upload) = self.upload.take() else {
            return Ok(());
        };
        upload
            .abort()
            .await
            .map_err(|error| backend(&self.container, error))
    }

    /// Discards without waiting. Files are removed by the upload's own drop; a networked backend has
    /// to be told, which the detached task does in one request.
    fn discard(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let container = self.container.clone();
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%container, %error, "an unfinished blob may be left behind");
                }
            });
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        self.discard();
    }
}

fn failed(container: &ContainerName) -> BlobError {
    backend(container, std::io::Error::other("an earlier write failed"))
}
