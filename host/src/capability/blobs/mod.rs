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

mod name;
mod writer;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt as _};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::name::ContainerName;
pub use name::OBJECT_NAME_BYTES_MAX;
pub use writer::BlobWriter;

/// How much of a file one read fetches: large enough that the hop to the blocking pool (some 20 µs)
/// vanishes, small enough that a thousand downloads hold 64 MiB.
const READ_BYTES: usize = 64 * 1024;

/// Why an operation on a blob did not happen.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such object.
    #[error("container {container} has no object {object:?}")]
    NotFound {
        /// The container that was asked.
        container: ContainerName,
        /// The object that was asked for.
        object: String,
    },
    /// The object's name is empty or longer than [`OBJECT_NAME_BYTES_MAX`].
    #[error("an object's name has 1 to {OBJECT_NAME_BYTES_MAX} bytes, this one has {bytes}")]
    BadName {
        /// How long it is.
        bytes: usize,
    },
    /// The directory of the local backend cannot be used.
    #[error("cannot use the blob directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host failed: the backend cannot be reached, or its medium is full or broken.
    #[error("container {container} failed")]
    Backend {
        /// The container that was asked.
        container: ContainerName,
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size in bytes.
    pub size: u64,
    /// When it was finished.
    pub modified: SystemTime,
}

/// The containers of one backend. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Keeps objects as files under `dir`, which is created where it is missing and must belong to
    /// this process and hold nothing else. Blocks to remove what writers left that a killed host was in the middle of
    /// (it looks at every file name once).
    pub fn local(dir: &Path) -> Result<Self, BlobError> {
        let failed = |source| BlobError::Directory {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        sweep(dir).map_err(failed)?;
        let store =
            LocalFileSystem::new_with_prefix(dir).map_err(|e| failed(io::Error::other(e)))?;
        // A message that names an object is durable when it is published; so is then the object.
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
        })
    }

    /// Size and time of an object, or `None` where there is none.
    pub async fn head(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<Option<ObjectInfo>, BlobError> {
        match self.store.head(&name::path(container, object)?).await {
            Ok(meta) => Ok(Some(ObjectInfo {
                size: meta.size,
                modified: meta.last_modified.into(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(backend(container, error)),
        }
    }

    /// The bytes of an object in `range` (first to one past the last), as far as it has them, in
    /// pieces. A writer that finishes meanwhile does not change what this reader sees.
    pub async fn read(
        &self,
        container: &ContainerName,
        object: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        let path = name::path(container, object)?;
        // Backends refuse a range that begins at the end or later, each with its own error.
        let beyond = async || match self.head(container, object).await? {
            Some(info) => Ok(range.start >= info.size),
            None => Err(missing((container, object))),
        };
        if range.is_empty() {
            beyond().await?;
            return Ok(stream::empty().boxed());
        }
        let wanted = GetRange::Bounded(range.clone());
        let options = GetOptions {
            range: Some(wanted),
            ..GetOptions::default()
        };
        let found = match self.store.get_opts(&path, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(missing((container, object))),
            Err(_) if beyond().await? => return Ok(stream::empty().boxed()),
            Err(error) => return Err(backend(container, error)),
        };
        let container = container.clone();
        let range = found.range.clone();
        Ok(match found.payload {
            GetResultPayload::File(file, _) => {
                let mut file = tokio::fs::File::from_std(file);
                let start = io::SeekFrom::Start(range.start);
                file.seek(start)
                    .await
                    .map_err(|error| backend(&container, error))?;
                ReaderStream::with_capacity(file.take(range.end - range.start), READ_BYTES)
                    .map_err(move |error| backend(&container, error))
                    .boxed()
            }
            GetResultPayload::Stream(stream) => stream
                .map_err(move |error| backend(&container, error))
                .boxed(),
        })
    }

    /// Starts an object. It appears, over what was there, when the writer finishes.
    pub async fn write(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<BlobWriter, BlobError> {
        let path = name::path(container, object)?;
        let upload = self.store.put_multipart(&path).await;
        Ok(BlobWriter::new(
            container.clone(),
            upload.map_err(|error| backend(container, error))?,
        ))
    }

    /// Removes an object; it is no error when there is none.
    pub async fn delete(&self, container: &ContainerName, object: &str) -> Result<(), BlobError> {
        match self.store.delete(&name::path(container, object)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
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
        let named = move |found: object_store::Result<object_store::ObjectMeta>| match found {
            // A path that no name has is not ours to report: somebody put a file there.
            Ok(meta) => name::object(&meta.location).map(Ok),
            Err(error) => Some(Err(backend(&container, error))),
        };
        self.store
            .list(Some(&prefix))
            .filter_map(move |found| std::future::ready(named(found)))
            .boxed()
    }

    /// Copies an object, over what was there; the copy appears whole. The bytes are copied:
    /// `LocalFileSystem` would link the file, and renaming between two links of one file does nothing.
    pub async fn copy(
        &self,
        source: (&ContainerName, &str),
        destination: (&ContainerName, &str),
    ) -> Result<(), BlobError> {
        let mut bytes = self.read(source.0, source.1, 0..u64::MAX).await?;
        let mut copy = self.write(destination.0, destination.1).await?;
        while let Some(piece) = bytes.try_next().await? {
            copy.write(piece).await?;
        }
        copy.finish().await.map(drop)
    }

    /// Moves an object, over what was there.
    pub async fn rename(
        &self,
        source: (&ContainerName, &str),
        destination: (&ContainerName, &str),
    ) -> Result<(), BlobError> {
        let (from, to) = (
            name::path(source.0, source.1)?,
            name::path(destination.0, destination.1)?,
        );
        match self.store.rename(&from, &to).await {
            Ok(()) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => Err(missing(source)),
            Err(error) => Err(backend(source.0, error)),
        }
    }

    /// Removes every object that the container has now.
    pub async fn clear(&self, container: &ContainerName) -> Result<(), BlobError> {
        let listed = self.store.list(Some(&name::prefix(container)));
        self.delete_paths(container, listed.map_ok(|meta| meta.location).boxed())
            .await
    }

    async fn delete_paths(
        &self,
        container: &ContainerName,
        paths: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> Result<(), BlobError> {
        let mut deleted = self.store.delete_stream(paths);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(backend(container, error)),
            }
        }
        Ok(())
    }
}

fn missing((container, object): (&ContainerName, &str)) -> BlobError {
    BlobError::NotFound {
        container: container.clone(),
        object: object.to_owned(),
    }
}

fn backend(container: &ContainerName, source: impl Error + Send + Sync + 'static) -> BlobError {
    BlobError::Backend {
        container: container.clone(),
        source: Box::new(source),
    }
}

/// Removes unfinished files: `LocalFileSystem` writes to `<path>#<number>` and renames, and no path
/// of ours has a `#`.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sweep(&entry.path())?;
        } else if kind.is_file() && entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
