//! Reads a body to its end, within the limit, and shows how far it is.

use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::SOURCE_BYTES_MAX;
use super::error::SourceError;
use crate::toolchain::progress::Progress;

/// Reads `stream`; `length` is how many bytes are announced.
///
/// # Errors
///
/// There are more than [`SOURCE_BYTES_MAX`], or the stream breaks.
pub(super) async fn collect<E: std::fmt::Display>(
    stream: impl Stream<Item = Result<Bytes, E>>,
    length: Option<u64>,
    from: &str,
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, SourceError> {
    let too_large = || SourceError::TooLarge {
        from: from.to_owned(),
    };
    if length.is_some_and(|length| length > SOURCE_BYTES_MAX) {
        return Err(too_large());
    }
    let began = Instant::now();
    let step = format!("fetching {from}");
    let mut bytes = Vec::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| SourceError::Away {
            from: from.to_owned(),
            why: error.to_string(),
        })?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > SOURCE_BYTES_MAX {
            return Err(too_large());
        }
        let detail = match length {
            Some(length) => format!("{} of {length} bytes", bytes.len()),
            None => format!("{} bytes", bytes.len()),
        };
        progress.alive(&step, began.elapsed(), &detail);
    }
    Ok(bytes)
}
