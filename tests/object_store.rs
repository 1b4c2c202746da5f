//! Blobs on an object store: several hosts see the same ones, an upload takes little memory and leaves
//! nothing when it breaks off, and a store that goes away is survived.

use std::time::Duration;

use bytes::Bytes;

use crate::blobstore::WORKERS;
use crate::harness::client::{BodySender, channel, generated, send_data};
use crate::harness::object_server::{Fault, ObjectServer};
use crate::harness::{Client, Host, Manifest, eventually};

const SOON: Duration = Duration::from_secs(30);

async fn host(server: &ObjectServer) -> Host {
    let manifest = Manifest::new(WORKERS);
    server.launch(&manifest, "media").start().await
}

fn path(operation: &str, name: &str) -> String {
    format!("/blob/{operation}?container=files&name={name}")
}

async fn list(client: &Client) -> String {
    client.get(&path("list", "")).await.expect(200).text()
}

/// An upload that has sent 32 MiB and goes on.
async fn half_an_upload(host: &Host, server: &ObjectServer) -> BodySender {
    let (client, (sender, body)) = (host.client(), channel());
    let request = client.request("POST", &path("put", "film"));
    let request = request.body(body).unwrap();
    tokio::spawn(async move { client.try_send(request).await });
    for _ in 0..32 {
        send_data(&sender, vec![b'x'; 1 << 20]);
    }
    eventually("parts have arrived", SOON, async || {
        (server.unfinished().len() > 3).then_some(())
    })
    .await;
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_has_written_another_one_reads_and_the_prefix_holds_it() {
    let server = ObjectServer::start();
    let (one, two) = (host(&server).await, host(&server).await);
    let put = one.client().post(&path("put", "a"), "content").await;
    put.expect(200);
    let read = two.client().get(&path("get", "a")).await.expect(200);
    assert_eq!(read.text(), "content");
    assert_eq!(server.keys(), ["media/files/a"]);
    two.client().get(&path("delete", "a")).await.expect(200);
    assert_eq!(list(&one.client()).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_takes_little_memory() {
    let server = ObjectServer::start();
    let host = host(&server).await;
    let client = host.client();
    let upload = async |name: &str, mebibytes: usize| {
        let body = generated(mebibytes, Bytes::from(vec![7; 1 << 20]));
        let request = client.request("POST", &path("put", name));
        let reply = client.send(request.body(body).unwrap()).await;
        assert_eq!(reply.expect(200).text(), (mebibytes << 20).to_string());
    };
    upload("first", 20).await;
    let before = peak_mebibytes(host.pid());
    upload("second", 200).await;
    let after = peak_mebibytes(host.pid());
    assert!(after < before + 64, "{before} MiB, then {after} MiB");
    let size = client.get(&path("size", "second")).await;
    assert_eq!(size.expect(200).text(), (200 << 20).to_string());
}

/// The most memory that a process has had so far.
fn peak_mebibytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_is_aborted_and_leaves_nothing() {
    let server = ObjectServer::start();
    let host = host(&server).await;
    let sender = half_an_upload(&host, &server).await;
    let gone = std::io::Error::other("gone");
    sender.unbounded_send(Err(gone)).unwrap();
    eventually("the upload is aborted", SOON, async || {
        server.unfinished().is_empty().then_some(())
    })
    .await;
    assert_eq!(server.keys(), Vec::<String>::new());
    assert_eq!(list(&host.client()).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_in_mid_upload_leaves_no_object_and_what_was_there() {
    let server = ObjectServer::start();
    let (one, two) = (host(&server).await, host(&server).await);
    let put = one.client().post(&path("put", "film"), "old").await;
    put.expect(200);
    let _sender = half_an_upload(&one, &server).await;
    one.kill().await;
    assert_eq!(list(&two.client()).await.trim(), "film");
    let read = two.client().get(&path("get", "film")).await.expect(200);
    assert_eq!(read.text(), "old");
    two.client().get(&path("delete", "film")).await.expect(200);
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_an_error_to_the_guest_until_it_is_back() {
    let mut server = ObjectServer::start();
    let host = host(&server).await;
    let client = host.client();
    let put = client.post(&path("put", "a"), "content").await;
    put.expect(200);
    server.stop();
    let began = std::time::Instant::now();
    for operation in ["get", "size"] {
        let reply = client.get(&path(operation, "a")).await;
        assert_ne!(reply.status, 200, "{reply:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(40));
    server.start_again();
    let read = client.get(&path("get", "a")).await.expect(200);
    assert_eq!(read.text(), "content");
    server.set_fault(Some(Fault::RefuseParts));
    let body = vec![0; 12 << 20];
    let reply = client.post(&path("put", "a"), body).await;
    assert_ne!(reply.status, 200, "{reply:?}");
    server.set_fault(None);
    let read = client.get(&path("get", "a")).await.expect(200);
    assert_eq!(read.text(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_start_on_what_is_no_store_or_refuses() {
    let server = ObjectServer::start();
    let manifest = Manifest::new(WORKERS);
    for (url, says) in [
        ("s3://no-such-bucket/media", "check that the bucket exists"),
        ("ftp://key:hush@blobs/media", "s3://BUCKET/PREFIX"),
        ("/srv/blobs", "file:///DIRECTORY"),
    ] {
        let launch = server.launch(&manifest, "media");
        let failure = launch.environment("WHARF_BLOB_URL", url).try_start().await;
        let failure = failure.map(|_| ()).unwrap_err();
        assert!(failure.contains(says), "{failure}");
        assert!(!failure.contains("hush"), "{failure}");
    }
}
