//! HTTP/1.1 and cleartext HTTP/2, for 0.2 and 0.3 components alike: streaming both ways, trailers,
//! cancellation.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;

use crate::harness::client::{
    Body, BodySender, channel, empty, full, generated, next_data, send_data, try_next_data,
};
use crate::harness::{Client, Host, Launch, Manifest, Reply, eventually};

const GUESTS: [&str; 2] = ["hello", "hello3"];

/// A host with one guest on every path; `NAME` in `more` stands for its name.
async fn host(guest: &str, more: &str) -> Host {
    let more = more.replace("NAME", guest);
    Launch::of(&Manifest::serving(guest, &more)).start().await
}

async fn send(client: &Client, method: &str, path: &str, body: Body) -> Reply {
    client.send(request(client, method, path, body)).await
}

fn request(client: &Client, method: &str, path: &str, body: Body) -> http::Request<Body> {
    client.request(method, path).body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_answer_over_both_protocols() {
    for guest in GUESTS {
        let host = host(guest, "").await;
        for client in [host.client(), host.client2()] {
            let reply = client.get("/").await.expect(200);
            assert_eq!(reply.text(), "hello", "{guest}");
            assert_eq!(reply.header("content-type"), Some("text/plain"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_the_request_line_and_headers_as_they_were_sent() {
    for guest in GUESTS {
        let host = host(guest, "").await;
        for client in [host.client(), host.client2()] {
            let sent = client
                .request("PATCH", "/headers?a=%20b&c=%2F")
                .header("x-twice", "one")
                .header("x-twice", "two");
            let reply = client.send(sent.body(empty()).unwrap()).await.expect(200);
            let facts = reply.json();
            assert_eq!(facts["method"], "PATCH", "{guest}");
            assert_eq!(facts["path"], "/headers?a=%20b&c=%2F", "{guest}");
            let headers = facts["headers"].as_array().unwrap();
            let twice: Vec<_> = headers.iter().filter(|pair| pair[0] == "x-twice").collect();
            assert_eq!(twice.len(), 2, "{guest}: {facts}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_there_and_back_byte_for_byte() {
    // More than the guests' memory: nobody may hold it whole.
    let chunk: Bytes = (0..64 * 1024_u32)
        .map(|i| (i % 251) as u8)
        .collect::<Vec<_>>()
        .into();
    let chunks = 640;
    for guest in GUESTS {
        let host = host(
            guest,
            "[component.NAME.limits]\nrequest_body = \"64MiB\"\nmemory = \"16MiB\"",
        )
        .await;
        for client in [host.client(), host.client2()] {
            let body = generated(chunks, chunk.clone());
            let reply = client.send(request(&client, "POST", "/echo", body)).await;
            let reply = reply.expect(200);
            assert_eq!(reply.broken, None, "{guest}");
            assert_eq!(reply.body.len(), chunks * chunk.len(), "{guest}");
            let intact = reply.body.chunks(chunk.len()).all(|piece| piece == chunk);
            assert!(intact, "{guest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_streams_in_both_directions_at_once() {
    for guest in GUESTS {
        let host = host(guest, "").await;
        for client in [host.client(), host.client2()] {
            let (sender, body) = channel();
            send_data(&sender, "first");
            let response = client.open(request(&client, "POST", "/echo", body)).await;
            let mut incoming = response.into_body();
            assert_eq!(next_data(&mut incoming).await, "first", "{guest}");
            // The request is still open: what comes back now was not waiting for its end.
            send_data(&sender, "second");
            assert_eq!(next_data(&mut incoming).await, "second", "{guest}");
            drop(sender);
            assert_eq!(try_next_data(&mut incoming).await, None, "{guest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_kept() {
    for guest in GUESTS {
        let host = host(guest, "").await;
        for client in [host.client(), host.client2()] {
            let (sender, body) = channel();
            send_data(&sender, "body");
            send_trailers(&sender, "x-checksum", "abc");
            drop(sender);
            let sent = client
                .request("POST", "/echo")
                .header("trailer", "x-checksum")
                .header("te", "trailers");
            let reply = client.send(sent.body(body).unwrap()).await.expect(200);
            assert_eq!(reply.text(), "body", "{guest}");
            // Over HTTP/1.1 a server sends trailers only for a response that announced them, which
            // hyper decides; over HTTP/2 nothing stands between.
            if reply.headers.contains_key("trailer") || reply.trailers.is_some() {
                let trailers = reply.trailers.expect("announced trailers come");
                assert_eq!(trailers["x-checksum"], "abc", "{guest}");
            }
        }
        let client = host.client2();
        let (sender, body) = channel();
        send_data(&sender, "body");
        send_trailers(&sender, "x-checksum", "abc");
        drop(sender);
        let reply = client.send(request(&client, "POST", "/echo", body)).await;
        let trailers = reply.trailers.expect("HTTP/2 keeps trailers");
        assert_eq!(trailers["x-checksum"], "abc", "{guest}");
    }
}

fn send_trailers(sender: &BodySender, name: &'static str, value: &'static str) {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    sender
        .unbounded_send(Ok(Frame::trailers(trailers)))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_arrive_one_by_one_past_the_deadline() {
    for guest in GUESTS {
        let host = host(
            guest,
            "[component.NAME.limits]\ndeadline = \"500ms\"\nresponse_idle = \"2s\"",
        )
        .await;
        let client = host.client();
        let sent = request(&client, "GET", "/sse?n=6&ms=200", empty());
        let response = client.open(sent).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut incoming = response.into_body();
        let first = next_data(&mut incoming).await;
        assert_eq!(
            first, "id: 0\ndata: event 0\n\n",
            "{guest}: one event, not all of them"
        );
        let mut last = first;
        while let Some(event) = try_next_data(&mut incoming).await {
            last = event;
        }
        assert_eq!(last, "id: 5\ndata: event 5\n\n", "{guest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_work() {
    for guest in GUESTS {
        let host = host(guest, "[component.NAME.limits]\ndeadline = \"60s\"").await;
        for client in [host.client(), host.client2()] {
            let labels = [("component", guest)];
            let waiting = client.try_send(request(&client, "GET", "/slow?ms=50000", empty()));
            let abandoned = tokio::time::timeout(Duration::from_millis(300), waiting).await;
            assert!(abandoned.is_err(), "{guest} answers only after 50 s");
            drop(client);
            host.metric_becomes("wharf_instances", &labels, 0.0).await;
        }
        // Its work may not hold up anybody else either.
        assert_eq!(host.client().get("/").await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_during_the_response_cancels_its_work() {
    let host = host("hello", "").await;
    for client in [host.client(), host.client2()] {
        let sent = request(&client, "GET", "/stream?n=100000&ms=20", empty());
        let mut incoming = client.open(sent).await.into_body();
        next_data(&mut incoming).await;
        drop(incoming);
        drop(client);
        host.metric_becomes("wharf_instances", &[("component", "hello")], 0.0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_http2_connection() {
    for guest in GUESTS {
        let host = host(guest, "").await;
        let client = host.client2();
        let all = (0..64).map(|index| {
            let client = client.clone();
            async move {
                let reply = send(&client, "POST", "/echo", full(format!("body {index}"))).await;
                assert_eq!(reply.text(), format!("body {index}"), "{guest}");
            }
        });
        futures::future::join_all(all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_fresh_for_every_request_unless_reuse_is_chosen() {
    let fresh = host("hello", "").await;
    let client = fresh.client();
    for _ in 0..3 {
        assert_eq!(client.get("/state").await.text(), "1");
    }
    for guest in GUESTS {
        let reused = host(
            guest,
            "[component.NAME.reuse]\nrequests = 100\nidle = \"30s\"",
        )
        .await;
        let client = reused.client();
        eventually(
            "an instance is reused",
            Duration::from_secs(10),
            async || (client.get("/state").await.text() != "1").then_some(()),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_idles_too_long_is_dropped() {
    for guest in GUESTS {
        let host = host(
            guest,
            "[component.NAME.reuse]\nrequests = 100\nidle = \"1s\"",
        )
        .await;
        let instances = [("component", guest)];
        for _ in 0..2 {
            host.client().get("/state").await.expect(200);
            let idling = host.metrics().await.sum("wharf_instances", &instances);
            assert_eq!(idling, 1.0, "{guest} keeps it for the next request");
            host.metric_becomes("wharf_instances", &instances, 0.0)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_of_0_3_serves_several_requests_at_once() {
    let host = host("hello3", "[component.NAME.limits]\ninstances = 1").await;
    let client = host.client();
    let before = std::time::Instant::now();
    let all = (0..8).map(|_| async {
        client.get("/slow?ms=1000").await.expect(200);
    });
    futures::future::join_all(all).await;
    // One after the other would be eight seconds.
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
}

/// One instance of `hello3` for all requests, which may call itself.
async fn one_for_all() -> Host {
    host(
        "hello3",
        "[component.NAME.grants]\noutbound_http = [\"http://hello3.internal\"]\n\
         [component.NAME.limits]\ninstances = 1\ndeadline = \"20s\"\n\
         [component.NAME.reuse]\nrequests = 100000\nconcurrent = 100",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_an_instance_keep_their_identities() {
    let host = one_for_all().await;
    let client = host.client();
    // The second one comes while the first one waits.
    let denied = async |ms: u64, authority: &str| {
        let path = format!("/ask?ms={ms}&authority={authority}");
        client.get(&path).await.expect(502)
    };
    tokio::join!(denied(1500, "first.example"), async {
        client.get("/slow?ms=300").await.expect(200);
        denied(0, "second.example").await
    });
    let mut ids = Vec::new();
    for authority in ["first.example", "second.example"] {
        let entry = host
            .logged("the denial", |entry| {
                let text = entry["message"].as_str().unwrap_or_default();
                text.contains("outbound request denied") && text.contains(authority)
            })
            .await;
        ids.push(entry["request_id"].as_u64().expect("it is a number"));
    }
    assert_ne!(ids[0], ids[1], "the first one is not taken for the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_calls_ends_although_others_share_its_instance() {
    let host = one_for_all().await;
    let circle = tokio::spawn({
        let client = host.client();
        async move { client.get("/ask?ms=150&authority=hello3.internal").await }
    });
    let client = host.client();
    while !circle.is_finished() {
        client.get("/").await.expect(200);
    }
    let reply = circle.await.expect("it was answered");
    assert!(matches!(reply.status, 502 | 508), "{reply:?}");
    let log = host.log();
    assert!(log.contains("deep at component hello3"), "{log}");
}
