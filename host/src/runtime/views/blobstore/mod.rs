//! `wasi:blobstore`: streamed in both directions.
//!
//! ```text
//! outgoing-value: write-body -> chunks -> (bounded channel) -> upload task -> backend
//!                 write-data starts the task, finish commits, dropping discards
//! ```
//!
//! An object becomes visible when `finish` returns, whole. Containers are the manifest's: they can be
//! neither created nor deleted by a component.

mod container;
mod service;
mod upload;
mod value;

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use wasmtime::component::Resource;

use crate::capability::blobs::{BlobError, Blobs};
use crate::manifest::model::Access;
use crate::name::ContainerName;
use crate::runtime::state::InstanceState;
use upload::Upload;

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

fn text(error: &BlobError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl InstanceState {
    fn granted(&self, container: &str) -> Result<(ContainerName, Access), String> {
        let component = &self.context.component;
        if self.context.grants.any.blobstore {
            let name = container.parse::<ContainerName>();
            let name = name.map_err(|error| error.to_string())?;
            return Ok((name, Access::ReadWrite));
        }
        let grant = self.context.grants.blobstore.get_key_value(container);
        grant.map(|(name, access)| (name.clone(), *access)).ok_or_else(|| {
            let text = format!(
                "container {container:?} is not granted: to allow it, add \"{container}\" to blobstore \
                 in [component.{component}.grants]"
            );
            tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), "{text}");
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
            Access::ReadWrite => Ok((self.context.backends.blobs.clone(), container.name.clone())),
            Access::Read => Err(read_only(&container.name)),
        })
    }
}

fn read_only(container: &ContainerName) -> String {
    format!("container {container:?} is granted for reading only")
}
