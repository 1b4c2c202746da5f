//! A trap, an endless loop, a memory bomb, a stack overflow, a lie: answered with the right status,
//! logged with component and revision, and nothing else is disturbed.

use std::time::Duration;

use crate::harness::client::{Client, Reply, empty, next_data, try_next_data};
use crate::harness::{Host, Launch, Manifest, eventually};

/// A guest that misbehaves beside one that does not.
async fn host() -> Host {
    let manifest = Manifest::new(
        r#"
[component.misbehave]
artifact = "{misbehave.wasm}"
[component.misbehave.limits]
deadline = "1s"
response_idle = "1s"
memory = "8MiB"

[component.hello3]
artifact = "{hello3.wasm}"
[component.hello3.limits]
deadline = "1s"

[component.hello]
artifact = "{hello.wasm}"

[[route]]
path = "/..."
component = "misbehave"
[[route]]
path = "/..."
host = "hello3"
component = "hello3"
[[route]]
path = "/..."
host = "hello"
component = "hello"
"#,
    );
    Launch::of(&manifest).start().await
}

/// Asks `path` while a well-behaved neighbour is asked over and over, and must not notice.
async fn beside_a_neighbour(host: &Host, path: &str) -> Reply {
    let misbehaving = tokio::spawn({
        let client = host.client();
        let path = path.to_owned();
        async move { client.get(&path).await }
    });
    let client = host.client();
    let mut asked = 0;
    while !misbehaving.is_finished() || asked < 5 {
        assert_eq!(neighbour(&client).await.text(), "hello", "beside {path}");
        asked += 1;
    }
    misbehaving.await.expect("it was answered")
}

async fn neighbour(client: &Client) -> Reply {
    let request = client.request("GET", "/").header("host", "hello");
    client.send(request.body(empty()).unwrap()).await
}

async fn logged_for(host: &Host, component: &str) -> serde_json::Value {
    host.logged("the failure with component and revision", |entry| {
        entry["component"] == component
            && entry["revision"].is_string()
            && matches!(entry["level"].as_str(), Some("ERROR" | "WARN"))
            && entry["target"] != "wharf::guest"
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_502_and_logged_and_counted() {
    let host = host().await;
    let reply = beside_a_neighbour(&host, "/trap").await.expect(502);
    assert!(
        !reply.text().contains("on purpose"),
        "what a guest says stays inside: {reply:?}"
    );
    logged_for(&host, "misbehave").await;
    host.metric_becomes("wharf_traps_total", &[("component", "misbehave")], 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_504() {
    let host = host().await;
    beside_a_neighbour(&host, "/spin").await.expect(504);
    logged_for(&host, "misbehave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_ends_at_its_limit() {
    let host = host().await;
    let reply = beside_a_neighbour(&host, "/allocate").await;
    assert!(matches!(reply.status, 502 | 503), "{reply:?}");
    logged_for(&host, "misbehave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_overflow_is_502() {
    let host = host().await;
    beside_a_neighbour(&host, "/recurse").await.expect(502);
    logged_for(&host, "misbehave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_answers_is_504() {
    let host = host().await;
    beside_a_neighbour(&host, "/never").await.expect(504);
    host.metric_becomes("wharf_instances", &[("component", "misbehave")], 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_sets_no_response_or_answers_an_error_is_502() {
    let host = host().await;
    host.client().get("/no-response").await.expect(502);
    host.client().get("/error").await.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_0_3_guest_misbehaves_with_the_same_answers() {
    let host = host().await;
    let client = host.client();
    for (path, status) in [
        ("/trap", 502),
        ("/spin", 504),
        ("/never", 504),
        ("/error", 502),
    ] {
        let request = client.request("GET", path).header("host", "hello3");
        let reply = client.send(request.body(empty()).unwrap()).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        let again = client.request("GET", "/").header("host", "hello3");
        let reply = client.send(again.body(empty()).unwrap()).await.expect(200);
        assert_eq!(reply.text(), "hello", "after {path}");
        assert_eq!(neighbour(&client).await.text(), "hello", "after {path}");
    }
    logged_for(&host, "hello3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_after_the_response_began_breaks_the_body_off() {
    let host = host().await;
    for client in [host.client(), host.client2()] {
        let reply = client.get("/trap-after").await.expect(200);
        assert_eq!(reply.text(), "begun");
        assert!(
            reply.broken.is_some(),
            "it must not look complete: {reply:?}"
        );
    }
    logged_for(&host, "misbehave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_stalls_is_broken_off_after_its_idle_limit() {
    let host = host().await;
    for path in ["/stall", "/spin-after"] {
        let client = host.client();
        let request = client.request("GET", path).body(empty()).unwrap();
        let mut incoming = client.open(request).await.into_body();
        assert_eq!(next_data(&mut incoming).await, "begun");
        let before = std::time::Instant::now();
        assert_eq!(try_next_data(&mut incoming).await, None, "{path}");
        assert!(
            before.elapsed() < Duration::from_secs(15),
            "{path}: {:?}",
            before.elapsed()
        );
        host.metric_becomes("wharf_instances", &[("component", "misbehave")], 0.0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_shorter_than_its_content_length_is_broken_off() {
    let host = host().await;
    let client = host.client();
    let request = client.request("GET", "/lie").body(empty()).unwrap();
    // Where the lie is found out before the head is sent, there may be an error instead.
    if let Ok(reply) = client.try_send(request).await {
        assert!(reply.status == 502 || reply.broken.is_some(), "{reply:?}");
    }
    assert_eq!(neighbour(&client).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_response_headers_disturb_nobody() {
    let host = host().await;
    let client = host.client();
    let request = client
        .request("GET", "/huge-headers?bytes=4000000")
        .body(empty())
        .unwrap();
    if let Ok(reply) = client.try_send(request).await {
        assert!(matches!(reply.status, 200 | 502), "{}", reply.status);
    }
    assert_eq!(neighbour(&client).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_spinning_guests_leaves_the_neighbour_served() {
    let host = host().await;
    let crowd: Vec<_> = (0..16)
        .map(|_| {
            let client = host.client();
            tokio::spawn(async move { client.get("/spin").await.status })
        })
        .collect();
    let client = host.client();
    for _ in 0..10 {
        assert_eq!(neighbour(&client).await.text(), "hello");
    }
    for member in crowd {
        assert_eq!(member.await.unwrap(), 504);
    }
    eventually(
        "the host has recovered",
        Duration::from_secs(10),
        async || (neighbour(&client).await.status == 200).then_some(()),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_nothing_of_the_machine() {
    let manifest = Manifest::serving("misbehave", "");
    let host = Launch::of(&manifest)
        .environment("WHARF_TEST_INHERITED", "must not be seen")
        .start()
        .await;
    let seen = host.client().get("/surroundings").await.expect(200).json();
    assert_eq!(seen["environment"].as_object().unwrap().len(), 0, "{seen}");
    assert_eq!(seen["arguments"].as_array().unwrap().len(), 0, "{seen}");
    assert_eq!(seen["files"], 0, "{seen}");
    // Port 9 would be ConnectionRefused, had it been tried.
    assert_eq!(seen["socket"], "PermissionDenied", "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_logs_too_much_is_cut_short_and_that_is_said() {
    let host = host().await;
    host.client().get("/babble?lines=2000").await.expect(200);
    let entry = host
        .logged("how much was dropped", |entry| {
            entry["message"]
                .as_str()
                .is_some_and(|text| text.contains("the rest of its lines was dropped"))
        })
        .await;
    assert_eq!(entry["component"], "misbehave");
    let dropped = entry["lines"].as_u64().unwrap();
    let kept = host
        .log_entries()
        .iter()
        .filter(|entry| entry["message"] == "guest wrote to standard output")
        .count() as u64;
    assert_eq!(kept + dropped, 2000);
    assert!(kept < 300, "{kept} lines of a kilobyte");
}
