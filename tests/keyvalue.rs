//! `wasi:keyvalue`: each component its own store, shared labels by grant, atomic operations, all of
//! it there after a power failure.

use crate::harness::client::Client;
use crate::harness::{Host, Launch, Manifest};

/// Three workers: two with a store of their own and a shared one, one with less.
const WORKERS: &str = r#"
[component.first]
artifact = "{worker.wasm}"
[component.first.grants]
keyvalue = ["default", "shared"]
blobstore = ["files"]
publish = ["work"]

[component.second]
artifact = "{worker.wasm}"
[component.second.grants]
keyvalue = ["default", "shared"]
blobstore = ["files"]
publish = ["work"]

[component.third]
artifact = "{worker.wasm}"
[component.third.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]

[[route]]
path = "/..."
component = "first"
[[route]]
path = "/..."
host = "second"
component = "second"
[[route]]
path = "/..."
host = "third"
component = "third"
"#;

async fn host() -> Host {
    Launch::of(&Manifest::new(WORKERS)).start().await
}

/// Asks one of the workers; the status and the text.
async fn ask(client: &Client, who: &str, path: &str, body: &str) -> (u16, String) {
    let request = client.request("POST", path).header("host", who);
    let body = crate::harness::client::full(body.to_owned());
    let reply = client.send(request.body(body).unwrap()).await;
    (reply.status, reply.text())
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_read_deleted_and_gone() {
    let host = host().await;
    let client = host.client();
    let on =
        async |path: &str, body: &str| ask(&client, "first", &format!("/kv/{path}"), body).await;
    assert_eq!(on("get?store=default&key=a", "").await.0, 404);
    assert_eq!(on("set?store=default&key=a", "value").await, ok("set"));
    assert_eq!(on("get?store=default&key=a", "").await, ok("value"));
    assert_eq!(on("exists?store=default&key=a", "").await, ok("true"));
    assert_eq!(on("set?store=default&key=a", "").await, ok("set"));
    assert_eq!(
        on("get?store=default&key=a", "").await,
        ok(""),
        "an empty value is a value"
    );
    assert_eq!(on("delete?store=default&key=a", "").await, ok("deleted"));
    assert_eq!(on("exists?store=default&key=a", "").await, ok("false"));
    assert_eq!(
        on("delete?store=default&key=a", "").await,
        ok("deleted"),
        "gone is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_never_sees_anothers_own_store() {
    let host = host().await;
    let client = host.client();
    ask(
        &client,
        "first",
        "/kv/set?store=default&key=mine",
        "first's",
    )
    .await;
    assert_eq!(
        ask(&client, "second", "/kv/get?store=default&key=mine", "")
            .await
            .0,
        404
    );
    assert_eq!(
        ask(&client, "second", "/kv/keys?store=default", "").await,
        ok("")
    );
    for trick in [
        "component/first",
        "../first",
        "first",
        "default/../first",
        "label/shared",
    ] {
        let path = format!("/kv/get?store={trick}&key=mine");
        let (status, text) = ask(&client, "second", &path, "").await;
        assert!(matches!(status, 403 | 404), "{trick}: {status} {text}");
        assert!(!text.contains("first's"), "{trick}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_shared_by_those_it_is_granted_to_and_closed_to_others() {
    let host = host().await;
    let client = host.client();
    ask(&client, "first", "/kv/set?store=shared&key=ours", "both").await;
    assert_eq!(
        ask(&client, "second", "/kv/get?store=shared&key=ours", "").await,
        ok("both")
    );
    let (status, text) = ask(&client, "third", "/kv/get?store=shared&key=ours", "").await;
    assert!(matches!(status, 403 | 404), "{status} {text}");
    assert_eq!(
        ask(&client, "first", "/kv/keys?store=default", "").await,
        ok("")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_from_many_requests_are_all_counted() {
    let host = host().await;
    let client = host.client();
    let all = (0..100).map(|_| {
        ask(
            &client,
            "first",
            "/kv/increment?store=default&key=n&by=3",
            "",
        )
    });
    let mut seen: Vec<i64> = futures::future::join_all(all)
        .await
        .into_iter()
        .map(|(status, text)| {
            assert_eq!(status, 200, "{text}");
            text.parse().unwrap()
        })
        .collect();
    seen.sort_unstable();
    let expected: Vec<i64> = (1..=100).map(|count| count * 3).collect();
    assert_eq!(seen, expected, "every increment has an answer of its own");
    let down = ask(
        &client,
        "first",
        "/kv/increment?store=default&key=n&by=-301",
        "",
    )
    .await;
    assert_eq!(down, ok("-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_of_what_is_no_number_is_an_error() {
    let host = host().await;
    let client = host.client();
    ask(
        &client,
        "first",
        "/kv/set?store=default&key=text",
        "not a number",
    )
    .await;
    let (status, reason) = ask(&client, "first", "/kv/increment?store=default&key=text", "").await;
    assert_eq!(status, 500, "{reason}");
    assert!(reason.contains("text"), "it names the key: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compare_and_swap_loses_no_update() {
    let host = host().await;
    let client = host.client();
    let all = (0..20).map(|_| ask(&client, "first", "/kv/append?store=default&key=log", "x"));
    for (status, text) in futures::future::join_all(all).await {
        assert_eq!(status, 200, "{text}");
    }
    let (_, value) = ask(&client, "first", "/kv/get?store=default&key=log", "").await;
    assert_eq!(value, "x".repeat(20));
    let stale = ask(&client, "first", "/kv/stale-swap?store=default&key=s", "").await;
    assert_eq!(
        stale,
        ok("newer"),
        "a stale handle fails and hands the newer value back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sets_gets_and_deletes_many() {
    let host = host().await;
    let reply = ask(&host.client(), "first", "/kv/batch?store=default&n=200", "").await;
    assert_eq!(reply, ok("200 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_page_by_page_without_loss() {
    let host = host().await;
    let client = host.client();
    let all = (0..300).map(|index| {
        let path = format!("/kv/set?store=default&key=key-{index:04}");
        let client = client.clone();
        async move { ask(&client, "first", &path, "x").await }
    });
    futures::future::join_all(all).await;
    let (_, listed) = ask(&client, "first", "/kv/keys?store=default", "").await;
    let mut keys: Vec<&str> = listed.lines().collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_is_there_after_a_power_failure() {
    let host = host().await;
    let client = host.client();
    for index in 0..20 {
        let path = format!("/kv/set?store=default&key=k{index}");
        assert_eq!(ask(&client, "first", &path, "kept").await, ok("set"));
    }
    let state = host.state().clone();
    host.kill().await;
    let host = Launch::of(&Manifest::new(WORKERS))
        .state(&state)
        .start()
        .await;
    for index in 0..20 {
        let path = format!("/kv/get?store=default&key=k{index}");
        assert_eq!(ask(&host.client(), "first", &path, "").await, ok("kept"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_value_past_its_limit_is_an_error_and_not_stored() {
    let host = host().await;
    let client = host.client();
    let long = "k".repeat(5000);
    let (status, _) = ask(
        &client,
        "first",
        &format!("/kv/set?store=default&key={long}"),
        "x",
    )
    .await;
    assert_eq!(status, 500);
    assert_eq!(
        ask(&client, "first", "/kv/keys?store=default", "").await,
        ok("")
    );
}
