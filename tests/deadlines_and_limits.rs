//! Every limit of a manifest holds: body, headers, instances, queue, deadline.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::client::{channel, empty, full, generated, send_data};
use crate::harness::{Host, Launch, Manifest};

async fn host(name: &str, limits: &str) -> Host {
    let more = format!("[component.{name}.limits]\n{limits}");
    Launch::of(&Manifest::serving(name, &more)).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_body_over_the_limit_is_413_before_it_is_sent() {
    let host = host("misbehave", "request_body = \"1KiB\"").await;
    for client in [host.client(), host.client2()] {
        client.post("/read", vec![b'x'; 1024]).await.expect(200);
        let request = client
            .request("POST", "/read")
            .header("content-length", "1025");
        let (sender, body) = channel();
        let response = client.open(request.body(body).unwrap()).await;
        assert_eq!(response.status(), 413);
        drop(sender);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undeclared_body_over_the_limit_is_cut_off() {
    for name in ["hello", "hello3"] {
        let host = host(name, "request_body = \"100KiB\"").await;
        for client in [host.client(), host.client2()] {
            let body = generated(64, Bytes::from(vec![b'x'; 64 * 1024]));
            let request = client.request("POST", "/echo").body(body).unwrap();
            if let Ok(reply) = client.try_send(request).await {
                let refused = reply.status == 413 || reply.broken.is_some() || reply.status >= 500;
                assert!(
                    refused,
                    "{name}: {} with {} bytes",
                    reply.status,
                    reply.body.len()
                );
                assert!(reply.body.len() <= 164 * 1024, "{}", reply.body.len());
            }
        }
        host.client().get("/").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_the_limit_are_431() {
    let host = host("hello", "request_headers = \"4KiB\"").await;
    for client in [host.client(), host.client2()] {
        for (bytes, status) in [(3000, 200), (5000, 431)] {
            let request = client
                .request("GET", "/")
                .header("x-large", "x".repeat(bytes));
            let reply = client.send(request.body(empty()).unwrap()).await;
            assert_eq!(reply.status, status, "{bytes} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_instances_and_queue_the_answer_is_503_with_retry_after() {
    for name in ["hello", "hello3"] {
        let limits = format!(
            "instances = 2\nqueue = 2\n[component.{name}.reuse]\nrequests = 1\nconcurrent = 1"
        );
        let host = host(name, &limits).await;
        let client = host.client();
        let asked = Instant::now();
        let all = (0..12).map(|_| async {
            let reply = client.get("/slow?ms=1500").await;
            (
                reply.status,
                reply.header("retry-after").map(str::to_owned),
                asked.elapsed(),
            )
        });
        let answers = futures::future::join_all(all).await;
        let served = answers.iter().filter(|(status, ..)| *status == 200).count();
        let refused: Vec<_> = answers
            .iter()
            .filter(|(status, ..)| *status == 503)
            .collect();
        assert_eq!(served + refused.len(), 12, "{name}: {answers:?}");
        assert_eq!(
            served, 4,
            "{name}: two at once and two that wait: {answers:?}"
        );
        for (_, retry_after, after) in refused {
            let seconds: u64 = retry_after.as_ref().expect("Retry-After").parse().unwrap();
            assert!(seconds >= 1);
            assert!(
                *after < Duration::from_millis(1400),
                "{name}: refused at once: {after:?}"
            );
        }
        client.get("/").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_in_the_queue_counts_towards_the_deadline() {
    let host = host("hello", "instances = 1\nqueue = 10\ndeadline = \"1s\"").await;
    let client = host.client();
    let all = (0..3).map(|_| async { client.get("/slow?ms=700").await.status });
    let mut statuses = futures::future::join_all(all).await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[2] == 504 || statuses[2] == 503, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_limit_is_the_manifests() {
    // A Rust guest needs a little over a megabyte to begin with, and a body that grows in memory is
    // there up to three times while it is copied.
    let host = host("misbehave", "memory = \"6MiB\"").await;
    host.client()
        .post("/read", vec![b'x'; 1 << 18])
        .await
        .expect(200);
    let status = host
        .client()
        .post("/read", vec![b'x'; 6 << 20])
        .await
        .status;
    assert!(matches!(status, 502 | 503), "{status}");
    let roomy = self::host("misbehave", "memory = \"32MiB\"").await;
    roomy
        .client()
        .post("/read", vec![b'x'; 6 << 20])
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_does_not_pile_up_in_the_host() {
    let host = host("misbehave", "request_body = \"1GiB\"\ndeadline = \"20s\"").await;
    let client = host.client();
    let (sender, body) = channel();
    let request = client
        .request("POST", "/ignore-body?ms=2000")
        .body(body)
        .unwrap();
    let before = resident_kib(&host);
    let chunk = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..256 {
        send_data(&sender, chunk.clone());
    }
    let response = client.open(request).await;
    assert_eq!(response.status(), 200);
    let grown = resident_kib(&host).saturating_sub(before);
    assert!(
        grown < 128 << 10,
        "{grown} KiB more for a body that nobody reads"
    );
}

/// Resident memory of the host; 0 where the system does not say.
fn resident_kib(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid()));
    let text = status.unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_an_answer_or_a_closed_door_and_nothing_else_suffers() {
    let host = host("hello", "").await;
    let attempts: [&[u8]; 6] = [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all",
    ];
    for attempt in attempts {
        let mut socket = TcpStream::connect(host.http).await.unwrap();
        socket.write_all(attempt).await.unwrap();
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(40), read).await;
        assert!(
            ended.is_ok(),
            "{:?} is left hanging",
            String::from_utf8_lossy(attempt)
        );
        let text = String::from_utf8_lossy(&answer).into_owned();
        // A component that began to answer before the body turned out to be broken has not ended.
        let complete = text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n0\r\n\r\n");
        assert!(!complete, "{attempt:?}: {text}");
        host.client().get("/").await.expect(200);
    }
}

/// A host that waits a second for a request's headers.
async fn impatient_host() -> Host {
    let config = "state_dir = \"state\"\n[http]\nlisten = \"127.0.0.1:0\"\nheader_timeout = \"1s\"\n\
                  [admin]\nlisten = \"127.0.0.1:0\"\n";
    let manifest = Manifest::serving("hello", "");
    Launch::of(&manifest).host_config(config).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed_after_the_header_timeout() {
    let host = impatient_host().await;
    let mut socket = TcpStream::connect(host.http).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer))
        .await
        .expect("the connection is closed")
        .ok();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_headers_too_slowly_is_dropped() {
    let host = impatient_host().await;
    let mut socket = TcpStream::connect(host.http).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer))
        .await
        .expect("the connection is closed")
        .ok();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_goes_through_under_every_limit() {
    let host = host("hello", "request_body = \"5B\"").await;
    let client = host.client();
    let request = client.request("POST", "/echo").body(full("12345")).unwrap();
    assert_eq!(client.send(request).await.expect(200).text(), "12345");
    client.post("/echo", "123456").await.expect(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_holds_a_thousand_of_the_hosts_resources_and_no_more() {
    let host = host("misbehave", "").await;
    let client = host.client();
    client.get("/resources?n=900").await.expect(200);
    client.get("/resources?n=1100").await.expect(502);
    client.get("/ok").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_writes_for_a_head_request_is_thrown_away_for_a_while_only() {
    for name in ["hello", "hello3"] {
        let host = host(name, "response_idle = \"1s\"").await;
        let client = host.client();
        let request = client
            .request("HEAD", "/stream?n=100000&ms=20")
            .body(empty())
            .unwrap();
        let reply = client.send(request).await.expect(200);
        assert!(reply.body.is_empty(), "{name}");
        host.metric_becomes("wharf_instances", &[("component", name)], 0.0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_headers_pass_where_their_bytes_do() {
    let host = host("hello", "request_headers = \"16KiB\"").await;
    for client in [host.client(), host.client2()] {
        for (headers, status) in [(300, 200), (450, 431)] {
            let mut request = client.request("GET", "/");
            for index in 0..headers {
                request = request.header(format!("x-header-number-{index}"), "x".repeat(24));
            }
            let reply = client.send(request.body(empty()).unwrap()).await;
            assert_eq!(reply.status, status, "{headers} headers");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_longer_than_the_idle_limit_gets_the_rest() {
    for name in ["hello", "hello3"] {
        let host = host(name, "response_idle = \"1s\"").await;
        // Small buffers, which the response is far larger than: the component has to wait.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut socket = socket.connect(host.http).await.unwrap();
        let request =
            b"GET /stream?n=800&pad=65536 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut begun = [0; 1000];
        socket.read_exact(&mut begun).await.unwrap();
        assert!(begun.starts_with(b"HTTP/1.1 200"), "{name}");
        // The pause is what is tried: there is nothing that it could wait for.
        let before = resident_kib(&host);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(
            grown < 16 << 10,
            "{name}: {grown} KiB more for a reader that pauses"
        );
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > 800 * 65536, "{name}: {}", rest.len());
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{name} was cut off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_a_kept_instance_never_finishes_is_broken_off() {
    let limits = "response_idle = \"1s\"\n[component.misbehave.reuse]\nrequests = 10";
    let host = host("misbehave", limits).await;
    let client = host.client();
    let reply = client.get("/unfinished").await.expect(200);
    assert_eq!(reply.text(), "begun");
    assert!(reply.broken.is_some(), "it must not look complete");
}
