//! What every backend of blobs promises, as tests that any of them runs. Each one uses a container of
//! its own, so that they share a backend.

mod naming;
mod replacing;
mod unfinished;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{BlobError, Blobs};
use crate::name::ContainerName;

/// A backend that the suite runs on.
pub(crate) struct Tried<'a> {
    pub(crate) blobs: &'a Blobs,
    /// Size of the parts that it writes.
    pub(crate) part_bytes: usize,
    /// The longest object name that it is tried with: the server of a test may take less than the
    /// services do.
    pub(crate) name_bytes_max: usize,
    /// What writers that did not finish have left.
    pub(crate) leftovers: &'a dyn Fn() -> Vec<String>,
}

/// Runs the whole suite.
pub(crate) async fn every_promise(backend: &Tried<'_>) {
    an_object_is_read_back_in_any_range(backend).await;
    what_is_not_there_is_not_found(backend).await;
    a_large_object_streams_in_and_out(backend).await;
    replacing::an_object_appears_when_it_is_finished_and_not_before(backend).await;
    replacing::a_reader_keeps_the_object_that_it_opened(backend).await;
    replacing::copies_and_renames_replace_what_was_there(backend).await;
    replacing::a_large_object_is_copied(backend).await;
    replacing::of_concurrent_writers_of_one_name_one_is_seen_whole(backend).await;
    unfinished::a_write_that_is_dropped_or_aborted_leaves_nothing(backend).await;
    unfinished::a_write_that_is_cancelled_leaves_what_was_there(backend).await;
    naming::names_that_look_like_paths_are_names(backend).await;
    naming::names_that_are_none_are_refused(backend).await;
    naming::thousands_of_objects_are_listed_deleted_and_cleared(backend).await;
}

/// One container of the backend.
struct Fixture<'a> {
    blobs: &'a Blobs,
    container: ContainerName,
}

impl<'a> Fixture<'a> {
    fn new(backend: &Tried<'a>, container: &str) -> Self {
        Self {
            blobs: backend.blobs,
            container: container.parse().unwrap(),
        }
    }

    async fn put(&self, object: &str, bytes: &[u8]) {
        let mut writer = self.blobs.write(&self.container, object).unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap(), bytes.len() as u64);
    }

    async fn get(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
        let pieces = self.blobs.read(&self.container, object, range).await?;
        let pieces: Vec<Bytes> = pieces.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn list(&self) -> BTreeSet<String> {
        let listed: Vec<String> = self
            .blobs
            .list(&self.container)
            .try_collect()
            .await
            .unwrap();
        let names: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(names.len(), listed.len(), "each is named once");
        names
    }

    async fn size(&self, object: &str) -> Option<u64> {
        let info = self.blobs.head(&self.container, object).await.unwrap();
        info.map(|info| info.size)
    }

    fn of<'b>(&'b self, object: &'b str) -> (&'b ContainerName, &'b str) {
        (&self.container, object)
    }
}

/// Waits until nothing unfinished is left: discarding is done in the background.
async fn settles(backend: &Tried<'_>) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let left = (backend.leftovers)();
        if left.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{left:?} stay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that differ wherever parts or pieces could be exchanged.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251 + n / 65_521) as u8).collect()
}

async fn an_object_is_read_back_in_any_range(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "ranges");
    let bytes = pattern(2 * backend.part_bytes + 1_000);
    let (part, size) = (backend.part_bytes as u64, bytes.len() as u64);
    f.put("video.mp4", &bytes).await;
    let ranges = [
        0..0,
        0..1,
        0..size,
        100..200,
        part - 1..part + 1,
        part - 1..2 * part + 1,
        size - 1..size,
    ];
    for range in ranges {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(
            f.get("video.mp4", range.clone()).await.unwrap() == expected,
            "{range:?}"
        );
    }
    let tail = f.get("video.mp4", size - 10..u64::MAX).await.unwrap();
    assert_eq!(tail, bytes[bytes.len() - 10..]);
    let backwards = Range { start: 5, end: 2 };
    for beyond in [size..size + 1, 9 * size..u64::MAX, backwards] {
        let read = f.get("video.mp4", beyond.clone()).await.unwrap();
        assert_eq!(read, b"", "{beyond:?}");
    }
    let info = f.blobs.head(&f.container, "video.mp4").await;
    let info = info.unwrap().unwrap();
    assert_eq!(info.size, size);
    assert!(info.modified.elapsed().unwrap_or_default() < Duration::from_secs(60));
    f.put("empty", b"").await;
    assert_eq!(f.size("empty").await, Some(0));
    for range in [0..0, 0..10, 3..u64::MAX] {
        assert_eq!(f.get("empty", range).await.unwrap(), b"");
    }
}

async fn what_is_not_there_is_not_found(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "nothing");
    for range in [0..0, 0..10, 10..20] {
        let error = f.get("none", range).await.unwrap_err();
        assert!(matches!(error, BlobError::NotFound { .. }), "{error:?}");
    }
    assert_eq!(f.size("none").await, None);
    f.blobs.delete(&f.container, "none").await.unwrap();
    let none = ["none".to_owned()];
    f.blobs.delete_many(&f.container, &none).await.unwrap();
    f.blobs.delete_many(&f.container, &[]).await.unwrap();
    f.blobs.clear(&f.container).await.unwrap();
    assert!(f.list().await.is_empty());
    for to in ["to", "none"] {
        let copied = f.blobs.copy(f.of("none"), f.of(to)).await;
        let renamed = f.blobs.rename(f.of("none"), f.of(to)).await;
        for result in [copied, renamed] {
            assert!(
                matches!(result, Err(BlobError::NotFound { .. })),
                "{result:?}"
            );
        }
    }
    assert!(f.list().await.is_empty());
    settles(backend).await;
}

/// More parts than may be on their way at once, in pieces that fit no part.
async fn a_large_object_streams_in_and_out(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "large");
    let piece = Bytes::from(pattern(300_007));
    let pieces = 6 * backend.part_bytes / piece.len() + 1;
    let mut writer = f.blobs.write(&f.container, "film").unwrap();
    for _ in 0..pieces {
        writer.write(piece.clone()).await.unwrap();
    }
    let size = (pieces * piece.len()) as u64;
    assert_eq!(writer.finish().await.unwrap(), size);
    let read = f.blobs.read(&f.container, "film", 0..u64::MAX).await;
    let mut at = 0;
    let mut bytes = read.unwrap();
    while let Some(read) = bytes.try_next().await.unwrap() {
        let mut rest = &read[..];
        while !rest.is_empty() {
            let place = at % piece.len();
            let (chunk, behind) = rest.split_at(rest.len().min(piece.len() - place));
            assert!(chunk == &piece[place..place + chunk.len()], "at {at}");
            (rest, at) = (behind, at + chunk.len());
        }
    }
    assert_eq!(at as u64, size);
    settles(backend).await;
}

/// Puts many objects, some at a time.
async fn put_all(f: &Fixture<'_>, names: &[String]) {
    let puts = names.iter().map(|name| f.put(name, name.as_bytes()));
    stream::iter(puts)
        .buffer_unordered(32)
        .collect::<Vec<()>>()
        .await;
}
