//! Order: rollouts of one component queue, those of different components run side by side, a later
//! one ends a canary, and an operator ends what has not switched.

use std::time::Duration;

use super::{host, serves, text};
use crate::harness::operator::{assert_ended, assert_success};
use crate::harness::{Launch, Manifest, Operator, Swap};

const HEALTH: &str = "health = \"GET /healthz\"";

/// A candidate that takes so long to be prewarmed.
fn slow(revision: &str, ms: u64) -> Swap {
    Swap::to_revision(revision).config("HEALTH_MS", &ms.to_string())
}

async fn cancel(operator: &Operator, id: u64) -> crate::harness::Reply {
    operator.delete(&format!("/v1/rollouts/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_component_the_second_waits_for_the_first() {
    let (host, operator) = host(HEALTH, "").await;
    let first = operator.begin("candidate", slow("two", 1500)).await;
    let second = operator.begin("candidate", slow("three", 0)).await;
    let mut events = operator.events(second).await;
    events.until_begun("queue").await;
    assert_eq!(operator.rollout(first).await["state"], "running");
    events.until_begun("verify").await;
    let first = operator.rollout(first).await;
    assert_success(&first);
    let second = operator.decided(second).await;
    assert_success(&second);
    assert_eq!(second["from"], first["to"]);
    assert_eq!(serves(&host.client()).await, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_different_components_they_run_side_by_side() {
    let other = text(HEALTH, "")
        .replace("component.candidate", "component.other")
        .replace("component = \"candidate\"", "component = \"other\"")
        .replace("path = \"/...\"", "path = \"/...\"\nhost = \"other\"");
    let both = format!("{}\n{other}", text(HEALTH, ""));
    let host = Launch::of(&Manifest::new(&both)).start().await;
    let operator = Operator::of(&host);
    let first = operator.begin("candidate", slow("two", 3000)).await;
    let second = operator.begin("other", slow("two", 3000)).await;
    for id in [first, second] {
        operator.events(id).await.until_begun("prewarm").await;
    }
    // Both are in the same step, which takes 3 s for each.
    for id in [first, second] {
        let rollout = operator.rollout(id).await;
        assert_eq!(rollout["state"], "running", "{rollout:#}");
        let steps = rollout["steps"].as_array().expect("a list");
        assert!(steps.iter().all(|step| step["step"] != "prewarm"));
    }
    for id in [first, second] {
        assert_success(&operator.decided(id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_wait_as_may_and_the_next_is_refused() {
    let (host, operator) = host(HEALTH, "").await;
    let first = operator.begin("candidate", slow("first", 25_000)).await;
    operator.events(first).await.until_begun("prewarm").await;
    let mut waiting = Vec::new();
    for n in 0..16 {
        waiting.push(operator.begin("candidate", slow(&format!("w{n}"), 0)).await);
    }
    let refused = operator.try_swap("candidate", slow("last", 0)).await;
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.expect(503).text().contains("16"));
    let last = waiting.pop().expect("sixteen wait");
    let cancelled: Vec<u64> = waiting.into_iter().chain([first]).collect();
    for id in &cancelled {
        cancel(&operator, *id).await.expect(202);
    }
    for id in cancelled {
        assert_ended(&operator.decided(id).await, "cancelled", &[]);
    }
    // The one that was left has its turn.
    assert_success(&operator.decided(last).await);
    assert_eq!(serves(&host.client()).await, "w15");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_swap_supersedes_a_canary() {
    let (host, operator) = host("", "").await;
    let original = operator.active("candidate").await;
    let bake = Duration::from_secs(600);
    let canary = Swap::to_revision("two").canary(&[50.0], bake, 1);
    let first = operator.begin("candidate", canary).await;
    operator.in_role("candidate", "candidate").await;
    let second = operator
        .swapped("candidate", Swap::to_revision("three"))
        .await;
    let first = operator.ended(first).await;
    assert_ended(&first, "superseded", &[]);
    assert_eq!(second["from"], original, "it ran against what was active");
    for _ in 0..20 {
        assert_eq!(serves(&host.client()).await, "three");
    }
    operator.alone("candidate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseding_swap_that_is_refused_leaves_the_active_revision() {
    let (host, operator) = host("", "").await;
    let bake = Duration::from_secs(600);
    let canary = Swap::to_revision("two").canary(&[50.0], bake, 1);
    let first = operator.begin("candidate", canary).await;
    operator.in_role("candidate", "candidate").await;
    let bad = Swap::to_revision("three").config("AT_START", "trap");
    let second = operator.swap("candidate", bad).await;
    assert_ended(&second, "refused", &[]);
    assert_ended(&operator.ended(first).await, "superseded", &[]);
    for _ in 0..20 {
        assert_eq!(serves(&host.client()).await, "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_a_canary_and_what_it_works_on_is_finished() {
    let (host, operator) = host("", "").await;
    let bake = Duration::from_secs(600);
    let canary = Swap::to_revision("two").canary(&[99.0], bake, 1);
    let id = operator.begin("candidate", canary).await;
    operator.in_role("candidate", "candidate").await;
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let client = host.client();
            tokio::spawn(async move { client.get("/work?ms=1000").await })
        })
        .collect();
    super::at_work(&operator, "candidate").await;
    cancel(&operator, id).await.expect(202);
    assert_ended(&operator.decided(id).await, "cancelled", &[]);
    for each in slow {
        each.await.unwrap().expect(200);
    }
    for _ in 0..20 {
        assert_eq!(serves(&host.client()).await, "one");
    }
    operator.alone("candidate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_switched_cannot_be_cancelled() {
    let (_host, operator) = host("", "").await;
    let rollout = operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    let id = rollout["id"].as_u64().unwrap();
    let refused = cancel(&operator, id).await.expect(409);
    assert!(refused.text().contains("roll the component back"));
    cancel(&operator, 4711).await.expect(404);
}
