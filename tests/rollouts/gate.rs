//! The gate: what must not serve is refused before anything changes, by the guard that is there for
//! it, with a reason.

use std::time::Duration;

use serde_json::Value;

use super::load::{Load, assert_all};
use super::{host, serves};
use crate::harness::operator::assert_ended;
use crate::harness::variant::CORE_MODULE;
use crate::harness::{Host, Launch, Operator, Swap, guest, variant};

/// The steps that ended well.
fn done(rollout: &Value) -> Vec<&str> {
    let steps = rollout["steps"].as_array().expect("a list");
    steps
        .iter()
        .map(|step| step["step"].as_str().expect("a name"))
        .collect()
}

/// The order of the guards.
const GUARDS: [&str; 4] = ["verify", "compile", "prewarm", "migrate"];

/// Asserts that it was refused by `guard`, with all of `words` in the reason.
#[track_caller]
fn assert_refused(rollout: &Value, guard: &str, words: &[&str]) {
    assert_ended(rollout, "refused", words);
    let done = done(rollout);
    let place = GUARDS.iter().position(|each| *each == guard);
    let (before, after) = GUARDS.split_at(place.expect("it is a guard"));
    assert!(!after.iter().any(|step| done.contains(step)), "{done:?}");
    // A hook is only run where there is one; all the guards before it have passed.
    assert!(before.iter().all(|step| done.contains(step)), "{done:?}");
}

/// Tries a swap under load: it is refused, and the first revision answers everything.
async fn refuses(host: &Host, swap: Swap, guard: &str, words: &[&str]) {
    let operator = Operator::of(host);
    let before = operator.active("candidate").await;
    let load = Load::gets(&host.client(), 2, Duration::from_millis(5), |_| {
        "/work".to_owned()
    });
    let rollout = operator.swap("candidate", swap).await;
    let answers = load.stop().await;
    assert_refused(&rollout, guard, words);
    assert_all("beside the refused candidate", &answers, 200);
    assert!(answers.iter().all(|answer| answer.text() == "one"));
    assert_eq!(operator.active("candidate").await, before);
    operator.alone("candidate").await;
    assert_eq!(serves(&host.client()).await, "one");
}

async fn refuses_artifact(bytes: &[u8], guard: &str, words: &[&str]) {
    let (host, operator) = host("", "").await;
    let digest = operator.upload(bytes.to_vec()).await;
    refuses(&host, Swap::new().artifact(&digest), guard, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_webassembly() {
    refuses_artifact(b"not wasm, only words", "verify", &["WebAssembly"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module() {
    refuses_artifact(CORE_MODULE, "verify", &["core module"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_the_export_that_its_route_needs() {
    let callee = std::fs::read(guest("callee")).unwrap();
    refuses_artifact(&callee, "prewarm", &["wasi:http"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_the_export_that_its_subscription_needs() {
    let hello = std::fs::read(guest("hello")).unwrap();
    refuses_artifact(&hello, "prewarm", &["wasmcloud:messaging"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_not_granted() {
    // It wants blobs, among other things.
    let worker = std::fs::read(guest("worker")).unwrap();
    refuses_artifact(&worker, "verify", &["wasi:blobstore", "grants"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_code() {
    // The outline is whole, and a function's body is not.
    let mut bytes = std::fs::read(guest("candidate")).unwrap();
    let code = bytes
        .windows(4)
        .rposition(|four| four == [0x41, 0x00, 0x0b, 0x0b])
        .or_else(|| bytes.windows(2).rposition(|two| two == [0x0b, 0x0b]));
    bytes[code.expect("a function ends")] = 0xff;
    let (host, operator) = host("", "").await;
    let digest = operator.upload(bytes).await;
    let rollout = operator
        .swap("candidate", Swap::new().artifact(&digest))
        .await;
    assert_ended(&rollout, "refused", &[]);
    assert!(!done(&rollout).contains(&"compile"), "{rollout:#}");
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps_when_it_is_instantiated() {
    let (host, _) = host("", "").await;
    let swap = Swap::to_revision("two").config("AT_START", "trap");
    refuses(&host, swap, "prewarm", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_needs_more_memory_than_its_limit_to_start() {
    let limit = "[component.candidate.limits]\nmemory = \"8MiB\"";
    let (host, _) = host("", limit).await;
    let swap = Swap::to_revision("two").config("AT_START", "allocate");
    refuses(&host, swap, "prewarm", &["memory"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_health_fails() {
    let (host, operator) = host("health = \"GET /healthz\"", "").await;
    let swap = Swap::to_revision("two").config("HEALTH", "500");
    refuses(&host, swap, "prewarm", &["500", "/healthz"]).await;
    // A redirect is not health either.
    let swap = Swap::to_revision("two").config("HEALTH", "302");
    refuses(&host, swap, "prewarm", &["302"]).await;
    let swap = Swap::to_revision("two").config("HEALTH", "201");
    operator.swapped("candidate", swap).await;
    assert_eq!(serves(&host.client()).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_health_takes_longer_than_its_deadline() {
    let limit = "[component.candidate.limits]\ndeadline = \"500ms\"";
    let (host, _) = host("health = \"GET /healthz\"", limit).await;
    let swap = Swap::to_revision("two").config("HEALTH_MS", "30000");
    refuses(&host, swap, "prewarm", &["/healthz"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_migration_hook_refuses_or_traps() {
    let (host, _) = host("", "").await;
    let swap = Swap::to_revision("two").config("MIGRATION", "refuse");
    refuses(&host, swap, "migrate", &["cannot be carried over"]).await;
    let swap = Swap::to_revision("two").config("MIGRATION", "trap");
    refuses(&host, swap, "migrate", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_with_another_digest_than_was_said() {
    let (host, operator) = host("", "").await;
    let bytes = std::fs::read(guest("candidate")).unwrap();
    let expected = "0".repeat(64);
    let reply = operator
        .try_upload(variant(&bytes, "other"), &format!("?sha256={expected}"))
        .await
        .expect(422);
    assert!(reply.text().contains(&expected), "{}", reply.text());
    // What was refused is not kept.
    let reply = operator
        .try_swap("candidate", Swap::new().artifact(&expected))
        .await
        .expect(422);
    assert!(reply.text().contains("upload"), "{}", reply.text());
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_the_application_does_not_have() {
    let (_host, operator) = host("", "").await;
    let reply = operator.try_swap("nobody", Swap::to_revision("two")).await;
    assert!(reply.expect(404).text().contains("nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_is_shown_as_wit() {
    let host = Launch::of(&super::typed()).start().await;
    let operator = Operator::of(&host);
    let digest = operator
        .upload(std::fs::read(guest("reshaped")).unwrap())
        .await;
    let swap = Swap::new().artifact(&digest);
    let plan = operator
        .try_swap("callee", swap.clone().dry_run())
        .await
        .expect(200)
        .json();
    let problems = plan["problems"].as_array().expect("a list");
    assert!(!problems.is_empty(), "{plan:#}");
    let added = |text: &str| {
        text.lines()
            .any(|line| line.starts_with('+') && line.contains("z: f64"))
    };
    assert!(added(plan["wit_diff"].as_str().unwrap()), "{plan:#}");
    let history = operator.history("callee").await;
    assert!(history.iter().all(|each| each["cause"] == "start"));

    let rollout = operator.swap("callee", swap).await;
    assert_refused(
        &rollout,
        "prewarm",
        &["wharf:fixtures/shapes", "point", "caller"],
    );
    assert!(
        added(rollout["reason"].as_str().unwrap()),
        "the difference: {rollout:#}"
    );
    let text = host.client().get("/revision").await.expect(200).text();
    assert_eq!(text, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_export_that_a_caller_uses() {
    let host = Launch::of(&super::typed()).start().await;
    let operator = Operator::of(&host);
    let hello = std::fs::read(guest("hello")).unwrap();
    let digest = operator.upload(hello).await;
    let rollout = operator.swap("callee", Swap::new().artifact(&digest)).await;
    assert_refused(
        &rollout,
        "prewarm",
        &["wharf:fixtures/arithmetic", "caller"],
    );
    let text = host.client().get("/add?a=40&b=2").await.expect(200).text();
    assert_eq!(text, "42");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_good_candidate_says_what_would_change_and_changes_nothing() {
    let (host, operator) = host("", "").await;
    let bytes = variant(&std::fs::read(guest("candidate")).unwrap(), "dry");
    let digest = operator.upload(bytes.clone()).await;
    let swap = Swap::to_revision("two")
        .artifact(&digest)
        .canary(&[1.0, 10.0], Duration::from_secs(1), 1)
        .dry_run();
    let reply = operator.try_swap("candidate", swap).await;
    let plan = reply.expect(200).json();
    assert_eq!(plan["digest"], digest.as_str());
    assert_eq!(plan["bytes"], bytes.len());
    assert_eq!(plan["wit_diff"], "");
    assert_eq!(plan["config_changes"], serde_json::json!(["REVISION"]));
    assert_eq!(plan["problems"], serde_json::json!([]));
    assert_eq!(plan["steps"], serde_json::json!([1.0, 10.0, 100.0]));
    assert_eq!(plan["from"], operator.active("candidate").await);
    assert_eq!(serves(&host.client()).await, "one");
    let history = operator.history("candidate").await;
    assert!(history.iter().all(|each| each["cause"] == "start"));
}
