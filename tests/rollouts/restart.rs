//! What a restart brings up: what was swapped in since, unless the manifest says something new.

use super::{manifest, serves, text};
use crate::harness::manifest::Scratch;
use crate::harness::{Host, Launch, Manifest, Operator, Swap, guest, variant};

async fn start(manifest: &Manifest, state: &Scratch) -> (Host, Operator) {
    let host = Launch::of(manifest).state(state).start().await;
    let operator = Operator::of(&host);
    (host, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_revision_is_there_again() {
    let manifest = manifest("", "");
    let state = crate::harness::scratch();
    let (host, operator) = start(&manifest, &state).await;
    let bytes = variant(&std::fs::read(guest("candidate")).unwrap(), "kept");
    let digest = operator.upload(bytes).await;
    let swap = Swap::to_revision("two").artifact(&digest);
    operator.swapped("candidate", swap).await;
    let revision = operator.active("candidate").await;
    host.stop().await;

    let (host, operator) = start(&manifest, &state).await;
    assert_eq!(serves(&host.client()).await, "two");
    assert_eq!(operator.active("candidate").await, revision);
    let living = operator.living("candidate").await;
    assert_eq!(living[0]["digest"], digest.as_str());
    // And it can still be rolled back.
    let begun = operator.roll_back("candidate", None).await.expect(202);
    operator.decided(begun.json()["id"].as_u64().unwrap()).await;
    assert_eq!(serves(&host.client()).await, "one");
    host.kill().await;
    let (host, _) = start(&manifest, &state).await;
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_says_something_new_wins_for_the_component_that_it_is_about() {
    let other = |more: &str| {
        text("", more)
            .replace("component.candidate", "component.other")
            .replace("component = \"candidate\"", "component = \"other\"")
            .replace("path = \"/...\"", "path = \"/...\"\nhost = \"other\"")
    };
    let before = Manifest::new(&format!("{}{}", text("", ""), other("")));
    let state = crate::harness::scratch();
    let (host, operator) = start(&before, &state).await;
    for component in ["candidate", "other"] {
        operator.swapped(component, Swap::to_revision("two")).await;
    }
    let untouched = operator.active("candidate").await;
    host.stop().await;

    let after = Manifest::new(&format!("{}{}", text("", ""), other("ADDED = \"x\"")));
    let (host, operator) = start(&after, &state).await;
    assert_eq!(serves(&host.client()).await, "two");
    assert_eq!(operator.active("candidate").await, untouched);
    let client = host.client();
    let request = client.request("GET", "/work").header("host", "other");
    let reply = client
        .send(request.body(crate::harness::client::empty()).unwrap())
        .await;
    assert_eq!(reply.expect(200).text(), "one", "as the manifest says");
    let newest = &operator.history("other").await[0];
    assert_eq!(newest["cause"], "start", "{newest:#}");
    host.stop().await;

    // The same manifest again says nothing new.
    let (host, operator) = start(&after, &state).await;
    operator.swapped("other", Swap::to_revision("three")).await;
    host.stop().await;
    let (_host, operator) = start(&after, &state).await;
    let newest = &operator.history("other").await[0];
    assert_eq!(newest["cause"], "swap", "{newest:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_artifact_at_the_same_place_is_something_new() {
    let artifact = crate::harness::scratch();
    let path = artifact.path().join("candidate.wasm");
    let bytes = std::fs::read(guest("candidate")).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let text = text("", "").replace("{candidate.wasm}", path.to_str().unwrap());
    let manifest = Manifest::new(&text);
    let state = crate::harness::scratch();
    let (host, operator) = start(&manifest, &state).await;
    operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    host.stop().await;
    std::fs::write(&path, variant(&bytes, "built anew")).unwrap();
    let (host, _) = start(&manifest, &state).await;
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_cancelled_candidate_is_not() {
    let manifest = manifest("", "");
    let state = crate::harness::scratch();
    let (host, operator) = start(&manifest, &state).await;
    let bad = Swap::to_revision("bad").config("AT_START", "trap");
    operator.swap("candidate", bad).await;
    let canary =
        Swap::to_revision("canary").canary(&[50.0], std::time::Duration::from_secs(600), 1);
    let id = operator.begin("candidate", canary).await;
    operator.in_role("candidate", "candidate").await;
    host.stop().await;
    let (host, operator) = start(&manifest, &state).await;
    for _ in 0..10 {
        assert_eq!(serves(&host.client()).await, "one");
    }
    let rollout = operator.rollout(id).await;
    assert_eq!(rollout["state"], "interrupted", "{rollout:#}");
}
