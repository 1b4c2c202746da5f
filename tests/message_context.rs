//! What a handler is told about its message: through `wasi:config`, while it handles it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Client, Host, Launch, Manifest, eventually};

const WITHIN: Duration = Duration::from_secs(20);

/// One instance serves everything, so that what is kept of a message would be seen.
async fn host() -> Host {
    let manifest = Manifest::new(
        r#"
[component.worker]
artifact = "{worker.wasm}"
limits.instances = 1
reuse = { requests = 1000, idle = "60s" }
[component.worker.environment]
SETTING = "of the manifest"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]

[[route]]
path = "/..."
component = "worker"

[[subscription]]
subject = "work"
component = "worker"
deliveries = 3
backoff = { first = "50ms", max = "200ms" }
"#,
    );
    Launch::of(&manifest).start().await
}

/// What the handler of `context KEY` saw at its attempt `attempt`.
async fn seen(client: &Client, key: &str, attempt: &str) -> BTreeMap<String, String> {
    let target = format!("/kv/get?store=default&key=seen/{key}");
    eventually(&format!("attempt {attempt} of {key}"), WITHIN, async || {
        let text = client.get(&target).await.text();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let facts: BTreeMap<String, String> = lines
            .map(|(fact, value)| (fact.to_owned(), value.to_owned()))
            .collect();
        (facts.get("attempt").map(String::as_str) == Some(attempt)).then_some(facts)
    })
    .await
}

async fn publish(client: &Client, command: &str) {
    let target = "/publish?subject=work";
    client.post(target, command.to_owned()).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_sees_its_message_and_only_while_it_handles_it() {
    let host = host().await;
    let client = host.client();
    publish(&client, "context a").await;
    let first = seen(&client, "a", "1").await;
    publish(&client, "context b").await;
    let second = seen(&client, "b", "1").await;
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["id"], "absent");
    for facts in [&first, &second] {
        let published = &facts["published-at"];
        let marks = [4, 7, 10, 13, 16, 19, 23].map(|place| &published[place..=place]);
        assert_eq!(marks, ["-", "-", "T", ":", ":", ".", "Z"], "{published}");
    }
    assert!(first["published-at"] <= second["published-at"]);
    for fact in ["header.none", "none"] {
        assert_eq!(first[fact], "absent", "{fact}");
    }
    assert_eq!(first["hidden"], "true", "get-all has the manifest's values");
    for key in ["id", "attempt", "published-at", "header.traceparent"] {
        let target = format!("/config?key=wharf.message.{key}");
        client.get(&target).await.expect(404);
    }
    let setting = client.get("/config?key=SETTING").await.expect(200);
    assert_eq!(setting.text(), "of the manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_at_a_message_is_told_apart_by_its_number() {
    let host = host().await;
    let client = host.client();
    publish(&client, "context a 3").await;
    let last = seen(&client, "a", "3").await;
    let labels = [("subject", "work"), ("component", "worker")];
    host.metric_becomes("wharf_pending", &labels, 0.0).await;
    let entry = host
        .logged("the second attempt's failure", |entry| {
            entry["message"] == "delivery failed" && entry["attempt"] == 2
        })
        .await;
    assert_eq!(entry["entry_id"], last["id"].as_str(), "it is one message");
}
