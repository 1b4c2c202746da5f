//! Blobs: what `wasi:blobstore` is served from. `object_store` is the abstraction over backends, so
//! there is no trait here.
//!
//! ```text
//! container, object name --name.rs--> path --> object_store (files; S3 and its like)
//! ```
//!
//! Bodies are streamed both ways; nothing holds a whole object. An object appears when its writer
//! finishes, whole, and is on the medium then. Containers are implied: one exists for whoever was
//! granted it, and none is stored.

mod error;
mod name;
mod open;
mod read;
mod writer;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, fs, io};

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use crate::name::ContainerName;
pub use error::BlobError;
use error::{backend, missing};
pub use name::OBJECT_NAME_BYTES_MAX;
pub use writer::BlobWriter;

/// Longest wait for an answer that is not a body: a store that cannot be reached, or that has stopped
/// answering, is an error within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a store copies by itself in one request; S3 copies no more (its API reference, CopyObject).
const COPY_BYTES_MAX: u64 = 5 << 30;

/// How old an unfinished file in a shared directory has to be for no host to be writing it: a writer
/// writes every half MiB, and no upload takes longer than a day between two of them.
const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size in bytes.
    pub size: u64,
    /// When it was finished.
    pub modified: SystemTime,
}

/// What objects are kept on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Files,
    Network,
}

/// The containers of one backend. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    medium: Medium,
}

impl Blobs {
    /// Keeps objects as files under `dir`, which is created where it is missing and must belong to
    /// this process and hold nothing else. Blocks to remove what writers left that a killed host was in the middle of
    /// (it looks at every file name once).
    pub fn local(dir: &Path) -> Result<Self, BlobError> {
        Self::files(dir, Duration::ZERO)
    }

    /// As [`local`](Self::local), in a directory that several hosts may use at once: what was written
    /// to a day ago and is not finished belongs to none that lives.
    fn shared(dir: &Path) -> Result<Self, BlobError> {
        Self::files(dir, UNFINISHED_KEPT)
    }

    fn files(dir: &Path, unfinished_kept: Duration) -> Result<Self, BlobError> {
        let failed = |source| BlobError::Directory {
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        sweep(dir, unfinished_kept).map_err(failed)?;
        let store =
            LocalFileSystem::new_with_prefix(dir).map_err(|e| failed(io::Error::other(e)))?;
        // A message that names an object is durable when it is published; so is then the object.
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            medium: Medium::Files,
        })
    }

    /// Size and time of an object, or `None` where there is none.
    pub async fn head(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<Option<ObjectInfo>, BlobError> {
        let path = name::path(container, object)?;
        match self.answer(container, self.store.head(&path)).await? {
            Ok(meta) => Ok(Some(ObjectInfo {
                size: meta.size,
                modified: meta.last_modified.into(),
            })),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(backend(container, error)),
        }
    }

    /// Starts an object. It appears, over what was there, when the writer finishes. Nothing is sent yet.
    pub fn write(&self, container: &ContainerName, object: &str) -> Result<BlobWriter, BlobError> {
        let path = name::path(container, object)?;
        let (container, store) = (container.clone(), self.store.clone());
        Ok(BlobWriter::new(container, store, path, self.medium))
    }

    /// Removes an object; it is no error when there is none.
    pub async fn delete(&self, container: &ContainerName, object: &str) -> Result<(), BlobError> {
        let path = name::path(container, object)?;
        match self.answer(container, self.store.delete(&path)).await? {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(backend(container, error)),
        }
    }

    /// Removes objects, one after the other; the first failure ends it. If a name is not valid, none
    /// is removed.
    pub async fn delete_many(
        &self,
        container: &ContainerName,
        objects: &[String],
    ) -> Result<(), BlobError> {
        let paths = objects.iter().map(|object| name::path(container, object));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        self.delete_paths(container, stream::iter(paths).map(Ok).boxed())
            .await
    }

    /// The names of all objects, in no order.
    pub fn list(&self, container: &ContainerName) -> BoxStream<'static, Result<String, BlobError>> {
        let prefix = name::prefix(container);
        let container = container.clone();
        let named = move |found: Result<ObjectMeta, StoreError>| match found {
            // A path that no name has is not ours to report: somebody put a file there.
            Ok(meta) => name::object(&meta.location).map(Ok),
            Err(error) => Some(Err(backend(&container, error))),
        };
        self.listed(&prefix)
            .filter_map(move |found| std::future::ready(named(found)))
            .boxed()
    }

    /// Copies an object, over what was there; the copy appears whole. A store on the network copies by
    /// itself what it can. Files' bytes are copied: `LocalFileSystem` would link the file, and renaming
    /// between two links of one file does nothing.
    pub async fn copy(
        &self,
        source: (&ContainerName, &str),
        destination: (&ContainerName, &str),
    ) -> Result<(), BlobError> {
        if self.medium == Medium::Files {
            return self.copy_bytes(source, destination).await;
        }
        let (from, to) = paths(source, destination)?;
        if from == to {
            // S3 refuses that; but the object has to be there.
            let found = self.head(source.0, source.1).await?;
            return found.map(drop).ok_or_else(|| missing(source));
        }
        match self.store.copy(&from, &to).await {
            Ok(()) => Ok(()),
            Err(StoreError::NotFound { .. }) => Err(missing(source)),
            Err(error) => match self.head(source.0, source.1).await {
                Ok(Some(info)) if info.size > COPY_BYTES_MAX => {
                    self.copy_bytes(source, destination).await
                }
                _ => Err(backend(source.0, error)),
            },
        }
    }

    async fn copy_bytes(
        &self,
        source: (&ContainerName, &str),
        destination: (&ContainerName, &str),
    ) -> Result<(), BlobError> {
        let mut bytes = self.read(source.0, source.1, 0..u64::MAX).await?;
        let mut copy = self.write(destination.0, destination.1)?;
        while let Some(piece) = bytes.try_next().await? {
            copy.write(piece).await?;
        }
        copy.finish().await.map(drop)
    }

    /// Moves an object, over what was there. On the network it is copied and then deleted: whoever
    /// looks in between, or after a failure, may see both.
    pub async fn rename(
        &self,
        source: (&ContainerName, &str),
        destination: (&ContainerName, &str),
    ) -> Result<(), BlobError> {
        let (from, to) = paths(source, destination)?;
        if self.medium == Medium::Network {
            self.copy(source, destination).await?;
            return match from == to {
                true => Ok(()),
                false => self.delete(source.0, source.1).await,
            };
        }
        match self.store.rename(&from, &to).await {
            Ok(()) => Ok(()),
            Err(StoreError::NotFound { .. }) => Err(missing(source)),
            Err(error) => Err(backend(source.0, error)),
        }
    }

    /// Removes every object that the container has now.
    pub async fn clear(&self, container: &ContainerName) -> Result<(), BlobError> {
        let listed = self.listed(&name::prefix(container));
        self.delete_paths(container, listed.map_ok(|meta| meta.location).boxed())
            .await
    }

    /// What is listed, or an error where the next page takes longer than [`ANSWER_WITHIN`].
    fn listed(&self, prefix: &ObjectPath) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let listed = self.store.list(Some(prefix));
        stream::unfold(Some(listed), async |listed| {
            let mut listed = listed?;
            match tokio::time::timeout(ANSWER_WITHIN, listed.next()).await {
                Ok(item) => Some((item?, Some(listed))),
                Err(elapsed) => Some((Err(late(elapsed)), None)),
            }
        })
        .boxed()
    }

    /// Waits for an answer, no longer than [`ANSWER_WITHIN`].
    async fn answer<T>(
        &self,
        container: &ContainerName,
        answer: impl Future<Output = T>,
    ) -> Result<T, BlobError> {
        tokio::time::timeout(ANSWER_WITHIN, answer)
            .await
            .map_err(|elapsed| backend(container, elapsed))
    }

    async fn delete_paths(
        &self,
        container: &ContainerName,
        paths: BoxStream<'static, Result<ObjectPath, StoreError>>,
    ) -> Result<(), BlobError> {
        let mut deleted = self.store.delete_stream(paths);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(backend(container, error)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Blobs {
    /// Without what the client knows, credentials among it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs")
            .field("medium", &self.medium)
            .finish_non_exhaustive()
    }
}

/// The error of an answer that did not come in time.
fn late(elapsed: tokio::time::error::Elapsed) -> StoreError {
    StoreError::Generic {
        store: "blobs",
        source: elapsed.into(),
    }
}

fn paths(
    source: (&ContainerName, &str),
    destination: (&ContainerName, &str),
) -> Result<(ObjectPath, ObjectPath), BlobError> {
    let from = name::path(source.0, source.1)?;
    Ok((from, name::path(destination.0, destination.1)?))
}

/// Removes unfinished files that nobody has written to for `kept`: `LocalFileSystem` writes to
/// `<path>#<number>` and renames, and no path of ours has a `#`.
fn sweep(dir: &Path, kept: Duration) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sweep(&entry.path(), kept)?;
        } else if kind.is_file() && entry.file_name().to_string_lossy().contains('#') {
            remove_unfinished(&entry.path(), kept)?;
        }
    }
    Ok(())
}

fn remove_unfinished(path: &Path, kept: Duration) -> io::Result<()> {
    let old = || -> io::Result<bool> {
        let age = fs::metadata(path)?.modified()?.elapsed();
        Ok(kept.is_zero() || age.is_ok_and(|age| age >= kept))
    };
    match old().and_then(|old| if old { fs::remove_file(path) } else { Ok(()) }) {
        // Its writer was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
