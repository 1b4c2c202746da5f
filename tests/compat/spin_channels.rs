//! Messages of Redis channels, brought to guests that were built with Spin's SDKs; and the same guests
//! on durable streams.

use std::time::Duration;

use super::spin_interfaces::call;
use crate::harness::{Host, Launch, Manifest, RedisServer, artifacts, eventually};

/// A handler of Spin 3 and one of Spin 4, and a guest that shows what they noted. `application` is
/// more of the application's table.
fn manifest(application: &str, channels: [&str; 2]) -> String {
    let [three, four] = channels;
    format!(
        r#"
[application]
name = "channels"
{application}

[[trigger.http]]
route = "/..."
component = "shows"

[[trigger.redis]]
channel = "{three}"
component = "three"

[[trigger.redis]]
channel = "{four}"
component = "four"

[component.shows]
source = "{{spin_sdk_guest.wasm}}"
key_value_stores = ["default"]

[component.three]
source = "{{spin_sdk_redis.wasm}}"
key_value_stores = ["default"]

[component.four]
source = "{{spin4_sdk_redis.wasm}}"
key_value_stores = ["default"]
"#
    )
}

fn on(redis: &RedisServer) -> String {
    let address = redis.url();
    manifest(
        &format!("trigger.redis.address = \"{address}\""),
        ["three", "four"],
    )
}

/// A host that listens.
async fn listening(launch: Launch) -> Host {
    let host = launch.start().await;
    host.metric_becomes("wharf_channel_listening", &[], 2.0)
        .await;
    host
}

fn publish(redis: &RedisServer, channel: &str, message: &str) {
    redis.ask(&format!("PUBLISH {channel} {message}"), |answer| {
        answer.starts_with(":1")
    });
}

/// What the handlers noted under `key`: how often they began, or that they were done.
async fn noted(host: &Host, key: &str) -> Option<usize> {
    let value = call(&host.client(), "/key-value/get", &["default", key]).await;
    let value = value
        .strip_prefix("Ok(Some(\"")
        .and_then(|value| value.strip_suffix("\"))"));
    value.map(str::len)
}

async fn done(host: &Host, message: &str) {
    eventually(
        &format!("{message} is done"),
        Duration::from_secs(30),
        async || noted(host, &format!("done/{message}")).await,
    )
    .await;
}

async fn counted(host: &Host, channel: &str, outcome: &str, wanted: f64) {
    let labels = [("channel", channel), ("outcome", outcome)];
    host.metric_becomes("wharf_channel_messages_total", &labels, wanted)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_channel_reach_its_handler_once() {
    let redis = RedisServer::start();
    let host = listening(Launch::of(&Manifest::spin(&on(&redis)))).await;
    publish(&redis, "three", "good-3");
    publish(&redis, "four", "good-4");
    done(&host, "good-3").await;
    done(&host, "good-4").await;
    for (channel, messages) in [("three", &["fail-3", "trap-3"][..]), ("four", &["fail-4"])] {
        for message in messages {
            publish(&redis, channel, message);
        }
        counted(&host, channel, "failed", messages.len() as f64).await;
        counted(&host, channel, "handled", 1.0).await;
        for message in messages {
            assert_eq!(
                noted(&host, &format!("begun/{message}")).await,
                Some(1),
                "{message}"
            );
        }
    }
    host.logged("a lost message", |entry| {
        entry["channel"] == "four" && entry["error"].to_string().contains("as it was told")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_listened_to_again_when_its_server_is_back() {
    let mut redis = RedisServer::start();
    let host = listening(Launch::of(&Manifest::spin(&on(&redis)))).await;
    redis.kill();
    host.metric_becomes("wharf_channel_listening", &[], 0.0)
        .await;
    redis.start_again();
    host.metric_becomes("wharf_channel_listening", &[], 2.0)
        .await;
    publish(&redis, "three", "after");
    done(&host, "after").await;
    host.logged("that it listens again", |entry| {
        entry["message"] == "channel is listened to again"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_before_its_server_does() {
    let mut redis = RedisServer::start();
    let launch = Launch::of(&Manifest::spin(&on(&redis)));
    redis.kill();
    let host = launch.start().await;
    assert_eq!(noted(&host, "done/x").await, None, "it serves");
    redis.start_again();
    host.metric_becomes("wharf_channel_listening", &[], 2.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_handled_at_once_and_none_is_cut_off_by_a_shutdown() {
    let redis = RedisServer::start();
    let launch = Launch::of(&Manifest::spin(&on(&redis)));
    let host = listening(launch.clone()).await;
    let messages: Vec<_> = (0..8).map(|index| format!("slow-{index}")).collect();
    for message in &messages {
        publish(&redis, "three", message);
    }
    eventually(
        "several work at once",
        Duration::from_secs(20),
        async || {
            let alive = host
                .metrics()
                .await
                .sum("wharf_instances", &[("component", "three")]);
            (alive > 1.0).then_some(())
        },
    )
    .await;
    counted(&host, "three", "received", 8.0).await;
    host.stop().await;
    let host = launch.start().await;
    for message in &messages {
        assert_eq!(
            noted(&host, &format!("begun/{message}")).await,
            Some(1),
            "{message}"
        );
        assert!(
            noted(&host, &format!("done/{message}")).await.is_some(),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_applied_moves_the_channels() {
    let redis = RedisServer::start();
    let application = Manifest::spin(&on(&redis));
    let host = listening(Launch::of(&application)).await;
    let moved = std::fs::read_to_string(application.path()).unwrap();
    let moved = moved.replace("channel = \"three\"", "channel = \"moved\"");
    std::fs::write(application.path(), moved).unwrap();
    let applied = artifacts::command()
        .arg("apply")
        .arg(application.path())
        .arg("--state-dir")
        .arg(host.state().path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{said}");
    redis.ask("PUBSUB NUMSUB three moved", |answer| {
        let lines: Vec<_> = answer.lines().collect();
        lines.windows(2).any(|pair| pair == ["moved", ":1"])
            && lines.windows(2).any(|pair| pair == ["three", ":0"])
    });
    publish(&redis, "moved", "there");
    done(&host, "there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_loses_and_doubles_no_message_that_was_received() {
    let redis = RedisServer::start();
    let host = listening(Launch::of(&Manifest::spin(&on(&redis)))).await;
    let mut swap = artifacts::command()
        .args(["swap", "three", "--config", "GENERATION=2", "--state-dir"])
        .arg(host.state().path())
        .spawn()
        .unwrap();
    let mut messages = Vec::new();
    let swapped = loop {
        let message = format!("m{}", messages.len());
        publish(&redis, "three", &message);
        messages.push(message);
        if let Some(status) = swap.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(swapped.success(), "{swapped}");
    publish(&redis, "three", "last");
    messages.push("last".to_owned());
    counted(&host, "three", "handled", messages.len() as f64).await;
    for message in &messages {
        done(&host, message).await;
        let begun = noted(&host, &format!("begun/{message}")).await;
        assert_eq!(begun, Some(1), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_durable_stream_the_same_handlers_get_a_message_again_until_they_are_done() {
    let durable = manifest(
        "tool.wharf.durable_redis_triggers = true",
        ["three", "four"],
    );
    let launch = Launch::of(&Manifest::spin(&durable));
    let host = launch.clone().start().await;
    for (subject, message) in [("three", "flaky-3"), ("four", "flaky-4")] {
        let published = artifacts::command()
            .args([
                "streams",
                "publish",
                subject,
                "--body",
                message,
                "--state-dir",
            ])
            .arg(host.state().path())
            .output()
            .unwrap();
        assert!(
            published.status.success(),
            "{}",
            String::from_utf8_lossy(&published.stderr)
        );
    }
    for message in ["flaky-3", "flaky-4"] {
        done(&host, message).await;
        assert_eq!(
            noted(&host, &format!("begun/{message}")).await,
            Some(2),
            "{message}"
        );
    }
    host.metric_becomes("wharf_retries_total", &[], 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_a_handler_is_no_channels() {
    let redis = RedisServer::start();
    let without = on(&redis).replace("{spin_sdk_redis.wasm}", "{spin_sdk_guest.wasm}");
    let refused = Launch::of(&Manifest::spin(&without)).try_start().await;
    let refused = refused.err().expect("it exports none");
    assert!(
        refused.contains("fermyon:spin/inbound-redis") && refused.contains("its channel three"),
        "{refused}"
    );
}
