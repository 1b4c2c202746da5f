//! A canary: the candidate gets a share of the work and proves itself against the active revision,
//! over the same time, or the rollout goes back by itself.

use std::time::Duration;

use serde_json::Value;

use super::load::{Answer, Load, assert_all};
use super::{host, serves};
use crate::harness::operator::{assert_ended, assert_success};
use crate::harness::poll::never_within;
use crate::harness::{Host, Operator, Swap};

/// How long a step is watched: long enough for what the tests decide by.
const BAKE: Duration = Duration::from_millis(1500);

/// Enough for a ratio, fewer than the load gives.
const SAMPLES_MIN: u64 = 60;

/// Requests at once, and the pause of each: 200 in a second, which two busy cores manage.
const CONNECTIONS: usize = 10;
const PAUSE: Duration = Duration::from_millis(40);

/// Sends half of a load to a candidate until the rollout is decided, and the load a while longer;
/// the rollout, and the answers before and after the decision.
async fn tried(host: &Host, swap: Swap, ms: u64) -> (Value, Vec<Answer>, Vec<Answer>) {
    let operator = Operator::of(host);
    let path = move |n| format!("/work?n={n}&ms={ms}");
    let load = Load::gets(&host.client(), CONNECTIONS, PAUSE, path);
    let swap = swap.canary(&[50.0], BAKE, SAMPLES_MIN);
    let rollout = operator.swap("candidate", swap).await;
    let during = load.stop().await;
    let load = Load::gets(&host.client(), CONNECTIONS, PAUSE, path);
    tokio::time::sleep(Duration::from_millis(300)).await;
    (rollout, during, load.stop().await)
}

fn by<'a>(answers: &'a [Answer], revision: &str) -> Vec<&'a Answer> {
    let of = |answer: &&Answer| answer.text() == revision;
    answers.iter().filter(of).collect()
}

/// The old one serves, alone and without a failure, as if nothing had been.
async fn assert_rolled_back(host: &Host, rollout: &Value, after: &[Answer], words: &[&str]) {
    assert_ended(rollout, "rolled_back", words);
    assert_all("after the rollback", after, 200);
    assert_eq!(by(after, "one").len(), after.len());
    Operator::of(host).alone("candidate").await;
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_promotes_itself() {
    let (host, _) = host("", "").await;
    let (rollout, during, after) = tried(&host, Swap::to_revision("two"), 50).await;
    assert_success(&rollout);
    assert_all("during the canary", &during, 200);
    assert!(by(&during, "one").len() > 10 && by(&during, "two").len() > 10);
    assert_all("after the promotion", &after, 200);
    assert_eq!(by(&after, "two").len(), after.len());
    let steps = rollout["steps"].as_array().expect("a list");
    let canary = steps.iter().find(|step| step["step"] == "canary");
    let detail = canary.expect("it was one")["detail"].as_str();
    assert!(detail.expect("what was measured").contains("50%"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_500_to_every_tenth_request_goes_back() {
    let (host, _) = host("", "").await;
    let swap = Swap::to_revision("two").config("FAIL_EVERY", "10");
    let (rollout, during, after) = tried(&host, swap, 5).await;
    assert_rolled_back(&host, &rollout, &after, &["failed"]).await;
    // What failed was the candidate's share alone.
    let failed = during.iter().filter(|answer| !answer.is(200));
    for answer in failed {
        assert!(answer.is(500) && answer.n.is_multiple_of(10), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_five_times_slower_goes_back() {
    let (host, _) = host("", "").await;
    let swap = Swap::to_revision("two").config("SLOWER", "5");
    let (rollout, during, after) = tried(&host, swap, 40).await;
    assert_all("slow is not failed", &during, 200);
    assert_rolled_back(&host, &rollout, &after, &["p99"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaks_until_its_limit_goes_back() {
    let tables = "[component.candidate.limits]\nmemory = \"8MiB\"\n\
                  [component.candidate.reuse]\nrequests = 1000";
    let (host, _) = host("", tables).await;
    let swap = Swap::to_revision("two").config("LEAK_KIB", "1024");
    let (rollout, _, after) = tried(&host, swap, 5).await;
    assert_rolled_back(&host, &rollout, &after, &["trapped"]).await;
    host.logged("the trap", |entry| {
        entry["level"] == "WARN" && entry["component"] == "candidate"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_makes_no_sense_is_refused_in_words() {
    let (host, operator) = host("", "").await;
    let day = Duration::from_secs(24 * 60 * 60);
    let plans: [(&[f64], Duration, &str); 3] = [
        (&[50.0, 10.0], BAKE, "larger share"),
        (&[50.0], Duration::ZERO, "bake"),
        (&[50.0], day * 2, "bake"),
    ];
    for (steps, bake, word) in plans {
        let swap = Swap::to_revision("two").canary(steps, bake, SAMPLES_MIN);
        let reply = operator.try_swap("candidate", swap).await.expect(400);
        assert!(reply.text().contains(word), "{}", reply.text());
    }
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_requests_with_one_failure_decide_nothing() {
    let (host, operator) = host("", "").await;
    let bake = Duration::from_millis(700);
    let swap = Swap::to_revision("two")
        .config("FAIL_EVERY", "3")
        .canary(&[50.0], bake, 100);
    let id = operator.begin("candidate", swap).await;
    operator.in_role("candidate", "candidate").await;
    let (client, mut n, mut asked_new) = (host.client(), 0, 0);
    // Until the candidate has had three, one of which failed.
    while asked_new < 3 {
        n += 3;
        let number = if asked_new == 2 { n } else { n + 1 };
        let reply = client.get(&format!("/work?n={number}")).await;
        asked_new += u32::from(reply.text() != "one");
    }
    never_within("a verdict", bake / 2, async || {
        operator.rollout(id).await["state"] != "running"
    })
    .await;
    let rollout = operator.decided(id).await;
    assert_ended(&rollout, "rolled_back", &["inconclusive"]);
    assert_eq!(serves(&client).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_gets_the_share_that_was_asked_for_step_by_step() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    let load = Load::gets(&client, 4, Duration::from_millis(10), |_| {
        "/work".to_owned()
    });
    let swap = Swap::to_revision("two").canary(&[10.0, 60.0], BAKE * 2, 10);
    let id = operator.begin("candidate", swap).await;
    let mut events = operator.events(id).await;
    let mut bounds = Vec::new();
    for _ in 0..2 {
        events.until_begun("canary").await;
        let begun = tokio::time::Instant::now();
        events
            .until(|event| event["event"] == "done" && event["step"] == "canary")
            .await;
        bounds.push((begun, tokio::time::Instant::now()));
    }
    assert_success(&operator.decided(id).await);
    let answers = load.stop().await;
    assert_all("during the canary", &answers, 200);
    for ((begun, ended), wanted) in bounds.into_iter().zip([0.1, 0.6]) {
        let within = |answer: &&Answer| answer.sent > begun && answer.answered < ended;
        let all: Vec<&Answer> = answers.iter().filter(within).collect();
        let new = all.iter().filter(|answer| answer.text() == "two").count();
        let share = new as f64 / all.len() as f64;
        assert!(
            (share - wanted).abs() < 0.08,
            "{new} of {}, and {wanted} was asked for",
            all.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_have_their_share_too() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    let swap = Swap::to_revision("two").canary(&[50.0], Duration::from_secs(60), 1);
    let id = operator.begin("candidate", swap).await;
    operator.in_role("candidate", "candidate").await;
    for n in 0..40 {
        client.get(&format!("/publish?id={n}")).await.expect(202);
    }
    let labels = [("subject", "work")];
    host.metric_becomes("wharf_deliveries_total", &labels, 40.0)
        .await;
    host.metric_becomes("wharf_pending", &labels, 0.0).await;
    let mut new = 0;
    for n in 0..40 {
        let by = client.get(&format!("/get?key=by/{n}")).await.expect(200);
        new += u32::from(by.text() == "two");
    }
    // One in two million that all go one way.
    assert!((5..=35).contains(&new), "{new} of 40");
    operator
        .delete(&format!("/v1/rollouts/{id}"))
        .await
        .expect(202);
}
