//! Reading: a range as the backends understand it, and bodies that never end early.

use std::future::ready;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::error::{backend, missing};
use super::{BlobError, Blobs, name};
use crate::name::ContainerName;

/// How much of a file one read fetches: large enough that the hop to the blocking pool (some 20 µs)
/// vanishes, small enough that a thousand downloads hold 64 MiB.
const READ_BYTES: usize = 64 * 1024;

impl Blobs {
    /// The bytes of an object in `range` (first to one past the last), as far as it has them, in
    /// pieces. A writer that finishes meanwhile does not change what this reader sees: it goes on with
    /// the object that it opened, or fails. A body that is cut off ends in an error.
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
        let options = GetOptions {
            range: asked(&range),
            ..GetOptions::default()
        };
        let opened = self.answer(container, self.store.get_opts(&path, options));
        let found = match opened.await? {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(missing((container, object))),
            Err(error) => match beyond().await {
                Ok(true) => return Ok(stream::empty().boxed()),
                Err(gone @ BlobError::NotFound { .. }) => return Err(gone),
                _ => return Err(backend(container, error)),
            },
        };
        body(container.clone(), found).await
    }
}

/// The range as a backend is asked for it; none for the whole object. Servers take the numbers of a
/// range as signed.
fn asked(range: &Range<u64>) -> Option<GetRange> {
    match range.start {
        0 if range.end > i64::MAX as u64 => None,
        start if range.end > i64::MAX as u64 => Some(GetRange::Offset(start)),
        _ => Some(GetRange::Bounded(range.clone())),
    }
}

async fn body(
    container: ContainerName,
    found: GetResult,
) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
    let length = found.range.end - found.range.start;
    let of = container.clone();
    let pieces = match found.payload {
        GetResultPayload::File(file, _) => {
            let mut file = tokio::fs::File::from_std(file);
            let start = io::SeekFrom::Start(found.range.start);
            file.seek(start)
                .await
                .map_err(|error| backend(&container, error))?;
            ReaderStream::with_capacity(file.take(length), READ_BYTES)
                .map_err(move |error| backend(&of, error))
                .boxed()
        }
        GetResultPayload::Stream(stream) => {
            stream.map_err(move |error| backend(&of, error)).boxed()
        }
    };
    Ok(whole(container, pieces, length))
}

/// `pieces`, and an error behind them where they are fewer than `length` bytes.
fn whole(
    container: ContainerName,
    pieces: BoxStream<'static, Result<Bytes, BlobError>>,
    length: u64,
) -> BoxStream<'static, Result<Bytes, BlobError>> {
    let ended = stream::once(ready(None));
    pieces
        .map(Some)
        .chain(ended)
        .scan(length, move |left, piece| {
            ready(match piece {
                Some(Ok(bytes)) => {
                    *left = left.saturating_sub(bytes.len() as u64);
                    Some(Ok(bytes))
                }
                Some(Err(error)) => Some(Err(error)),
                None if *left > 0 => {
                    let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                    Some(Err(backend(&container, short)))
                }
                None => None,
            })
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_ends_early_ends_in_an_error() {
        for (length, fails) in [(5, false), (6, true)] {
            let pieces = ["abc", "de"].map(|piece| Ok(Bytes::from(piece)));
            let pieces = stream::iter(pieces).boxed();
            let read = whole("uploads".parse().unwrap(), pieces, length);
            let read: Result<Vec<Bytes>, _> = read.try_collect().await;
            assert_eq!(read.is_err(), fails, "{read:?}");
        }
    }
}
