use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;

use super::*;

struct Fixture {
    blobs: Blobs,
    dir: tempfile::TempDir,
    container: ContainerName,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(dir.path()).unwrap();
        Self {
            blobs,
            dir,
            container: "uploads".parse().unwrap(),
        }
    }

    async fn put(&self, object: &str, bytes: &[u8]) {
        let mut writer = self.blobs.write(&self.container, object).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap(), bytes.len() as u64);
    }

    async fn get(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
        let pieces = self.blobs.read(&self.container, object, range).await?;
        let pieces: Vec<Bytes> = pieces.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn list(&self) -> BTreeSet<String> {
        self.blobs
            .list(&self.container)
            .try_collect()
            .await
            .unwrap()
    }

    /// Every file under the directory, also what no object is.
    fn files(&self) -> usize {
        fn count(dir: &Path) -> usize {
            let entries = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            entries
                .map(|path| if path.is_dir() { count(&path) } else { 1 })
                .sum()
        }
        count(self.dir.path())
    }

    /// Waits until there are `files` files; discarding is done in the background.
    async fn settles_at(&self, files: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.files() != files {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} files stay",
                self.files()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn an_object_is_read_back_in_any_range() {
    let f = Fixture::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    f.put("video.mp4", &bytes).await;
    for range in [
        0..0,
        0..1,
        0..3_000_000,
        100..200,
        524_287..1_048_577,
        2_999_999..3_000_000,
    ] {
        let (start, end) = (range.start as usize, range.end as usize);
        assert_eq!(f.get("video.mp4", range).await.unwrap(), bytes[start..end]);
    }
    assert_eq!(
        f.get("video.mp4", 2_999_990..u64::MAX).await.unwrap(),
        bytes[2_999_990..]
    );
    assert_eq!(f.get("video.mp4", 3_000_000..3_000_001).await.unwrap(), b"");
    assert_eq!(f.get("video.mp4", 9_000_000..u64::MAX).await.unwrap(), b"");
    assert_eq!(
        f.get("video.mp4", Range { start: 5, end: 2 })
            .await
            .unwrap(),
        b""
    );
    let info = f
        .blobs
        .head(&f.container, "video.mp4")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info.size, 3_000_000);
    assert!(info.modified.elapsed().unwrap() < Duration::from_secs(60));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let f = Fixture::new();
    for range in [0..0, 0..10] {
        let error = f.get("none", range).await.unwrap_err();
        assert!(matches!(error, BlobError::NotFound { .. }), "{error:?}");
    }
    assert_eq!(f.blobs.head(&f.container, "none").await.unwrap(), None);
    f.blobs.delete(&f.container, "none").await.unwrap();
    f.blobs
        .delete_many(&f.container, &["none".to_owned()])
        .await
        .unwrap();
    f.blobs.clear(&f.container).await.unwrap();
    assert!(f.list().await.is_empty());
    let (from, to) = ((&f.container, "none"), (&f.container, "to"));
    for result in [f.blobs.copy(from, to).await, f.blobs.rename(from, to).await] {
        assert!(
            matches!(result, Err(BlobError::NotFound { .. })),
            "{result:?}"
        );
    }
    f.settles_at(0).await;
}

#[tokio::test]
async fn an_object_appears_when_it_is_finished_and_not_before() {
    let f = Fixture::new();
    f.put("a", b"old").await;
    let mut writer = f.blobs.write(&f.container, "a").await.unwrap();
    writer
        .write(Bytes::from(vec![1; 4 * 1024 * 1024]))
        .await
        .unwrap();
    assert_eq!(f.get("a", 0..99).await.unwrap(), b"old");
    assert_eq!(f.list().await, BTreeSet::from(["a".to_owned()]));
    assert_eq!(writer.finish().await.unwrap(), 4 * 1024 * 1024);
    assert_eq!(f.get("a", 0..2).await.unwrap(), [1, 1]);
    f.put("empty", b"").await;
    assert_eq!(
        f.blobs
            .head(&f.container, "empty")
            .await
            .unwrap()
            .unwrap()
            .size,
        0
    );
    assert_eq!(f.get("empty", 0..10).await.unwrap(), b"");
}

#[tokio::test]
async fn a_reader_keeps_the_object_that_it_opened() {
    let f = Fixture::new();
    f.put("a", &[1; 200_000]).await;
    let mut reader = f.blobs.read(&f.container, "a", 0..u64::MAX).await.unwrap();
    let first = reader.try_next().await.unwrap().unwrap();
    f.put("a", &[2; 10]).await;
    f.blobs.delete(&f.container, "a").await.unwrap();
    let rest: Vec<Bytes> = reader.try_collect().await.unwrap();
    let bytes = [first].into_iter().chain(rest).collect::<Vec<_>>().concat();
    assert_eq!(bytes, [1; 200_000]);
}

#[tokio::test]
async fn a_cancelled_write_leaves_nothing() {
    let f = Fixture::new();
    for bytes in [0, 10, 5 * 1024 * 1024] {
        let mut writer = f.blobs.write(&f.container, "dropped").await.unwrap();
        writer.write(Bytes::from(vec![0; bytes])).await.unwrap();
        drop(writer);
        let mut writer = f.blobs.write(&f.container, "aborted").await.unwrap();
        writer.write(Bytes::from(vec![0; bytes])).await.unwrap();
        writer.abort().await.unwrap();
    }
    f.settles_at(0).await;
    assert!(f.list().await.is_empty());
}

#[tokio::test]
async fn leftovers_of_a_killed_host_are_swept_at_open_and_objects_are_not() {
    let f = Fixture::new();
    let long = "x/#1".repeat(100);
    f.put("kept", b"kept").await;
    f.put(&long, b"kept").await;
    let mut writer = f.blobs.write(&f.container, "killed").await.unwrap();
    writer
        .write(Bytes::from(vec![0; 1024 * 1024]))
        .await
        .unwrap();
    std::mem::forget(writer);
    assert_eq!(f.files(), 3);
    Blobs::local(f.dir.path()).unwrap();
    assert_eq!(f.files(), 2);
    assert_eq!(f.list().await, BTreeSet::from(["kept".to_owned(), long]));
}

#[tokio::test]
async fn names_that_look_like_paths_are_names() {
    let f = Fixture::new();
    let names = [
        "../../x", "/x", "x", "X", "x/", "a//b", "a/b", "..", ".", "\0", "x#1", "%2e%2e",
    ];
    for name in names {
        f.put(name, name.as_bytes()).await;
    }
    for name in names {
        assert_eq!(
            f.get(name, 0..99).await.unwrap(),
            name.as_bytes(),
            "{name:?}"
        );
    }
    assert_eq!(f.list().await, names.map(str::to_owned).into());
    assert_eq!(
        std::fs::read_dir(f.dir.path()).unwrap().count(),
        1,
        "only the container"
    );
    for name in names {
        f.blobs.delete(&f.container, name).await.unwrap();
    }
    assert_eq!(f.files(), 0);
    let long = "a".repeat(OBJECT_NAME_BYTES_MAX + 1);
    for bad in ["", long.as_str()] {
        for error in [
            f.blobs
                .write(&f.container, bad)
                .await
                .map(drop)
                .unwrap_err(),
            f.blobs.head(&f.container, bad).await.map(drop).unwrap_err(),
            f.blobs.delete(&f.container, bad).await.unwrap_err(),
            f.get(bad, 0..1).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, BlobError::BadName { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn copies_and_renames_replace_what_was_there() {
    let f = Fixture::new();
    let other: ContainerName = "results".parse().unwrap();
    f.put("a", b"a").await;
    f.put("b", b"b").await;
    for _ in 0..2 {
        f.blobs
            .copy((&f.container, "a"), (&f.container, "b"))
            .await
            .unwrap();
        f.blobs
            .copy((&f.container, "a"), (&f.container, "a"))
            .await
            .unwrap();
        assert_eq!(f.get("b", 0..9).await.unwrap(), b"a");
    }
    f.blobs
        .rename((&f.container, "a"), (&f.container, "b"))
        .await
        .unwrap();
    f.blobs
        .rename((&f.container, "b"), (&f.container, "b"))
        .await
        .unwrap();
    assert_eq!(f.list().await, BTreeSet::from(["b".to_owned()]));
    f.blobs
        .rename((&f.container, "b"), (&other, "deep/c"))
        .await
        .unwrap();
    assert!(f.list().await.is_empty());
    assert!(f.blobs.head(&other, "deep/c").await.unwrap().is_some());
    assert_eq!(f.files(), 1);
}

#[tokio::test]
async fn clearing_a_container_leaves_the_others() {
    let f = Fixture::new();
    let other: ContainerName = "uploads-2".parse().unwrap();
    let mut writer = f.blobs.write(&other, "kept").await.unwrap();
    writer.write(Bytes::from_static(b"kept")).await.unwrap();
    writer.finish().await.unwrap();
    let names: Vec<String> = (0..50).map(|n| format!("object/{n}")).collect();
    join_all(names.iter().map(|name| f.put(name, b"x"))).await;
    f.blobs
        .delete_many(&f.container, &names[..20])
        .await
        .unwrap();
    assert_eq!(f.list().await, names[20..].iter().cloned().collect());
    f.blobs.clear(&f.container).await.unwrap();
    assert!(f.list().await.is_empty());
    assert!(f.blobs.head(&other, "kept").await.unwrap().is_some());
}

#[tokio::test]
async fn of_concurrent_writers_of_one_name_one_is_seen_whole() {
    let f = Fixture::new();
    let bodies: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 700_000]).collect();
    join_all(bodies.iter().map(|body| f.put("same", body))).await;
    assert!(bodies.contains(&f.get("same", 0..u64::MAX).await.unwrap()));
    assert_eq!(f.files(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let error = Blobs::local(&file).unwrap_err();
    assert!(
        matches!(&error, BlobError::Directory { path, .. } if *path == file),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_medium_that_fails_is_a_backend_error() {
    let f = Fixture::new();
    std::fs::write(
        f.dir.path().join("uploads"),
        "where the directory should be",
    )
    .unwrap();
    let error = f.blobs.write(&f.container, "a").await.unwrap_err();
    assert!(matches!(error, BlobError::Backend { .. }), "{error:?}");
}
