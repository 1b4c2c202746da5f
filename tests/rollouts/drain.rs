//! The drain: accepted work finishes where it began, within a limit; past it a request gets 503 and
//! a delivery goes back as if it had not been tried.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{at_work, host, serves};
use crate::harness::client::{Client, Reply, empty, next_data, try_next_data};
use crate::harness::{Host, Launch, Manifest, Operator, Swap, eventually};

/// Less than what is interrupted takes, by far.
const SHORT: &str = "[component.candidate.drain]\nrequests = \"500ms\"\ndeliveries = \"500ms\"";

/// Far more than the limit, and far less than the work.
const SOON: Duration = Duration::from_secs(15);

/// Asks in the background, and waits until it is worked on.
async fn in_flight(host: &Host, path: &str) -> tokio::task::JoinHandle<Reply> {
    let (client, path) = (host.client(), path.to_owned());
    let task = tokio::spawn(async move { client.get(&path).await });
    at_work(&Operator::of(host), "candidate").await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_finishes_on_the_revision_that_it_began_on() {
    let (host, operator) = host("", "").await;
    let slow = in_flight(&host, "/work?ms=3000").await;
    let rollout = operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    // New work does not wait for the old.
    assert_eq!(serves(&host.client()).await, "two");
    assert!(!slow.is_finished(), "the switch came while it ran");
    let draining = operator.in_role("candidate", "draining").await;
    assert_eq!(rollout["from"], draining);
    let living = operator.living("candidate").await;
    assert_eq!(living.len(), 2, "{living:?}");
    assert_eq!(living[0]["role"], "active");
    assert_eq!(living[1]["requests"], 1);
    assert_eq!(slow.await.unwrap().expect(200).text(), "one");
    let id = rollout["id"].as_u64().unwrap();
    assert_eq!(operator.ended(id).await["state"], "completed");
    operator.alone("candidate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_streams_finishes_on_the_revision_that_it_began_on() {
    let (host, operator) = host("", "").await;
    for client in [host.client(), host.client2()] {
        operator
            .swapped("candidate", Swap::to_revision("old"))
            .await;
        let request = client.request("GET", "/stream?n=10&ms=150");
        let mut incoming = client
            .open(request.body(empty()).unwrap())
            .await
            .into_body();
        let mut text = next_data(&mut incoming).await.to_vec();
        operator
            .swapped("candidate", Swap::to_revision("new"))
            .await;
        while let Some(data) = try_next_data(&mut incoming).await {
            text.extend_from_slice(&data);
        }
        assert_eq!(String::from_utf8_lossy(&text), "old\n".repeat(10));
        assert_eq!(serves(&client).await, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_the_limit_gets_503_and_when_to_try_again() {
    let (host, operator) = host("", SHORT).await;
    let slow = in_flight(&host, "/work?ms=60000").await;
    let before = Instant::now();
    let rollout = operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    let reply = slow.await.unwrap().expect(503);
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    let after = reply.header("retry-after").expect("when to try again");
    assert!(after.parse::<u64>().is_ok(), "{after}");
    let id = rollout["id"].as_u64().unwrap();
    assert_eq!(operator.ended(id).await["state"], "completed");
    operator.alone("candidate").await;
    host.metric_becomes("wharf_instances", &[("component", "candidate")], 0.0)
        .await;
    assert_eq!(serves(&host.client()).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_streams_past_the_limit_is_cut_off() {
    let (host, operator) = host("", SHORT).await;
    for client in [host.client(), host.client2()] {
        let request = client.request("GET", "/stream?n=600&ms=100");
        let response = client.open(request.body(empty()).unwrap()).await;
        let before = Instant::now();
        let reading = tokio::spawn(Reply::read(response));
        operator
            .swapped("candidate", Swap::to_revision("two"))
            .await;
        let reply = reading.await.unwrap();
        assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
        assert!(reply.broken.is_some(), "it must not look whole: {reply:?}");
        assert!(!reply.body.is_empty(), "what was sent before has arrived");
        operator.alone("candidate").await;
    }
}

/// What became of the message with this id: attempts, and by which revision it was handled.
async fn outcome(client: &Client, id: u64) -> (String, String) {
    let what = format!("message {id} is handled");
    eventually(&what, Duration::from_secs(30), async || {
        let counts = format!("/counts?of=delivery&from={id}&to={}", id + 1);
        (client.get(&counts).await.expect(200).text() != "0").then_some(())
    })
    .await;
    let counts = format!("/counts?of=attempt&from={id}&to={}", id + 1);
    let attempts = client.get(&counts).await.expect(200).text();
    let by = client.get(&format!("/get?key=by/{id}")).await.expect(200);
    (attempts, by.text())
}

async fn delivering(host: &Host, id: u64) {
    let client = host.client();
    client.get(&format!("/publish?id={id}")).await.expect(202);
    eventually("the delivery began", SOON, async || {
        let path = format!("/get?key=attempt/{id}");
        (client.get(&path).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_finishes_on_the_revision_that_it_began_on() {
    let (host, operator) = host("", "DELIVERY_MS = \"2000\"").await;
    delivering(&host, 7).await;
    let swap = Swap::to_revision("two").config("DELIVERY_MS", "0");
    operator.swapped("candidate", swap).await;
    let living = operator.living("candidate").await;
    let old = living.last().expect("it drains");
    assert_eq!(
        (&old["role"], &old["deliveries"]),
        (&"draining".into(), &1.into())
    );
    // Later ones do not wait for it.
    delivering(&host, 8).await;
    assert_eq!(outcome(&host.client(), 8).await, ("1".into(), "two".into()));
    assert_eq!(outcome(&host.client(), 7).await, ("1".into(), "one".into()));
    operator.alone("candidate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_past_the_limit_goes_back_uncounted_and_the_new_revision_handles_it() {
    let more = format!("DELIVERY_MS = \"60000\"\n{SHORT}");
    // One delivery is all that a message has: were the first counted, it would be a dead letter.
    let (host, operator) = host("", &more).await;
    delivering(&host, 7).await;
    let swap = Swap::to_revision("two").config("DELIVERY_MS", "0");
    let rollout = operator.swapped("candidate", swap).await;
    let before = Instant::now();
    assert_eq!(outcome(&host.client(), 7).await, ("2".into(), "two".into()));
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    let id = rollout["id"].as_u64().unwrap();
    assert_eq!(operator.ended(id).await["state"], "completed");
    let metrics = host.metrics().await;
    assert_eq!(metrics.sum("wharf_dead_letters_total", &[]), 0.0);
    assert_eq!(metrics.sum("wharf_retries_total", &[]), 0.0);
    host.metric_becomes("wharf_pending", &[], 0.0).await;
}

/// `hello3`, whose instances serve several requests at once.
fn concurrent(tables: &str) -> Manifest {
    let environment = "[component.hello3.environment]\nREVISION = \"one\"";
    Manifest::serving("hello3", &format!("{environment}\n{tables}"))
}

async fn at_once(host: &Host, path: &'static str) -> Vec<tokio::task::JoinHandle<Reply>> {
    let ask = |_| {
        let client = host.client();
        tokio::spawn(async move { client.get(path).await })
    };
    let all = (0..8).map(ask).collect();
    eventually("all of them are worked on", SOON, async || {
        let living = Operator::of(host).living("hello3").await;
        (living[0]["requests"] == 8).then_some(())
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_a_0_3_instance_finish_on_it() {
    let host = Launch::of(&concurrent("")).start().await;
    let operator = Operator::of(&host);
    let slow = at_once(&host, "/slow?ms=2000").await;
    operator.swapped("hello3", Swap::to_revision("two")).await;
    let reply = host.client().get("/env?name=REVISION").await;
    assert_eq!(reply.expect(200).text(), "two");
    for each in slow {
        assert_eq!(each.await.unwrap().expect(200).text(), "slow");
    }
    // A new revision starts with instances of its own.
    operator.swapped("hello3", Swap::to_revision("three")).await;
    assert_eq!(host.client().get("/state").await.expect(200).text(), "1");
    operator.alone("hello3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_0_3_instance_past_the_limit_get_503() {
    let limit = "[component.hello3.drain]\nrequests = \"500ms\"";
    let host = Launch::of(&concurrent(limit)).start().await;
    let operator = Operator::of(&host);
    let slow = at_once(&host, "/slow?ms=25000").await;
    let before = Instant::now();
    operator.swapped("hello3", Swap::to_revision("two")).await;
    for each in slow {
        let reply = each.await.unwrap().expect(503);
        assert!(reply.header("retry-after").is_some());
    }
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    operator.alone("hello3").await;
    let reply = host.client().get("/env?name=REVISION").await;
    assert_eq!(reply.expect(200).text(), "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reused_instance_kept_is_not_carried_over() {
    let reuse = "[component.candidate.reuse]\nrequests = 1000";
    let (host, operator) = host("", reuse).await;
    let migrated = |value: Value| value["steps"].as_array().expect("a list").len();
    for revision in ["two", "three"] {
        let rollout = operator
            .swapped("candidate", Swap::to_revision(revision))
            .await;
        assert!(migrated(rollout) > 0);
        for _ in 0..5 {
            assert_eq!(serves(&host.client()).await, revision);
        }
    }
}
