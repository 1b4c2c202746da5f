//! Messages: at least once, retried with backoff, given up after so many deliveries, bounded, and
//! there again after a power failure.

use std::time::Duration;

use crate::harness::client::channel;
use crate::harness::poll::never_within;
use crate::harness::{Client, Host, Launch, Manifest, eventually};

const WITHIN: Duration = Duration::from_secs(20);

fn manifest(subscription: &str, more: &str) -> Manifest {
    Manifest::new(&format!(
        r#"
[component.worker]
artifact = "{{worker.wasm}}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work", "relayed", "unheard"]

[[route]]
path = "/..."
component = "worker"

[[subscription]]
subject = "work"
component = "worker"
{subscription}
{more}
"#
    ))
}

const QUICK: &str = "deliveries = 3\nbackoff = { first = \"50ms\", max = \"200ms\" }";

const LABELS: [(&str, &str); 2] = [("subject", "work"), ("component", "worker")];

async fn host(subscription: &str, more: &str) -> Host {
    Launch::of(&manifest(subscription, more)).start().await
}

async fn publish(client: &Client, command: &str) {
    let reply = client
        .post("/publish?subject=work", command.to_owned())
        .await;
    assert_eq!(reply.status, 202, "{command}: {}", reply.text());
}

/// The counter at `key`, 0 where there is none.
async fn count(client: &Client, key: &str) -> u64 {
    let reply = client
        .get(&format!("/kv/get?store=default&key={key}"))
        .await;
    reply.text().parse().unwrap_or(0)
}

async fn count_becomes(client: &Client, key: &str, wanted: u64) {
    eventually(&format!("{key} is {wanted}"), WITHIN, async || {
        (count(client, key).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_handled_once_and_settled() {
    let host = host(QUICK, "").await;
    let client = host.client();
    for index in 0..50 {
        publish(&client, &format!("record k{index}")).await;
    }
    for index in 0..50 {
        count_becomes(&client, &format!("done/k{index}"), 1).await;
    }
    host.metric_becomes("wharf_deliveries_total", &LABELS, 50.0)
        .await;
    host.metric_becomes("wharf_lag", &LABELS, 0.0).await;
    host.metric_becomes("wharf_pending", &LABELS, 0.0).await;
    assert_eq!(
        host.metrics().await.sum("wharf_retries_total", &LABELS),
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_is_retried_until_it_succeeds() {
    let host = host(QUICK, "").await;
    let client = host.client();
    publish(&client, "flaky k 3").await;
    count_becomes(&client, "done/k", 1).await;
    assert_eq!(count(&client, "attempts/k").await, 3);
    host.metric_becomes("wharf_retries_total", &LABELS, 2.0)
        .await;
    assert_eq!(
        host.metrics()
            .await
            .sum("wharf_dead_letters_total", &LABELS),
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_always_fails_becomes_a_dead_letter_after_its_deliveries() {
    for command in ["error", "trap"] {
        let host = host(QUICK, "").await;
        let client = host.client();
        publish(&client, &format!("{command} k")).await;
        host.metric_becomes("wharf_dead_letters_total", &LABELS, 1.0)
            .await;
        assert_eq!(count(&client, "attempts/k").await, 3, "{command}");
        never_within(
            "it is delivered again",
            Duration::from_secs(1),
            async || count(&client, "attempts/k").await != 3,
        )
        .await;
        let traps = if command == "trap" { 3.0 } else { 0.0 };
        host.metric_becomes("wharf_traps_total", &[("component", "worker")], traps)
            .await;
        host.metric_becomes("wharf_pending", &LABELS, 0.0).await;
        host.logged("the dead letter with its place", |entry| {
            entry["component"] == "worker" && entry["subject"] == "work"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_ends_meets_its_deadline() {
    let quick = format!("{QUICK}\ndeadline = \"300ms\"");
    let host = host(&quick, "").await;
    let client = host.client();
    publish(&client, "spin s").await;
    publish(&client, "slow w 60000").await;
    host.metric_becomes("wharf_dead_letters_total", &LABELS, 2.0)
        .await;
    assert_eq!(count(&client, "attempts/s").await, 3);
    assert_eq!(count(&client, "attempts/w").await, 3);
    client.get("/kv/keys?store=default").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_does_not_block_what_is_behind_it() {
    let slow_retry =
        "deliveries = 2\nconcurrency = 1\nbackoff = { first = \"60s\", max = \"60s\" }";
    let host = host(slow_retry, "").await;
    let client = host.client();
    publish(&client, "error first").await;
    count_becomes(&client, "attempts/first", 1).await;
    for index in 0..10 {
        publish(&client, &format!("record k{index}")).await;
    }
    for index in 0..10 {
        count_becomes(&client, &format!("done/k{index}"), 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_deliveries_are_in_progress_than_the_concurrency() {
    let host = host(&format!("{QUICK}\nconcurrency = 2"), "").await;
    let client = host.client();
    for index in 0..6 {
        publish(&client, &format!("slow k{index} 700")).await;
    }
    let mut most = 0.0_f64;
    eventually("all are done", WITHIN, async || {
        let metrics = host.metrics().await;
        most = most.max(metrics.sum("wharf_instances", &[("component", "worker")]));
        (metrics.sum("wharf_deliveries_total", &LABELS) == 6.0).then_some(())
    })
    .await;
    for index in 0..6 {
        count_becomes(&client, &format!("done/k{index}"), 1).await;
    }
    assert!(most <= 2.0, "{most} at once");
    assert!(most >= 2.0, "they never ran beside each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_extended_while_the_instance_works() {
    let host = host("lease = \"1s\"\ndeliveries = 5", "").await;
    let client = host.client();
    publish(&client, "slow k 4000").await;
    count_becomes(&client, "done/k", 1).await;
    assert_eq!(count(&client, "attempts/k").await, 1, "nobody took it over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_with_a_reason_and_takes_again_once_there_is_room() {
    let host = host(
        "deliveries = 1\nconcurrency = 1",
        "[stream.work]\nlength_max = 3",
    )
    .await;
    let client = host.client();
    for index in 0..3 {
        publish(&client, &format!("slow k{index} 1500")).await;
    }
    let refused = client
        .post("/publish?subject=work", "record over")
        .await
        .expect(503);
    assert!(refused.text().contains("full"), "{}", refused.text());
    eventually("there is room again", WITHIN, async || {
        let reply = client.post("/publish?subject=work", "record later").await;
        (reply.status == 202).then_some(())
    })
    .await;
    for index in 0..3 {
        count_becomes(&client, &format!("done/k{index}"), 1).await;
    }
    eventually("the later one is handled", WITHIN, async || {
        (count(&client, "done/later").await >= 1).then_some(())
    })
    .await;
    assert_eq!(
        count(&client, "done/over").await,
        0,
        "what was refused was not kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_where_it_is_not_granted_is_refused() {
    let host = host(QUICK, "").await;
    let client = host.client();
    let reply = client
        .post("/publish?subject=forbidden", "x")
        .await
        .expect(503);
    assert!(
        reply.text().contains("forbidden"),
        "it names the subject: {}",
        reply.text()
    );
    client
        .post("/publish?subject=unheard", "x")
        .await
        .expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_message() {
    let host = host(
        QUICK,
        r#"
[component.other]
artifact = "{worker.wasm}"
[component.other.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]
[[subscription]]
subject = "work"
component = "other"
[[route]]
path = "/..."
host = "other"
component = "other"
"#,
    )
    .await;
    let client = host.client();
    for _ in 0..10 {
        publish(&client, "record k").await;
    }
    count_becomes(&client, "done/k", 10).await;
    host.metric_becomes("wharf_deliveries_total", &[("component", "other")], 10.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_publishes_in_turn() {
    let host = host(
        QUICK,
        "[[subscription]]\nsubject = \"relayed\"\ncomponent = \"worker\"",
    )
    .await;
    let client = host.client();
    publish(&client, "relay k").await;
    count_becomes(&client, "attempts/k", 2).await;
    count_becomes(&client, "done/k", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_survives_a_power_failure() {
    let manifest = manifest("lease = \"1s\"\nconcurrency = 2\ndeliveries = 5", "");
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    for index in 0..12 {
        publish(&client, &format!("slow k{index} 300")).await;
    }
    count_becomes(&client, "attempts/k0", 1).await;
    let state = host.state().clone();
    host.kill().await;
    let host = Launch::of(&manifest).state(&state).start().await;
    let client = host.client();
    for index in 0..12 {
        let key = format!("done/k{index}");
        eventually(&key, WITHIN, async || {
            (count(&client, &key).await >= 1).then_some(())
        })
        .await;
    }
    host.metric_becomes("wharf_pending", &LABELS, 0.0).await;
    host.metric_becomes("wharf_lag", &LABELS, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_a_delivery_and_leaves_the_rest_for_the_next_start() {
    let manifest = manifest("concurrency = 1\nlease = \"1s\"", "");
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    publish(&client, "slow first 1000").await;
    publish(&client, "record second").await;
    count_becomes(&client, "attempts/first", 1).await;
    let state = host.state().clone();
    host.stop().await;
    let host = Launch::of(&manifest).state(&state).start().await;
    let client = host.client();
    count_becomes(&client, "done/second", 1).await;
    assert_eq!(count(&client, "done/first").await, 1);
    assert_eq!(
        count(&client, "attempts/first").await,
        1,
        "it was finished before the exit"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_meets_a_full_component_is_put_off_without_counting() {
    // One delivery is all that a message gets, so one that counted would be a dead letter.
    let host = host(
        "concurrency = 3\ndeliveries = 1\nbackoff = { first = \"50ms\", max = \"200ms\" }",
        r#"
[component.worker.limits]
instances = 1
queue = 1

[component.sender]
artifact = "{worker.wasm}"
[component.sender.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]
[[route]]
path = "/publish"
component = "sender"
"#,
    )
    .await;
    let client = host.client();
    // One upload is worked on, one waits, and the third is refused: the component is full.
    let mut senders = Vec::new();
    let uploads: Vec<_> = (0..3)
        .map(|_| {
            let (sender, body) = channel();
            senders.push(sender);
            let (client, target) = (client.clone(), "/kv/set?store=default&key=upload");
            let request = client.request("POST", target).body(body).unwrap();
            tokio::spawn(async move { client.send(request).await })
        })
        .collect();
    let (refused, _, accepted) = futures::future::select_all(uploads).await;
    refused.unwrap().expect(503);
    for key in ["a", "b", "c"] {
        publish(&client, &format!("record {key}")).await;
    }
    host.logged("the delivery that was put off", |entry| {
        entry["message"] == "delivery failed"
            && entry["revision"].is_string()
            && entry["component"] == "worker"
            && entry["error"]
                .as_str()
                .is_some_and(|error| error.contains("busy"))
    })
    .await;
    drop(senders);
    for answer in accepted {
        answer.await.unwrap().expect(200);
    }
    for key in ["a", "b", "c"] {
        count_becomes(&client, &format!("done/{key}"), 1).await;
    }
    // Only now has the component room for whoever asks.
    for key in ["a", "b", "c"] {
        assert_eq!(count(&client, &format!("attempts/{key}")).await, 1);
    }
    let metrics = host.metrics().await;
    assert_eq!(metrics.sum("wharf_dead_letters_total", &LABELS), 0.0);
    assert_eq!(metrics.sum("wharf_retries_total", &LABELS), 0.0);
}
