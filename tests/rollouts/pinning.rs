//! A request may choose a living revision by header, where the host configuration names one.

use std::time::Duration;

use super::{host, manifest, serves};
use crate::harness::client::empty;
use crate::harness::{Client, Launch, Operator, Reply, Swap};

const ON: &str = "[rollout]\nrevision_header = \"wharf-revision\"\n";

async fn pinned(client: &Client, path: &str, revision: &str) -> Reply {
    let request = client
        .request("GET", path)
        .header("wharf-revision", revision);
    client.send(request.body(empty()).unwrap()).await
}

/// A candidate that gets next to nothing by itself, and nobody decides about.
fn unnoticed(revision: &str) -> Swap {
    Swap::to_revision(revision).canary(&[0.01], Duration::from_secs(600), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_revision_serves_what_asks_for_it() {
    let host = Launch::of(&manifest("", "")).host_config(ON).start().await;
    let (operator, client) = (Operator::of(&host), host.client());
    let active = operator.active("candidate").await;
    operator.begin("candidate", unnoticed("two")).await;
    let candidate = operator.in_role("candidate", "candidate").await;
    for _ in 0..20 {
        let reply = pinned(&client, "/work", &candidate.to_string()).await;
        assert_eq!(reply.expect(200).text(), "two");
        let reply = pinned(&client, "/work", &active.to_string()).await;
        assert_eq!(reply.expect(200).text(), "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_revision_is_the_callers_mistake() {
    let host = Launch::of(&manifest("", "")).host_config(ON).start().await;
    let client = host.client();
    for wrong in ["4711", "0", "one", "-1", ""] {
        let reply = pinned(&client, "/work", wrong).await;
        assert_eq!(reply.status, 400, "{wrong:?}: {}", reply.text());
    }
    assert_eq!(serves(&client).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_gone_is_unknown() {
    let host = Launch::of(&manifest("", "")).host_config(ON).start().await;
    let (operator, client) = (Operator::of(&host), host.client());
    let old = operator.active("candidate").await;
    operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    operator.alone("candidate").await;
    pinned(&client, "/work", &old.to_string()).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_names_no_header_lets_nobody_choose() {
    let (host, operator) = host("", "").await;
    operator.begin("candidate", unnoticed("two")).await;
    let candidate = operator.in_role("candidate", "candidate").await;
    let client = host.client();
    for revision in [candidate.to_string(), "4711".to_owned()] {
        let reply = pinned(&client, "/work", &revision).await.expect(200);
        assert_eq!(reply.text(), "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_wherever_the_component_is_called_on_the_way() {
    let host = Launch::of(&super::typed()).host_config(ON).start().await;
    let (operator, client) = (Operator::of(&host), host.client());
    operator.begin("callee", unnoticed("two")).await;
    let candidate = operator.in_role("callee", "candidate").await;
    for _ in 0..10 {
        let reply = pinned(&client, "/revisions?n=3", &candidate.to_string()).await;
        assert_eq!(reply.expect(200).text(), "two\n".repeat(3));
    }
    assert_eq!(client.get("/revision").await.expect(200).text(), "one");
}
