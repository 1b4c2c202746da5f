//! A host claims no more messages than it has instances for, and a slow subscription does not keep
//! another from being served.

use std::time::Duration;

use crate::harness::{Client, Host, Launch, Manifest, eventually};

const WITHIN: Duration = Duration::from_secs(60);

/// Longer than any test: what sleeps so long holds its place until the host is gone.
const FOR_EVER_MS: u64 = 600_000;

/// Publishes for everybody; `more` has the components that handle `slow` and `quick`.
async fn host(more: &str) -> Host {
    let manifest = Manifest::new(&format!(
        r#"
[component.sender]
artifact = "{{worker.wasm}}"
[component.sender.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["slow", "quick"]
[[route]]
path = "/..."
component = "sender"
{more}
"#
    ));
    Launch::of(&manifest).start().await
}

/// A component `name` that handles messages, with at most so many instances.
fn handler(name: &str, instances: usize) -> String {
    format!(
        r#"
[component.{name}]
artifact = "{{worker.wasm}}"
limits.instances = {instances}
[component.{name}.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["unheard"]
"#
    )
}

fn subscription(subject: &str, component: &str, concurrency: usize) -> String {
    format!(
        "[[subscription]]\nsubject = \"{subject}\"\ncomponent = \"{component}\"\n\
         concurrency = {concurrency}\n"
    )
}

async fn publish(client: &Client, subject: &str, command: &str) {
    let target = format!("/publish?subject={subject}");
    client.post(&target, command.to_owned()).await.expect(202);
}

/// Messages of `subject` that were taken and are not settled.
async fn held(host: &Host, subject: &str) -> f64 {
    let metrics = host.metrics().await;
    metrics.sum("wharf_pending", &[("subject", subject)])
}

/// Fills `slow` until it holds `most`, then has all of `quick` handled.
async fn quick_ones_pass(host: &Host, most: f64) {
    let client = host.client();
    for index in 0..10 {
        publish(&client, "slow", &format!("slow s{index} {FOR_EVER_MS}")).await;
    }
    eventually("the slow one holds all it can", WITHIN, async || {
        (held(host, "slow").await == most).then_some(())
    })
    .await;
    for index in 0..100 {
        publish(&client, "quick", &format!("record q{index}")).await;
    }
    let settled = [("subject", "quick")];
    eventually("the quick ones are done", WITHIN, async || {
        assert!(held(host, "slow").await <= most, "it holds more");
        let metrics = host.metrics().await;
        let left = metrics.sum("wharf_lag", &settled) + metrics.sum("wharf_pending", &settled);
        (metrics.sum("wharf_deliveries_total", &settled) == 100.0 && left == 0.0).then_some(())
    })
    .await;
    assert_eq!(
        held(host, "slow").await,
        most,
        "none of the slow ones ended"
    );
    let deliveries = host.metrics().await;
    let begun = deliveries.sum("wharf_deliveries_total", &[("subject", "slow")]);
    assert_eq!(begun, most, "no delivery was begun in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_subscriptions_share_the_instances_of_their_component() {
    let more = [
        handler("worker", 4),
        subscription("slow", "worker", 4),
        subscription("quick", "worker", 4),
    ];
    quick_ones_pass(&host(&more.concat()).await, 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_component_does_not_hold_up_another() {
    let more = [
        handler("slow", 3),
        handler("quick", 1),
        subscription("slow", "slow", 8),
        subscription("quick", "quick", 8),
    ];
    quick_ones_pass(&host(&more.concat()).await, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_one_instance_take_turns() {
    let more = [
        handler("worker", 1),
        subscription("slow", "worker", 4),
        subscription("quick", "worker", 4),
    ];
    let host = host(&more.concat()).await;
    let client = host.client();
    for index in 0..3 {
        publish(&client, "slow", &format!("slow s{index} 300")).await;
        publish(&client, "quick", &format!("record q{index}")).await;
    }
    let mut most = 0.0_f64;
    eventually("all are done", WITHIN, async || {
        let metrics = host.metrics().await;
        let worker = [("component", "worker")];
        most = most.max(metrics.sum("wharf_instances", &worker));
        let left = metrics.sum("wharf_lag", &worker) + metrics.sum("wharf_pending", &worker);
        (metrics.sum("wharf_deliveries_total", &worker) == 6.0 && left == 0.0).then_some(())
    })
    .await;
    assert!(most <= 1.0, "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_limit_is_dealt_out_too() {
    let manifest = Manifest::new(
        &[
            handler("slow", 8),
            handler("quick", 8),
            subscription("unheard", "slow", 8),
            subscription("quick", "quick", 8),
            "[[route]]\npath = \"/...\"\ncomponent = \"slow\"\n".to_owned(),
        ]
        .concat(),
    );
    let launch = Launch::of(&manifest).host_config("[engine]\ninstances = 6\n");
    let host = launch.start().await;
    let client = host.client();
    for index in 0..10 {
        publish(&client, "unheard", &format!("slow s{index} {FOR_EVER_MS}")).await;
    }
    eventually("it holds its half", WITHIN, async || {
        (held(&host, "unheard").await == 3.0).then_some(())
    })
    .await;
    client.get("/kv/keys?store=default").await.expect(200);
    assert_eq!(held(&host, "unheard").await, 3.0);
}
