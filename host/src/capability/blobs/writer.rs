//! One object that is being written: parts go out while the next one fills.
//!
//! ```text
//! Small -> finish: one PUT
//!   | a part is full
//! Starting -> Parts -> finish: complete | abort, error, drop: abort
//! ```

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayloadMut};
use tokio::task::{JoinHandle, JoinSet};

use super::error::backend;
use super::{ANSWER_WITHIN, BlobError, Medium, late};
use crate::name::ContainerName;

/// Parts that are written while the next one fills. One file takes its writes one after the other;
/// the second only keeps the disk busy while a caller is woken. A network's round trip is hidden by
/// the second.
const PARTS_IN_FLIGHT_MAX: usize = 2;

/// Size of a part of a file. A writer holds at most 1.5 MiB: a hundred uploads at once stay under
/// 150 MiB.
const FILE_PART_BYTES: usize = 512 * 1024;

/// Size of the first parts on a network, and of what goes out in one PUT: the smallest that S3
/// allows (its user guide, "Amazon S3 multipart upload limits"). A writer holds at most 15 MiB.
const NETWORK_PART_BYTES: usize = 5 * 1024 * 1024;

/// Parts after which the size doubles. Up to 9.7 GiB all parts are equal, as some of S3's kin want.
const PARTS_OF_ONE_SIZE: usize = 2_000;

/// Parts that S3 and GCS allow in one object. With four doublings it has up to 302 GiB, and a writer
/// holds at most 240 MiB, of objects over 146 GiB.
const NETWORK_PARTS_MAX: usize = 10_000;

/// Memory that is taken at once while a part fills: a small object does not cost a whole part.
const BLOCK_BYTES: usize = 64 * 1024;

/// Size of part `number`, counted from 0; `None` when there may be no such part.
fn part_bytes(medium: Medium, number: usize) -> Option<usize> {
    match medium {
        Medium::Files => Some(FILE_PART_BYTES),
        Medium::Network if number < NETWORK_PARTS_MAX => {
            Some(NETWORK_PART_BYTES << (number / PARTS_OF_ONE_SIZE))
        }
        Medium::Network => None,
    }
}

/// Writes one object. Dropped before [`finish`](BlobWriter::finish) is called, it discards what was
/// written, and what was there under the name stays. While `finish` runs, the object may appear, whole.
#[derive(Debug)]
pub struct BlobWriter {
    container: ContainerName,
    target: Target,
    medium: Medium,
    filling: PutPayloadMut,
    parts: usize,
    size: u64,
    state: State,
}

/// Where the object will be.
#[derive(Debug, Clone)]
struct Target {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

#[derive(Debug)]
enum State {
    /// Nothing has gone out. *Allowed next:* `Starting`, `Ended`.
    Small,
    /// The backend was asked for an upload. A task asks, so that its answer is not lost with a
    /// cancelled caller. *Allowed next:* `Parts`, `Ended`.
    Starting(JoinHandle<Result<Box<dyn MultipartUpload>, Error>>),
    /// Parts go out. *Allowed next:* `Ended`.
    Parts(Parts),
    /// Finished, failed or aborted.
    Ended,
}

#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    in_flight: JoinSet<Result<(), Error>>,
}

impl BlobWriter {
    pub(super) fn new(
        container: ContainerName,
        store: Arc<dyn ObjectStore>,
        path: Path,
        medium: Medium,
    ) -> Self {
        Self {
            container,
            target: Target { store, path },
            medium,
            filling: empty(),
            parts: 0,
            size: 0,
            state: State::Small,
        }
    }

    /// Appends `bytes`; waits while too much is under way. Cancelled, it may have appended a part of
    /// them: drop the writer then. After an error the object is discarded.
    ///
    /// # Errors
    ///
    /// [`BlobError::Backend`], [`BlobError::TooLarge`].
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let Some(part_bytes) = part_bytes(self.medium, self.parts) else {
                self.discard();
                return Err(BlobError::TooLarge {
                    container: self.container.clone(),
                    bytes_max: self.size,
                });
            };
            let room = part_bytes - self.filling.content_length();
            if room == 0 {
                self.send_part().await.map_err(|error| self.failed(error))?;
                continue;
            }
            let piece = bytes.split_to(bytes.len().min(room));
            // Copied, so that what is held is the part and not every network buffer it came in.
            self.filling.extend_from_slice(&piece);
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes the object appear, whole and durable, and gives its size in bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError::Backend`]: where the answer was lost, the object may have appeared.
    pub async fn finish(mut self) -> Result<u64, BlobError> {
        self.complete().await.map_err(|error| self.failed(error))?;
        self.state = State::Ended;
        Ok(self.size)
    }

    async fn complete(&mut self) -> Result<(), Error> {
        if let State::Small = self.state {
            let payload = mem::replace(&mut self.filling, empty()).into();
            let Target { store, path } = &self.target;
            let put = store.put(path, payload);
            return match self.medium {
                Medium::Files => put.await.map(drop),
                Medium::Network => tokio::time::timeout(patience(self.size), put)
                    .await
                    .map_err(late)?
                    .map(drop),
            };
        }
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        let parts = self.state.parts(&self.target).await?;
        while let Some(sent) = parts.in_flight.join_next().await {
            sent??;
        }
        parts.upload.complete().await.map(drop)
    }

    /// Starts to send the part that was filling, which is not empty.
    async fn send_part(&mut self) -> Result<(), Error> {
        let parts = self.state.parts(&self.target).await?;
        while parts.in_flight.len() >= PARTS_IN_FLIGHT_MAX
            && let Some(sent) = parts.in_flight.join_next().await
        {
            sent??;
        }
        let filled = mem::replace(&mut self.filling, empty());
        let sending = parts.upload.put_part(filled.into());
        parts.in_flight.spawn(sending);
        self.parts += 1;
        Ok(())
    }

    /// Discards what was written, and returns when nothing of it is left. Cancelled, it goes on.
    ///
    /// # Errors
    ///
    /// [`BlobError::Backend`].
    pub async fn abort(mut self) -> Result<(), BlobError> {
        let aborting = mem::replace(&mut self.state, State::Ended).abort();
        let aborted = tokio::spawn(aborting).await.map_err(Error::from).flatten();
        aborted.map_err(|error| backend(&self.container, error))
    }

    fn failed(&mut self, error: Error) -> BlobError {
        self.discard();
        backend(&self.container, error)
    }

    /// Discards without waiting. Files are removed by the upload's own drop; a networked backend has
    /// to be told, which the detached task does in one request.
    fn discard(&mut self) {
        let state = mem::replace(&mut self.state, State::Ended);
        if let State::Starting(_) | State::Parts(_) = state
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let container = self.container.clone();
            runtime.spawn(async move {
                if let Err(error) = state.abort().await {
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

impl State {
    /// The upload, which is started where there is none.
    async fn parts(&mut self, target: &Target) -> Result<&mut Parts, Error> {
        if let Self::Small = self {
            let Target { store, path } = target.clone();
            let starting = async move { store.put_multipart(&path).await };
            *self = Self::Starting(tokio::spawn(starting));
        }
        if let Self::Starting(starting) = self {
            let started = starting.await;
            *self = Self::Ended;
            *self = Self::Parts(Parts {
                upload: started??,
                in_flight: JoinSet::new(),
            });
        }
        match self {
            Self::Parts(parts) => Ok(parts),
            Self::Small | Self::Starting(_) | Self::Ended => Err(Error::Generic {
                store: "blobs",
                source: "an earlier write failed".into(),
            }),
        }
    }

    /// Takes back what has gone out. It waits for the parts on their way, because one that arrives
    /// after the upload was aborted stays (S3's API reference, AbortMultipartUpload).
    async fn abort(self) -> Result<(), Error> {
        let mut upload = match self {
            Self::Small | Self::Ended => return Ok(()),
            Self::Starting(starting) => starting.await??,
            Self::Parts(mut parts) => {
                while parts.in_flight.join_next().await.is_some() {}
                parts.upload
            }
        };
        match upload.abort().await {
            // It was completed after all, or is gone already.
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

/// How long a PUT of so many bytes may take: no less than 2 Mbit/s on the way.
fn patience(bytes: u64) -> Duration {
    ANSWER_WITHIN + Duration::from_secs(bytes / (256 * 1024))
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_up_to_9_gibibytes_and_an_object_has_302_at_most() {
        let sizes = (0..).map_while(|number| part_bytes(Medium::Network, number));
        let sizes: Vec<u64> = sizes.map(|bytes| bytes as u64).collect();
        let sum = |count: usize| sizes[..count].iter().sum::<u64>() >> 30;
        assert_eq!(sizes.len(), 10_000);
        assert!(sizes[..2_000].iter().all(|bytes| *bytes == 5 << 20));
        assert_eq!((sum(2_000), sum(10_000)), (9, 302));
        assert_eq!(sizes[9_999], 80 << 20);
    }
}
