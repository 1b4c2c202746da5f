//! A request sees one revision of each component that it calls, whatever is swapped meanwhile.

use std::time::Duration;

use crate::harness::client::{empty, next_data, try_next_data};
use crate::harness::{Host, Launch, Operator, Swap};

use super::load::{Load, assert_all};

/// `caller` calls `callee`, which is revision "one".
async fn host() -> Host {
    Launch::of(&super::typed()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_callee_that_is_swapped_between_two_calls() {
    let host = host().await;
    let operator = Operator::of(&host);
    let client = host.client();
    let request = client.request("GET", "/revisions?n=6&ms=400");
    let mut incoming = client
        .open(request.body(empty()).unwrap())
        .await
        .into_body();
    let mut text = next_data(&mut incoming).await.to_vec();
    assert_eq!(text, b"one\n");
    operator.swapped("callee", Swap::to_revision("two")).await;
    let other = client.get("/revision").await.expect(200);
    assert_eq!(other.text(), "two", "a later request, while the first runs");
    while let Some(data) = try_next_data(&mut incoming).await {
        text.extend_from_slice(&data);
    }
    assert_eq!(String::from_utf8_lossy(&text), "one\n".repeat(6));
    operator.alone("callee").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_callee_that_is_a_canary() {
    let host = host().await;
    let operator = Operator::of(&host);
    let swap = Swap::to_revision("two").canary(&[50.0], Duration::from_secs(60), 1);
    let id = operator.begin("callee", swap).await;
    operator.in_role("callee", "candidate").await;
    let client = host.client();
    let (mut old, mut new) = (0, 0);
    for _ in 0..40 {
        let text = client.get("/revisions?n=5").await.expect(200).text();
        if text == "one\n".repeat(5) {
            old += 1;
        } else {
            assert_eq!(text, "two\n".repeat(5), "one request, one revision");
            new += 1;
        }
    }
    assert!(old > 0 && new > 0, "{old} and {new}");
    operator
        .delete(&format!("/v1/rollouts/{id}"))
        .await
        .expect(202);
    operator.alone("callee").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_both_sides_are_swapped_over_and_over() {
    let host = host().await;
    let operator = Operator::of(&host);
    let load = Load::gets(&host.client(), 4, Duration::from_millis(5), |_| {
        "/revisions?n=4&ms=10".to_owned()
    });
    for n in 0..10 {
        let name = format!("r{n}");
        operator.swapped("callee", Swap::to_revision(&name)).await;
        operator.swapped("caller", Swap::to_revision(&name)).await;
    }
    let answers = load.stop().await;
    assert_all("calls during swaps", &answers, 200);
    for answer in &answers {
        let text = answer.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| *line == lines[0]), "{text}");
    }
    operator.alone("caller").await;
    operator.alone("callee").await;
}
