use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::super::conformance::{self, Tried};
use super::super::{BlobError, Blobs};
use super::object_server::{BUCKET, Fault, ObjectServer};
use crate::name::ContainerName;

const PART_BYTES: usize = 5 * 1024 * 1024;

fn container() -> ContainerName {
    "uploads".parse().unwrap()
}

async fn open(server: &ObjectServer, prefix: &str) -> Blobs {
    let url = format!("s3://{BUCKET}/{prefix}");
    let opened = Blobs::open_with(&url, server.environment());
    opened.await.unwrap()
}

async fn put(blobs: &Blobs, object: &str, bytes: Vec<u8>) -> Result<u64, BlobError> {
    let mut writer = blobs.write(&container(), object)?;
    writer.write(bytes.into()).await?;
    writer.finish().await
}

async fn get(blobs: &Blobs, object: &str) -> Result<Vec<u8>, BlobError> {
    let pieces = blobs.read(&container(), object, 0..u64::MAX).await?;
    let pieces: Vec<Bytes> = pieces.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn s3_keeps_every_promise() {
    let server = ObjectServer::start();
    let blobs = open(&server, "tried").await;
    let s3 = Tried {
        blobs: &blobs,
        part_bytes: PART_BYTES,
        // The server keeps a key in a file's name, in base64 and with much around it.
        name_bytes_max: 100,
        leftovers: &|| server.unfinished(),
    };
    conformance::every_promise(&s3).await;
}

#[tokio::test]
async fn prefixes_of_one_bucket_are_apart() {
    let server = ObjectServer::start();
    let whole = open(&server, "").await;
    let one = open(&server, "one").await;
    let deep = open(&server, "one/deep/").await;
    for (blobs, bytes) in [(&whole, 1), (&one, 2), (&deep, 3)] {
        put(blobs, "a", vec![bytes]).await.unwrap();
    }
    for (blobs, bytes) in [(&whole, 1), (&one, 2), (&deep, 3)] {
        assert_eq!(get(blobs, "a").await.unwrap(), [bytes]);
        let listed = blobs.list(&container()).try_collect();
        let listed: Vec<String> = listed.await.unwrap();
        assert_eq!(listed, ["a"]);
    }
    let keys = ["one/deep/uploads/a", "one/uploads/a", "uploads/a"];
    assert_eq!(server.keys(), keys);
    one.clear(&container()).await.unwrap();
    assert_eq!(server.keys(), ["one/deep/uploads/a", "uploads/a"]);
}

#[tokio::test]
async fn a_small_object_is_one_request_and_a_copy_moves_no_bytes() {
    let server = ObjectServer::start();
    let blobs = open(&server, "").await;
    server.take_requests();
    put(&blobs, "small", vec![0; PART_BYTES]).await.unwrap();
    assert_eq!(server.take_requests().len(), 1);
    put(&blobs, "large", vec![0; PART_BYTES + 1]).await.unwrap();
    assert_eq!(
        server.take_requests().len(),
        4,
        "an upload is begun, two parts are sent, it is completed"
    );
    let uploads = container();
    let (from, to) = ((&uploads, "large"), (&uploads, "copy"));
    blobs.copy(from, to).await.unwrap();
    let requests = server.take_requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].starts_with("PUT "), "{requests:?}");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_continued_or_an_error_and_never_looks_whole() {
    let server = ObjectServer::start();
    let blobs = open(&server, "").await;
    let bytes: Vec<u8> = (0..4 << 20).map(|n: u32| (n / 1_000) as u8).collect();
    put(&blobs, "a", bytes.clone()).await.unwrap();
    let cut = |answers, after| Some(Fault::CutBodies { answers, after });
    server.set_fault(cut(2, 1 << 20));
    assert!(get(&blobs, "a").await.unwrap() == bytes);
    // From another place on it would be another object's rest.
    server.set_fault(cut(1, 1 << 20));
    let mut reader = blobs.read(&container(), "a", 0..u64::MAX).await.unwrap();
    reader.try_next().await.unwrap().unwrap();
    put(&blobs, "a", vec![1; bytes.len()]).await.unwrap();
    let rest: Result<Vec<Bytes>, _> = reader.try_collect().await;
    assert!(rest.is_err());
    server.set_fault(cut(1_000, 1 << 16));
    let error = get(&blobs, "a").await.unwrap_err();
    assert!(matches!(error, BlobError::Backend { .. }), "{error:?}");
}

#[tokio::test]
async fn an_upload_whose_parts_fail_is_an_error_and_leaves_nothing() {
    let server = ObjectServer::start();
    let blobs = open(&server, "").await;
    put(&blobs, "a", b"old".to_vec()).await.unwrap();
    server.set_fault(Some(Fault::RefuseParts));
    for parts in [2, 6] {
        let put = put(&blobs, "a", vec![0; parts * PART_BYTES]).await;
        let error = put.unwrap_err();
        assert!(matches!(error, BlobError::Backend { .. }), "{error:?}");
    }
    server.set_fault(None);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.unfinished().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", server.unfinished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(&blobs, "a").await.unwrap(), b"old");
}

/// Asks for everything, and sees an error each time, none of them late.
async fn everything_fails_soon(blobs: &Blobs) {
    let uploads = container();
    for asked in ["put", "head", "read", "delete", "list"] {
        let began = Instant::now();
        let answer = match asked {
            "put" => put(blobs, "a", vec![0]).await.map(drop),
            "head" => blobs.head(&uploads, "a").await.map(drop),
            "read" => get(blobs, "a").await.map(drop),
            "delete" => blobs.delete(&uploads, "a").await,
            _ => blobs.list(&uploads).try_collect::<Vec<_>>().await.map(drop),
        };
        let error = answer.unwrap_err();
        assert!(matches!(error, BlobError::Backend { .. }), "{error:?}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "{asked} took {took:?}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_within_ten_seconds_and_used_again_when_it_does() {
    let mut server = ObjectServer::start();
    let blobs = open(&server, "").await;
    put(&blobs, "a", vec![1]).await.unwrap();
    // Their waits are the clock's, not ours.
    tokio::time::pause();
    server.set_fault(Some(Fault::Silence));
    everything_fails_soon(&blobs).await;
    server.set_fault(Some(Fault::Unavailable));
    everything_fails_soon(&blobs).await;
    server.set_fault(None);
    server.stop();
    everything_fails_soon(&blobs).await;
    tokio::time::resume();
    server.start_again();
    assert_eq!(get(&blobs, "a").await.unwrap(), [1]);
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_at_the_start_is_used_when_it_can() {
    let mut server = ObjectServer::start();
    server.stop();
    tokio::time::pause();
    let blobs = open(&server, "").await;
    tokio::time::resume();
    server.start_again();
    put(&blobs, "a", vec![1]).await.unwrap();
    assert_eq!(get(&blobs, "a").await.unwrap(), [1]);
}

#[tokio::test]
async fn a_store_that_refuses_at_the_start_is_an_error_that_says_what_to_check() {
    let server = ObjectServer::start();
    let wrong = |name: &str| {
        let mut environment = server.environment();
        let value = environment.iter_mut().find(|(known, _)| known == name);
        value.unwrap().1 = "wrong".to_owned();
        environment
    };
    for (bucket, environment) in [
        ("no-such-bucket", server.environment()),
        (BUCKET, wrong("AWS_ACCESS_KEY_ID")),
        (BUCKET, wrong("AWS_SECRET_ACCESS_KEY")),
    ] {
        let url = format!("s3://{bucket}/prefix");
        let error = Blobs::open_with(&url, environment).await.unwrap_err();
        assert!(matches!(error, BlobError::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(&url) && text.contains("AWS_ACCESS_KEY_ID"),
            "{text}"
        );
    }
}

/// There is no server for them here: that a client is made of the environment, and asks.
#[tokio::test]
async fn clients_of_gcs_and_azure_are_made_and_say_what_they_miss() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let environment = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    tokio::time::pause();
    let gcs = [
        ("GOOGLE_BASE_URL", endpoint.as_str()),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
    ];
    let opened = Blobs::open_with("gs://bucket/prefix", environment(&gcs)).await;
    everything_fails_soon(&opened.unwrap()).await;
    let azure = [
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
    ];
    let opened = Blobs::open_with("az://bucket/prefix", environment(&azure)).await;
    everything_fails_soon(&opened.unwrap()).await;
    for url in ["az://bucket", "gs://bucket"] {
        let bad = environment(&[("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")]);
        let error = Blobs::open_with(url, bad).await.unwrap_err();
        assert!(matches!(error, BlobError::Settings { .. }), "{error:?}");
    }
}
