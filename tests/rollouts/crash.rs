//! A power failure at every step of a rollout: the last revision whose switch was announced serves
//! after the restart, and the history says what was interrupted.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{at_work, manifest, serves};
use crate::harness::{Host, Launch, Manifest, Operator, Swap, guest, variant};

/// Each step takes long enough to be hit.
fn slow() -> Manifest {
    manifest("health = \"GET /healthz\"", "")
}

const STEP_MS: &str = "400";

async fn restart(host: Host, manifest: &Manifest) -> (Host, Operator) {
    let state = host.state().clone();
    host.kill().await;
    let host = Launch::of(manifest).state(&state).start().await;
    let operator = Operator::of(&host);
    (host, operator)
}

/// Asserts that every answer comes from one revision, the one that is active.
async fn assert_serves(host: &Host, operator: &Operator, revision: &str) {
    for _ in 0..10 {
        assert_eq!(serves(&host.client()).await, revision);
    }
    let living = operator.living("candidate").await;
    assert_eq!(living.len(), 1, "{living:?}");
    let current: Vec<Value> = operator
        .revisions("candidate")
        .await
        .into_iter()
        .filter(|each| each["current"] == true)
        .collect();
    assert_eq!(current.len(), 1, "{current:?}");
    assert_eq!(current[0]["revision"], living[0]["revision"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_switch_the_old_revision_serves() {
    let manifest = slow();
    let mut host = Launch::of(&manifest).start().await;
    let bytes = std::fs::read(guest("candidate")).unwrap();
    for step in ["verify", "compile", "prewarm", "migrate", "canary"] {
        let operator = Operator::of(&host);
        // New bytes, so that there is something to compile.
        let digest = operator.upload(variant(&bytes, step)).await;
        let swap = Swap::to_revision("two")
            .artifact(&digest)
            .config("HEALTH_MS", STEP_MS)
            .config("MIGRATION_MS", STEP_MS)
            .canary(&[50.0], Duration::from_secs(600), 1);
        let id = operator.begin("candidate", swap).await;
        operator.events(id).await.until_begun(step).await;
        let (restarted, operator) = restart(host, &manifest).await;
        host = restarted;
        let rollout = operator.rollout(id).await;
        assert_eq!(rollout["state"], "interrupted", "{step}: {rollout:#}");
        assert!(rollout["ended_at_ms"].as_u64().is_some(), "{rollout:#}");
        assert_serves(&host, &operator, "one").await;
    }
    // Nothing of all that is in the way of a good one.
    let operator = Operator::of(&host);
    operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    assert_eq!(serves(&host.client()).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_was_announced_the_new_revision_serves() {
    let manifest = slow();
    let mut host = Launch::of(&manifest).start().await;
    for (n, step) in ["announced", "drain", "retire"].into_iter().enumerate() {
        let operator = Operator::of(&host);
        // Something to drain, for as long as the drain is to be hit.
        let client = host.client();
        let ms = if step == "retire" { 500 } else { 20_000 };
        let busy = tokio::spawn(async move {
            let request = client.request("GET", &format!("/work?ms={ms}"));
            let request = request.body(crate::harness::client::empty()).unwrap();
            client.try_send(request).await
        });
        at_work(&operator, "candidate").await;
        let name = format!("after {n}");
        let id = operator.begin("candidate", Swap::to_revision(&name)).await;
        let mut events = operator.events(id).await;
        match step {
            "announced" => {
                let decision = events.decision().await;
                assert_eq!(decision["state"], "switched");
            }
            step => events.until_begun(step).await,
        }
        let (restarted, operator) = restart(host, &manifest).await;
        host = restarted;
        busy.abort();
        assert_serves(&host, &operator, &name).await;
        let rollout = operator.rollout(id).await;
        assert_eq!(rollout["state"], "completed", "{step}: {rollout:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_what_serves_is_what_the_history_says() {
    const ROUNDS: u64 = 24;
    let manifest = manifest("", "");
    let mut host = Launch::of(&manifest).start().await;
    let mut serving = "one".to_owned();
    let (mut interrupted, mut switched) = (0, 0);
    for round in 0..ROUNDS {
        let operator = Operator::of(&host);
        let name = format!("round {round}");
        let id = operator.begin("candidate", Swap::to_revision(&name)).await;
        let mut events = operator.events(id).await;
        // From 0 to 46 ms: before, within and after all that a swap of cached code takes.
        let announced = timeout(Duration::from_millis(round * 2), events.decision()).await;
        let (restarted, operator) = restart(host, &manifest).await;
        host = restarted;
        let rollout = operator.rollout(id).await;
        match rollout["state"].as_str() {
            Some("completed") => {
                serving = name;
                switched += 1;
            }
            Some("interrupted") => {
                assert!(announced.is_err(), "it was announced: {rollout:#}");
                interrupted += 1;
            }
            _ => panic!("{rollout:#}"),
        }
        assert_serves(&host, &operator, &serving).await;
    }
    eprintln!("{interrupted} interrupted, {switched} switched");
}
