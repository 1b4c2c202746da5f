//! Writers that do not finish.

use std::task::Poll;

use bytes::Bytes;

use super::{Fixture, Tried, settles};

pub(super) async fn a_write_that_is_dropped_or_aborted_leaves_nothing(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "unfinished");
    let part = backend.part_bytes;
    for bytes in [0, 10, part, part + 1, 3 * part + 5] {
        let mut writer = f.blobs.write(&f.container, "dropped").unwrap();
        writer.write(Bytes::from(vec![0; bytes])).await.unwrap();
        drop(writer);
        let mut writer = f.blobs.write(&f.container, "aborted").unwrap();
        writer.write(Bytes::from(vec![0; bytes])).await.unwrap();
        writer.abort().await.unwrap();
        settles(backend).await;
    }
    assert!(f.list().await.is_empty());
}

/// Dropped in the middle of a call: before the backend has said that an upload may begin, with parts
/// on their way, and while the upload is finished.
pub(super) async fn a_write_that_is_cancelled_leaves_what_was_there(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "cancelled");
    f.put("a", b"old").await;
    let bytes = Bytes::from(vec![0; 6 * backend.part_bytes]);
    for polls in [1, 2, 3, 5, 8, 20] {
        let mut writer = f.blobs.write(&f.container, "a").unwrap();
        let done = polled(writer.write(bytes.clone()), polls).await;
        assert!(polls > 3 || done.is_none());
        drop(writer);
        settles(backend).await;
        assert_eq!(f.get("a", 0..9).await.unwrap(), b"old");
    }
    let mut writer = f.blobs.write(&f.container, "a").unwrap();
    writer.write(bytes.clone()).await.unwrap();
    assert!(polled(writer.finish(), 1).await.is_none());
    settles(backend).await;
    assert_eq!(f.get("a", 0..9).await.unwrap(), b"old");
}

/// Polls `future` so many times, and drops it where that is not enough.
async fn polled<T>(future: impl Future<Output = T>, mut polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
