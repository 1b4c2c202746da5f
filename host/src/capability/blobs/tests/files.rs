use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::super::conformance::{self, Tried};
use super::super::{BlobError, Blobs};
use crate::name::ContainerName;

const PART_BYTES: usize = 512 * 1024;

fn container() -> ContainerName {
    "uploads".parse().unwrap()
}

async fn put(blobs: &Blobs, object: &str, bytes: Vec<u8>) -> Result<u64, BlobError> {
    let mut writer = blobs.write(&container(), object)?;
    writer.write(bytes.into()).await?;
    writer.finish().await
}

async fn list(blobs: &Blobs) -> Vec<String> {
    let listed = blobs.list(&container()).try_collect();
    let mut names: Vec<String> = listed.await.unwrap();
    names.sort_unstable();
    names
}

/// Every file below `dir`, also what no object is.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn unfinished(dir: &Path) -> Vec<String> {
    let names = files(dir).into_iter();
    let names = names.map(|path| path.display().to_string());
    names.filter(|name| name.contains('#')).collect()
}

#[tokio::test]
async fn files_keep_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    let files = Tried {
        blobs: &blobs,
        part_bytes: PART_BYTES,
        name_bytes_max: 512,
        leftovers: &|| unfinished(dir.path()),
    };
    conformance::every_promise(&files).await;
}

#[tokio::test]
async fn a_url_names_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new/er", dir.path().display());
    let blobs = Blobs::open(&url).await.unwrap();
    put(&blobs, "a", vec![1]).await.unwrap();
    assert!(dir.path().join("new/er/uploads/a").is_file());
}

#[tokio::test]
async fn names_never_leave_their_container() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::local(&dir.path().join("blobs")).unwrap();
    for name in ["../../x", "/x", "..", "a/../../../b"] {
        put(&blobs, name, vec![1]).await.unwrap();
    }
    let below = dir.path().join("blobs/uploads");
    assert_eq!(files(dir.path()).len(), 4);
    assert_eq!(files(&below).len(), 4);
}

#[tokio::test]
async fn leftovers_of_a_killed_host_are_swept_at_open_and_objects_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    let long = "x/#1".repeat(100);
    put(&blobs, "kept", vec![1]).await.unwrap();
    put(&blobs, &long, vec![1]).await.unwrap();
    let mut writer = blobs.write(&container(), "killed").unwrap();
    let bytes = Bytes::from(vec![0; 4 * PART_BYTES]);
    writer.write(bytes).await.unwrap();
    std::mem::forget(writer);
    assert_eq!(unfinished(dir.path()).len(), 1);
    Blobs::local(dir.path()).unwrap();
    assert!(unfinished(dir.path()).is_empty());
    assert_eq!(list(&blobs).await, ["kept".to_owned(), long]);
}

#[tokio::test]
async fn in_a_shared_directory_what_another_host_is_writing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let (one, other) = (Blobs::open(&url).await.unwrap(), dir.path().join("uploads"));
    let mut writer = one.write(&container(), "film").unwrap();
    let bytes = Bytes::from(vec![7; 4 * PART_BYTES]);
    writer.write(bytes).await.unwrap();
    let old = std::fs::File::create(other.join("of-a-killed-host#1")).unwrap();
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    old.set_modified(two_days_ago).unwrap();
    let two = Blobs::open(&url).await.unwrap();
    assert_eq!(unfinished(dir.path()).len(), 1);
    writer.finish().await.unwrap();
    assert_eq!(list(&two).await, ["film"]);
    assert!(unfinished(dir.path()).is_empty());
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
async fn a_medium_that_fails_is_a_backend_error_and_ends_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    std::fs::write(dir.path().join("uploads"), "no directory").unwrap();
    for bytes in [1, 4 * PART_BYTES] {
        let error = put(&blobs, "a", vec![0; bytes]).await.unwrap_err();
        assert!(matches!(error, BlobError::Backend { .. }), "{error:?}");
    }
    let mut writer = blobs.write(&container(), "a").unwrap();
    let bytes = Bytes::from(vec![0; 2 * PART_BYTES]);
    assert!(writer.write(bytes.clone()).await.is_err());
    assert!(writer.write(bytes).await.is_err());
    assert!(writer.finish().await.is_err());
}
