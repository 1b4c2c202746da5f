//! Names, and many of them.

use super::super::OBJECT_NAME_BYTES_MAX;
use super::{BlobError, Fixture, Tried, put_all};

pub(super) async fn names_that_look_like_paths_are_names(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "names");
    let outside = Fixture::new(backend, "names-2");
    let mut names: Vec<String> = [
        "../../x",
        "/x",
        "x",
        "X",
        "x/",
        "a//b",
        "a/b",
        "..",
        ".",
        "\0",
        "x#1",
        "%2e%2e",
        "%2F",
        "a b",
        "a+b",
        "a?b=c&d",
        "\u{e9}",
        "e\u{301}",
        "\u{1f600}",
        "<&>\"'",
        "a\\b",
        "a\nb",
    ]
    .map(str::to_owned)
    .into();
    names.push("n".repeat(backend.name_bytes_max));
    names.push("\u{1f600}".repeat(backend.name_bytes_max / 12));
    for name in &names {
        f.put(name, name.as_bytes()).await;
    }
    for name in &names {
        let read = f.get(name, 0..9_999).await.unwrap();
        assert_eq!(read, name.as_bytes(), "{name:?}");
    }
    assert_eq!(f.list().await, names.iter().cloned().collect());
    assert!(outside.list().await.is_empty());
    for name in &names {
        let copy = "copy \u{e9} of/it";
        f.blobs.copy(f.of(name), outside.of(copy)).await.unwrap();
        assert_eq!(outside.get(copy, 0..9_999).await.unwrap(), name.as_bytes());
        f.blobs.delete(&f.container, name).await.unwrap();
    }
    assert!(f.list().await.is_empty());
}

pub(super) async fn names_that_are_none_are_refused(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "no-names");
    let long = "a".repeat(OBJECT_NAME_BYTES_MAX + 1);
    for bad in ["", long.as_str()] {
        for error in [
            f.blobs.write(&f.container, bad).map(drop).unwrap_err(),
            f.blobs.head(&f.container, bad).await.map(drop).unwrap_err(),
            f.blobs.delete(&f.container, bad).await.unwrap_err(),
            f.get(bad, 0..1).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, BlobError::BadName { .. }), "{error:?}");
        }
    }
}

/// More than the networked backends give in one page, or delete in one request: 1,000.
pub(super) async fn thousands_of_objects_are_listed_deleted_and_cleared(backend: &Tried<'_>) {
    let f = Fixture::new(backend, "thousands");
    let other = Fixture::new(backend, "thousands-2");
    other.put("kept", b"kept").await;
    let names: Vec<String> = (0..2_100).map(|n| format!("object/{n}")).collect();
    put_all(&f, &names).await;
    assert_eq!(f.list().await, names.iter().cloned().collect());
    let deleted = &names[..1_050];
    f.blobs.delete_many(&f.container, deleted).await.unwrap();
    assert_eq!(f.list().await, names[1_050..].iter().cloned().collect());
    f.blobs.clear(&f.container).await.unwrap();
    assert!(f.list().await.is_empty());
    assert_eq!(other.get("kept", 0..9).await.unwrap(), b"kept");
}
