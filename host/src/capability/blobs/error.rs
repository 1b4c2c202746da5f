//! Why an operation on a blob, or opening their store, did not happen.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::OBJECT_NAME_BYTES_MAX;
use crate::name::ContainerName;

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
    /// The object has outgrown what the backend takes in one upload.
    #[error("an object in container {container} may have {bytes_max} bytes, this one has more")]
    TooLarge {
        /// The container that it was written to.
        container: ContainerName,
        /// How large it may be.
        bytes_max: u64,
    },
    /// The directory of the local backend cannot be used.
    #[error("cannot use the blob directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The URL names no place for blobs.
    #[error(
        "{url:?} is no place for blobs: {problem}; write file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    Url {
        /// Without user and password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The environment does not say how to use the object store.
    #[error("{url} cannot be used: check {variables}")]
    Settings {
        /// Where.
        url: String,
        /// The environment variables that matter for it.
        variables: &'static str,
        /// What is wrong.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The object store answered, and refuses or has no such bucket.
    #[error("{url} refuses: check that the bucket exists, and {variables}")]
    Refused {
        /// Where.
        url: String,
        /// The environment variables that matter for it.
        variables: &'static str,
        /// What it said.
        #[source]
        source: Box<object_store::Error>,
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

pub(super) fn missing((container, object): (&ContainerName, &str)) -> BlobError {
    BlobError::NotFound {
        container: container.clone(),
        object: object.to_owned(),
    }
}

pub(super) fn backend(
    container: &ContainerName,
    source: impl Error + Send + Sync + 'static,
) -> BlobError {
    BlobError::Backend {
        container: container.clone(),
        source: Box::new(source),
    }
}
