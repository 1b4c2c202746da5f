//! Objects that take the place of others, and who sees which.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::join_all;

use super::{Fixture, Tried, pattern, settles};

pub(super) async fn an_object_appears_when_it_is_finished_and_not_before(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "appears");
    f.put("a", b"old").await;
    let bytes = 4 * backend.part_bytes;
    let mut writer = f.blobs.write(&f.container, "a").unwrap();
    writer.write(Bytes::from(vec![1; bytes])).await.unwrap();
    assert_eq!(f.get("a", 0..99).await.unwrap(), b"old");
    assert_eq!(f.list().await, BTreeSet::from(["a".to_owned()]));
    assert_eq!(writer.finish().await.unwrap(), bytes as u64);
    assert_eq!(f.get("a", 0..2).await.unwrap(), [1, 1]);
    assert_eq!(f.size("a").await, Some(bytes as u64));
    let mut writer = f.blobs.write(&f.container, "b").unwrap();
    writer.write(Bytes::from_static(b"small")).await.unwrap();
    assert_eq!(f.list().await, BTreeSet::from(["a".to_owned()]));
    writer.finish().await.unwrap();
    assert_eq!(f.get("b", 0..99).await.unwrap(), b"small");
    settles(backend).await;
}

pub(super) async fn a_reader_keeps_the_object_that_it_opened(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "kept");
    let old = pattern(8 << 20);
    f.put("a", &old).await;
    let reader = f.blobs.read(&f.container, "a", 0..u64::MAX).await;
    let mut reader = reader.unwrap();
    let first = reader.try_next().await.unwrap().unwrap();
    f.put("a", &[2; 10]).await;
    f.blobs.delete(&f.container, "a").await.unwrap();
    let rest: Vec<Bytes> = reader.try_collect().await.unwrap();
    let bytes = [first].into_iter().chain(rest).collect::<Vec<_>>().concat();
    assert!(bytes == old);
}

pub(super) async fn copies_and_renames_replace_what_was_there(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "copies");
    let other = Fixture::new(backend, "copies-2");
    f.put("a", b"a").await;
    f.put("b", b"b").await;
    for _ in 0..2 {
        f.blobs.copy(f.of("a"), f.of("b")).await.unwrap();
        f.blobs.copy(f.of("a"), f.of("a")).await.unwrap();
        assert_eq!(f.get("b", 0..9).await.unwrap(), b"a");
    }
    f.blobs.rename(f.of("a"), f.of("b")).await.unwrap();
    f.blobs.rename(f.of("b"), f.of("b")).await.unwrap();
    assert_eq!(f.list().await, BTreeSet::from(["b".to_owned()]));
    assert_eq!(f.get("b", 0..9).await.unwrap(), b"a");
    f.blobs.rename(f.of("b"), other.of("deep/c")).await.unwrap();
    assert!(f.list().await.is_empty());
    assert_eq!(other.get("deep/c", 0..9).await.unwrap(), b"a");
    f.blobs.copy(other.of("deep/c"), f.of("d")).await.unwrap();
    f.put("d", b"changed").await;
    assert_eq!(other.get("deep/c", 0..9).await.unwrap(), b"a");
}

pub(super) async fn a_large_object_is_copied(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "copies-large");
    let bytes = pattern(2 * backend.part_bytes + 7);
    f.put("from", &bytes).await;
    f.blobs.copy(f.of("from"), f.of("to")).await.unwrap();
    assert!(f.get("to", 0..u64::MAX).await.unwrap() == bytes);
    f.blobs.rename(f.of("from"), f.of("moved")).await.unwrap();
    assert!(f.get("moved", 0..u64::MAX).await.unwrap() == bytes);
    assert_eq!(f.size("from").await, None);
}

pub(super) async fn of_concurrent_writers_of_one_name_one_is_seen_whole(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "concurrent");
    let bytes = backend.part_bytes + backend.part_bytes / 4;
    let bodies: Vec<Vec<u8>> = (0..6).map(|n| vec![n; bytes]).collect();
    join_all(bodies.iter().map(|body| f.put("same", body))).await;
    assert!(bodies.contains(&f.get("same", 0..u64::MAX).await.unwrap()));
    settles(backend).await;
}
