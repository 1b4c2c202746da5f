//! Ordered shutdown: stop accepting, finish what is in flight within a limit, exit 0.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::harness::client::{empty, next_data};
use crate::harness::{Host, Launch, Manifest, Reply, eventually};

fn config(grace: &str) -> String {
    format!(
        "state_dir = \"state\"\n[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [shutdown]\ngrace = \"{grace}\"\n"
    )
}

async fn host(grace: &str) -> Host {
    let manifest = Manifest::serving("hello", "");
    Launch::of(&manifest)
        .host_config(&config(grace))
        .start()
        .await
}

/// Waits until one instance works.
async fn working(host: &Host) {
    host.metric_becomes("wharf_instances", &[("component", "hello")], 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_finished_and_nothing_new_accepted() {
    for signal in ["TERM", "INT"] {
        let mut host = host("30s").await;
        let client = host.client();
        let in_flight = tokio::spawn(async move { client.get("/slow?ms=1500").await });
        working(&host).await;
        host.signal(signal);
        eventually(
            "the listener is closed",
            Duration::from_secs(10),
            async || TcpStream::connect(host.http).await.is_err().then_some(()),
        )
        .await;
        let reply: Reply = in_flight.await.expect("it was answered");
        assert_eq!(reply.expect(200).text(), "slow");
        assert_eq!(host.ended().await.code(), Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_flight_is_finished_over_http2_too() {
    let mut host = host("30s").await;
    let client = host.client2();
    let request = client
        .request("GET", "/stream?n=10&ms=100")
        .body(empty())
        .unwrap();
    let mut incoming = client.open(request).await.into_body();
    let mut text = next_data(&mut incoming).await.to_vec();
    host.signal("TERM");
    while let Some(data) = crate::harness::client::try_next_data(&mut incoming).await {
        text.extend_from_slice(&data);
    }
    assert!(String::from_utf8_lossy(&text).ends_with("chunk 9\n"));
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_is_given_up_after_the_grace() {
    let mut host = host("1s").await;
    let client = host.client();
    let request = client
        .request("GET", "/slow?ms=25000")
        .body(empty())
        .unwrap();
    let in_flight = tokio::spawn(async move { client.try_send(request).await });
    working(&host).await;
    let before = Instant::now();
    host.signal("TERM");
    let status = host.ended().await;
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(status.code(), Some(0));
    let answer = in_flight.await.unwrap();
    assert!(answer.is_err() || answer.unwrap().status >= 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_hold_the_host() {
    let mut host = host("30s").await;
    let client = host.client();
    client.get("/").await.expect(200);
    let _silent = TcpStream::connect(host.http).await.unwrap();
    let before = Instant::now();
    host.signal("TERM");
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_clear_error() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let manifest = Manifest::serving("hello", "");
    let state = crate::harness::scratch();
    let output = crate::harness::artifacts::command()
        .arg("up")
        .arg(manifest.path())
        .args([
            "--admin",
            "127.0.0.1:0",
            "--http",
            &address.to_string(),
            "--state-dir",
        ])
        .arg(state.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_on_the_same_state_is_refused() {
    let first = host("1s").await;
    let manifest = Manifest::serving("hello", "");
    let second = Launch::of(&manifest).state(first.state()).try_start().await;
    let failure = second
        .err()
        .expect("two hosts must not share one embedded store");
    assert!(failure.contains("exited"), "{failure}");
    first.client().get("/").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_application_is_refused_with_its_name() {
    let first = host("1s").await;
    let state = first.state().clone();
    first.stop().await;
    let text = std::fs::read_to_string(Manifest::serving("hello", "").path()).unwrap();
    let other = Manifest::raw(&text.replace("\"tested\"", "\"another\""));
    let second = Launch::of(&other).state(&state).try_start().await;
    let failure = second.err().expect("it must not find the first one's data");
    assert!(
        failure.contains("belongs to the application \\\"tested\\\"")
            || failure.contains("belongs to the application \"tested\""),
        "{failure}"
    );
}
