//! The migration hook: run once before the switch, told where it comes from.

use super::{host, serves};
use crate::harness::{Swap, guest, variant};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_run_once_by_the_candidate_and_knows_the_revision_before() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    // Whether it was run at the start is the host's matter.
    let before = migrations(&client).await;
    let old = operator.living("candidate").await[0].clone();
    let bytes = variant(&std::fs::read(guest("candidate")).unwrap(), "migrated");
    let digest = operator.upload(bytes).await;
    let swap = Swap::to_revision("two").artifact(&digest);
    let rollout = operator.swapped("candidate", swap).await;
    assert_eq!(serves(&client).await, "two");
    assert_eq!(migrations(&client).await, before + 1);
    let from = client.get("/get?key=migrated-from").await.expect(200);
    let (number, sha256) = (&old["revision"], old["digest"].as_str().unwrap());
    assert_eq!(from.text(), format!("{number} {sha256}"));
    let steps = rollout["steps"].as_array().expect("a list");
    assert!(steps.iter().any(|step| step["step"] == "migrate"));
}

async fn migrations(client: &crate::harness::Client) -> u64 {
    let reply = client.get("/get?key=migration/all").await;
    reply.text().parse().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_is_run_before_any_work_comes_to_the_candidate() {
    let (host, operator) = host("", "").await;
    let before = migrations(&host.client()).await;
    let swap = Swap::to_revision("two")
        .config("MIGRATION", "refuse")
        .canary(&[50.0], std::time::Duration::from_secs(60), 1);
    let rollout = operator.swap("candidate", swap).await;
    assert_eq!(rollout["state"], "refused", "{rollout:#}");
    for _ in 0..20 {
        assert_eq!(serves(&host.client()).await, "one");
    }
    assert_eq!(migrations(&host.client()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_one_skips_the_step() {
    let manifest = crate::harness::Manifest::serving("hello", "");
    let host = crate::harness::Launch::of(&manifest).start().await;
    let operator = crate::harness::Operator::of(&host);
    let rollout = operator.swapped("hello", Swap::to_revision("two")).await;
    let steps = rollout["steps"].as_array().expect("a list");
    assert!(
        !steps.iter().any(|step| step["step"] == "migrate"),
        "{rollout:#}"
    );
    let reply = host.client().get("/env?name=REVISION").await;
    assert_eq!(reply.expect(200).text(), "two");
}
