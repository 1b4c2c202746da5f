//! `wasi:blobstore`: streamed in and out, read by ranges, granted by container, safe from names that
//! try to escape; on files and on an object store alike.

use bytes::Bytes;

use crate::harness::client::{channel, empty, generated, send_data};
use crate::harness::{Client, Host, Launch, Manifest, ObjectServer, eventually};

pub const WORKERS: &str = r#"
[component.writer]
artifact = "{worker.wasm}"
[component.writer.grants]
keyvalue = ["default"]
blobstore = ["files", "more"]
publish = ["work"]
[component.writer.limits]
request_body = "256MiB"
memory = "16MiB"

[component.reader]
artifact = "{worker.wasm}"
[component.reader.grants]
keyvalue = ["default"]
blobstore = [{ container = "files", access = "read" }]
publish = ["work"]

[[route]]
path = "/..."
component = "writer"
[[route]]
path = "/..."
host = "reader"
component = "reader"
"#;

async fn host() -> Host {
    Launch::of(&Manifest::new(WORKERS)).start().await
}

/// One host for each backend, and the server that it uses.
async fn hosts() -> Vec<(Host, Option<ObjectServer>)> {
    let server = ObjectServer::start();
    let on_s3 = server
        .launch(&Manifest::new(WORKERS), "blobs")
        .start()
        .await;
    vec![(host().await, None), (on_s3, Some(server))]
}

async fn put(client: &Client, name: &str, bytes: impl Into<Bytes>) {
    let reply = client
        .post(&format!("/blob/put?container=files&name={name}"), bytes)
        .await;
    reply.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_whole_and_by_ranges_with_both_ends_included() {
    for (host, _server) in hosts().await {
        let client = host.client();
        put(&client, "alphabet", "abcdefghijklmnopqrstuvwxyz").await;
        let read = async |range: &str| {
            let path = format!("/blob/get?container=files&name=alphabet{range}");
            client.get(&path).await.expect(200).text()
        };
        assert_eq!(read("").await, "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(read("&start=0&end=0").await, "a");
        assert_eq!(read("&start=3&end=5").await, "def");
        assert_eq!(read("&start=24&end=1000").await, "yz");
        let size = client.get("/blob/size?container=files&name=alphabet").await;
        assert_eq!(size.expect(200).text(), "26");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_streams_through_a_small_guest() {
    for (host, _server) in hosts().await {
        let client = host.client();
        let chunk: Bytes = (0..1 << 20)
            .map(|i: u32| (i % 251) as u8)
            .collect::<Vec<_>>()
            .into();
        let body = generated(100, chunk.clone());
        let request = client.request("POST", "/blob/put?container=files&name=large");
        let reply = client.send(request.body(body).unwrap()).await.expect(200);
        assert_eq!(reply.text(), (100 << 20).to_string());
        let reply = client
            .get("/blob/get?container=files&name=large")
            .await
            .expect(200);
        assert_eq!(reply.broken, None);
        assert_eq!(reply.body.len(), 100 << 20);
        assert!(reply.body.chunks(1 << 20).all(|piece| piece == chunk));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_listed_copied_moved_deleted_and_cleared() {
    for (host, _server) in hosts().await {
        let client = host.client();
        put(&client, "one", "1").await;
        let on = async |path: &str| {
            client
                .get(&format!("/blob/{path}"))
                .await
                .expect(200)
                .text()
        };
        on("copy?container=files&name=one&to=two").await;
        on("move?container=files&name=two&to=three").await;
        let listed = on("list?container=files").await;
        let mut names: Vec<&str> = listed.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["one", "three"]);
        on("delete?container=files&name=one").await;
        assert_eq!(on("has?container=files&name=one").await, "false");
        assert_eq!(on("has?container=files&name=three").await, "true");
        on("clear?container=files").await;
        assert_eq!(on("list?container=files").await, "");
        client
            .get("/blob/get?container=files&name=one")
            .await
            .expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_closed_to_whom_it_is_not_granted_and_read_only_is_read_only() {
    for (host, _server) in hosts().await {
        let client = host.client();
        put(&client, "object", "content").await;
        let as_reader = async |path: &str| {
            let request = client.request("POST", path).header("host", "reader");
            client.send(request.body(empty()).unwrap()).await
        };
        let read = as_reader("/blob/get?container=files&name=object")
            .await
            .expect(200);
        assert_eq!(read.text(), "content");
        for path in [
            "/blob/put?container=files&name=new",
            "/blob/delete?container=files&name=object",
            "/blob/clear?container=files",
            "/blob/copy?container=files&name=object&to=copy",
            "/blob/has?container=more&name=object",
            "/blob/list?container=..",
        ] {
            let status = as_reader(path).await.status;
            assert!(matches!(status, 403 | 404 | 500), "{path}: {status}");
        }
        let listed = client
            .get("/blob/list?container=files")
            .await
            .expect(200)
            .text();
        assert_eq!(listed, "object");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_try_to_escape_stay_names() {
    for (host, _server) in hosts().await {
        let client = host.client();
        let tricks = [
            "..%2F..%2Fescape",
            "%2Fetc%2Fpasswd",
            "a%2F..%2F..%2Fb",
            "a%2F%2Fb",
            ".",
            "..",
            "%00",
            "con.",
            "a%5Cb",
            "%25%32%66",
            "%C3%A4%20%E2%98%95",
            "a%2Fb",
            "a%2Fb%2Fc",
        ];
        let mut kept = 0;
        for (index, trick) in tricks.iter().enumerate() {
            let path = format!("/blob/put?container=files&name={trick}");
            let reply = client.post(&path, format!("content {index}")).await;
            match reply.status {
                200 => kept += 1,
                // A name may be refused; it may not be misread.
                status => assert!(matches!(status, 400..=599), "{trick}"),
            }
        }
        for (index, trick) in tricks.iter().enumerate() {
            let reply = client
                .get(&format!("/blob/get?container=files&name={trick}"))
                .await;
            if reply.status == 200 {
                assert_eq!(
                    reply.text(),
                    format!("content {index}"),
                    "{trick} collides with another"
                );
            }
        }
        let listed = client
            .get("/blob/list?container=files")
            .await
            .expect(200)
            .text();
        assert_eq!(listed.lines().count(), kept, "{listed}");
        assert_eq!(client.get("/blob/list?container=more").await.text(), "");
        for outside in ["escape", "b"] {
            let above = host.state().path().parent().unwrap();
            assert!(!above.join(outside).exists() && !host.state().path().join(outside).exists());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_no_object_and_no_file() {
    let host = host().await;
    let client = host.client();
    put(&client, "before", "kept").await;
    let files = files_with(host.state().path(), 4 << 20);
    let (sender, body) = channel();
    let request = client.request("POST", "/blob/put?container=files&name=broken");
    let request = request.body(body).unwrap();
    let sending = tokio::spawn(async move { client.try_send(request).await });
    for _ in 0..32 {
        send_data(&sender, vec![b'x'; 1 << 20]);
    }
    eventually(
        "the upload is under way",
        std::time::Duration::from_secs(20),
        async || {
            let labels = [("component", "writer")];
            (host.metrics().await.sum("wharf_instances", &labels) > 0.0).then_some(())
        },
    )
    .await;
    sender
        .unbounded_send(Err(std::io::Error::other("gone")))
        .unwrap();
    assert!(sending.await.unwrap().is_err());
    host.metric_becomes("wharf_instances", &[("component", "writer")], 0.0)
        .await;
    let client = host.client();
    let listed = client
        .get("/blob/list?container=files")
        .await
        .expect(200)
        .text();
    assert_eq!(listed, "before");
    eventually(
        "nothing of it is left on disk",
        std::time::Duration::from_secs(10),
        async || (files_with(host.state().path(), 4 << 20) <= files).then_some(()),
    )
    .await;
}

/// How many files of at least `bytes` are below `dir`.
fn files_with(dir: &std::path::Path, bytes: u64) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => files_with(&entry.path(), bytes),
            Ok(metadata) => usize::from(metadata.len() >= bytes),
            Err(_) => 0,
        })
        .sum()
}
