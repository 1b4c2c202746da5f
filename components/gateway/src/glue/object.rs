//! Objects in the blob store: writing one that appears whole or not at all, reading, removing.

use crate::bindings::wasi::blobstore::blobstore;
use crate::bindings::wasi::blobstore::container::Container;
use crate::bindings::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::glue::exchange::write_all;
use crate::glue::log;

/// Where uploads wait for the converter.
pub const UPLOADS: &str = "uploads";
/// Where the converter leaves results.
pub const RESULTS: &str = "results";

/// The blob store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the blob store failed on {container}/{object}: {reason}")]
pub struct BlobError {
    container: &'static str,
    object: String,
    reason: String,
}

fn failed<'o>(
    container: &'static str,
    object: &'o str,
) -> impl Fn(String) -> BlobError + Copy + use<'o> {
    move |reason| BlobError {
        container,
        object: object.to_owned(),
        reason,
    }
}

fn open(container: &'static str, object: &str) -> Result<Container, BlobError> {
    blobstore::get_container(container).map_err(failed(container, object))
}

/// An object that is being written. It appears at [`NewObject::commit`]; dropped before, it leaves
/// nothing. Fields drop in this order: the stream before its value.
pub struct NewObject {
    stream: Option<OutputStream>,
    value: Option<OutgoingValue>,
    home: Container,
    container: &'static str,
    name: String,
}

impl NewObject {
    /// Begins the object `name`.
    pub fn create(container: &'static str, name: &str) -> Result<Self, BlobError> {
        let failed = failed(container, name);
        let home = open(container, name)?;
        let value = OutgoingValue::new_outgoing_value();
        let stream = value
            .outgoing_value_write_body()
            .map_err(|()| failed("a value's stream can be taken once".to_owned()))?;
        // From here on, dropping this takes back whatever the host has of the object.
        let object = Self {
            stream: Some(stream),
            value: Some(value),
            home,
            container,
            name: name.to_owned(),
        };
        if let Some(value) = &object.value {
            object.home.write_data(name, value).map_err(failed)?;
        }
        Ok(object)
    }

    /// Appends bytes, waiting where the backend is slow. After a failure there is no object.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let written = match &self.stream {
            Some(stream) => write_all(stream, bytes),
            None => Err(StreamError::Closed),
        };
        written.map_err(|error| self.give_up(&error))
    }

    /// Makes the object visible and durable.
    pub fn commit(mut self) -> Result<(), BlobError> {
        if let Some(stream) = &self.stream {
            let flushed = stream.blocking_flush();
            flushed.map_err(|error| self.give_up(&error))?;
        }
        self.finish().unwrap_or(Ok(())).map_err(|reason| {
            remove_quietly(self.container, &self.name);
            failed(self.container, &self.name)(reason)
        })
    }

    /// Ends the value, once.
    fn finish(&mut self) -> Option<Result<(), String>> {
        drop(self.stream.take());
        self.value.take().map(OutgoingValue::finish)
    }

    /// Only ending the value tells why its stream failed. Whatever that leaves is removed.
    fn give_up(&mut self, error: &StreamError) -> BlobError {
        let reason = match self.finish() {
            Some(Err(reason)) => reason,
            Some(Ok(())) | None => match error {
                StreamError::Closed => "the stream is closed".to_owned(),
                StreamError::LastOperationFailed(error) => error.to_debug_string(),
            },
        };
        remove_quietly(self.container, &self.name);
        failed(self.container, &self.name)(reason)
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        drop(self.stream.take());
        let Some(value) = self.value.take() else {
            return;
        };
        // Not finished: the host discards it. Where a host's draft of the interface shows objects
        // early, removing it does the same.
        drop(value);
        if let Err(reason) = self.home.delete_object(&self.name) {
            log::warn(&failed(self.container, &self.name)(reason).to_string());
        }
    }
}

/// An object's size, or nothing when there is no such object.
pub fn size(container: &'static str, name: &str) -> Result<Option<u64>, BlobError> {
    let failed = failed(container, name);
    let home = open(container, name)?;
    if !home.has_object(name).map_err(failed)? {
        return Ok(None);
    }
    Ok(Some(home.object_info(name).map_err(failed)?.size))
}

/// The bytes `start..=end` of an object, as they come.
pub fn read(
    container: &'static str,
    name: &str,
    start: u64,
    end: u64,
) -> Result<InputStream, BlobError> {
    let failed = failed(container, name);
    let home = open(container, name)?;
    let value = home.get_data(name, start, end).map_err(failed)?;
    IncomingValue::incoming_value_consume_async(value).map_err(failed)
}

/// Removes an object; that there is none is no error.
pub fn remove(container: &'static str, name: &str) -> Result<(), BlobError> {
    open(container, name)?
        .delete_object(name)
        .map_err(failed(container, name))
}

/// Removes an object on the way out of another failure, which is the one to report.
pub fn remove_quietly(container: &'static str, name: &str) {
    if let Err(error) = remove(container, name) {
        log::warn(&error.to_string());
    }
}
