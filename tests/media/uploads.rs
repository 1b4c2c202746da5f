//! Uploads: what is too large, broken off, malformed or too many leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::app::{form_head, upload_request};
use super::sound::Sound;
use super::{App, User, manifest, source};
use crate::harness::client::{channel, full, send_data};
use crate::harness::{Host, eventually};

fn environment<'a>(table: &'a mut toml::Table, component: &str) -> &'a mut toml::Table {
    table["component"][component]["environment"]
        .as_table_mut()
        .expect("a table")
}

/// The files below the uploads of a host, finished or not.
fn files_in(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            if entry.path().is_dir() {
                files_in(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn blobs_of(host: &Host) -> usize {
    files_in(&host.state().path().join("blobs"))
}

async fn no_blobs(host: &Host) {
    eventually("no blob is left", Duration::from_secs(20), async || {
        (blobs_of(host) == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_limit_is_413_and_leaves_nothing() {
    let manifest = manifest(|table| {
        environment(table, "gateway")["UPLOAD_BYTES_MAX"] = "100000".into();
    });
    let host = App::own(&manifest).await;
    let user = User::new(&host).await;
    let declared = user
        .try_upload("large.mp4", &vec![b'x'; 200_000])
        .await
        .expect(413);
    assert!(declared.json()["error"].is_string());
    // Without a length, the size is known only while it arrives.
    let (sender, body) = channel();
    send_data(&sender, form_head("large.mp4"));
    for _ in 0..10 {
        send_data(&sender, vec![b'x'; 20_000]);
    }
    drop(sender);
    let request = upload_request(&user.client, &user.token, "large.mp4", body);
    if let Ok(reply) = user.client.try_send(request).await {
        assert_eq!(reply.status, 413, "{}", reply.text());
    }
    assert!(user.jobs().await.is_empty());
    no_blobs(&host).await;
    user.upload("small.txt", &vec![b'x'; 90_000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_mid_upload_leaves_no_blob_and_no_job() {
    let host = App::own(&manifest(|_| {})).await;
    let user = User::new(&host).await;
    for client in [host.client(), host.client2()] {
        let (sender, body) = channel();
        send_data(&sender, form_head("half.mp4"));
        for _ in 0..20 {
            send_data(&sender, Bytes::from(vec![b'x'; 1 << 20]));
        }
        let request = upload_request(&client, &user.token, "half.mp4", body);
        let sending = tokio::spawn(async move { client.try_send(request).await });
        eventually(
            "the upload is under way",
            Duration::from_secs(20),
            async || {
                let labels = [("component", "gateway")];
                (host.metrics().await.sum("wharf_instances", &labels) > 0.0).then_some(())
            },
        )
        .await;
        sender
            .unbounded_send(Err(std::io::Error::other("gone")))
            .unwrap();
        assert!(sending.await.unwrap().is_err());
        host.metric_becomes("wharf_instances", &[("component", "gateway")], 0.0)
            .await;
        no_blobs(&host).await;
        assert!(user.jobs().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_form_with_a_file_is_400_and_leaves_nothing() {
    let host = App::own(&manifest(|_| {})).await;
    let user = User::new(&host).await;
    let bodies: [(&str, String); 5] = [
        ("multipart/form-data; boundary=b", String::new()),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nnot a header".to_owned(),
        ),
        (
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\nx\r\n--b--\r\n"
                .to_owned(),
        ),
        (
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nno end"
                .to_owned(),
        ),
        ("text/plain", "x".to_owned()),
    ];
    for (content_type, body) in bodies {
        let request = user
            .client
            .request("POST", "/upload")
            .header("authorization", format!("Bearer {}", user.token))
            .header("content-type", content_type);
        let reply = user
            .client
            .send(request.body(full(body.clone())).unwrap())
            .await;
        assert!(
            matches!(reply.status, 400 | 415),
            "{body:?}: {}",
            reply.status
        );
        assert!(reply.json()["error"].is_string());
    }
    assert!(user.jobs().await.is_empty());
    no_blobs(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_503_with_retry_after_and_leaves_nothing() {
    let manifest = manifest(|table| {
        let stream = table["stream"]["media.uploaded"]
            .as_table_mut()
            .expect("a table");
        stream.insert("length_max".to_owned(), 1.into());
    });
    let host = App::own(&manifest).await;
    let user = User::new(&host).await;
    let first = user.upload("long.flac", &super::samples::long(300)).await;
    let refused = user.try_upload("second.mp4", &source()).await.expect(503);
    let retry_after = refused.header("retry-after").expect("when to come back");
    assert!(retry_after.parse::<u64>().unwrap() >= 1);
    assert!(refused.json()["error"].is_string());
    let jobs = user.jobs().await;
    assert_eq!(jobs.len(), 1, "what was refused is not listed: {jobs:?}");
    assert_eq!(jobs[0]["id"], first.as_str());
    let uploads = files_in(&host.state().path().join("blobs/uploads"));
    assert!(uploads <= 1, "{uploads} uploads are kept");
    assert_eq!(user.settled(&first).await["state"], "done");
    eventually("there is room again", Duration::from_secs(30), async || {
        (user.try_upload("third.mp4", &source()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_uploads_at_once_all_end_done_and_each_is_told_once() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let bytes = source();
    let reference = Sound::decode(&bytes);
    let all = (0..10).map(|index| {
        let (user, bytes) = (&user, &bytes);
        async move {
            let id = user.upload(&format!("clip-{index}.mp4"), bytes).await;
            let job = user.settled(&id).await;
            assert_eq!(job["state"], "done", "{job}");
            id
        }
    });
    let ids = futures::future::join_all(all).await;
    assert_eq!(user.jobs().await.len(), 10);
    for id in &ids {
        reference.assert_same(&Sound::decode(&user.download(id).await), id);
        let notices = eventually("the notice", Duration::from_secs(20), async || {
            let notices = user.notices_of(id).await;
            (!notices.is_empty()).then_some(notices)
        })
        .await;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert_eq!(notices[0]["outcome"], "converted");
    }
}
