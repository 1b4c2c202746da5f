//! Going back, and what is remembered: revisions, rollouts, and how many of them.

use super::{host, manifest, serves};
use crate::harness::operator::assert_success;
use crate::harness::{Launch, Operator, Swap, guest, variant};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_the_revision_before_or_to_the_one_that_is_named() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    let first = operator.active("candidate").await;
    for revision in ["two", "three"] {
        operator
            .swapped("candidate", Swap::to_revision(revision))
            .await;
    }
    let begun = operator.roll_back("candidate", None).await.expect(202);
    let id = begun.json()["id"].as_u64().unwrap();
    let rollout = operator.decided(id).await;
    assert_success(&rollout);
    assert_eq!(rollout["cause"], "rollback");
    assert_eq!(serves(&client).await, "two");

    let begun = operator.roll_back("candidate", Some(first)).await;
    let id = begun.expect(202).json()["id"].as_u64().unwrap();
    assert_success(&operator.decided(id).await);
    assert_eq!(serves(&client).await, "one");

    let unknown = operator.roll_back("candidate", Some(4711)).await;
    assert!(unknown.expect(404).text().contains("4711"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_without_an_earlier_revision_is_refused() {
    let (_host, operator) = host("", "").await;
    let refused = operator.roll_back("candidate", None).await.expect(409);
    assert!(refused.text().contains("candidate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_an_earlier_artifact_back() {
    let (host, operator) = host("", "").await;
    let before = operator.living("candidate").await[0]["digest"].clone();
    let bytes = variant(&std::fs::read(guest("candidate")).unwrap(), "newer");
    let digest = operator.upload(bytes).await;
    operator
        .swapped("candidate", Swap::new().artifact(&digest))
        .await;
    let now = operator.living("candidate").await[0]["digest"].clone();
    assert_eq!(now, digest.as_str());
    let begun = operator.roll_back("candidate", None).await.expect(202);
    let id = begun.json()["id"].as_u64().unwrap();
    assert_success(&operator.decided(id).await);
    let now = operator.living("candidate").await[0]["digest"].clone();
    assert_eq!(now, before);
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_who_when_what_and_why() {
    let (_host, operator) = host("", "").await;
    operator
        .swapped("candidate", Swap::to_revision("two"))
        .await;
    let bad = Swap::to_revision("three").config("AT_START", "trap");
    operator.swap("candidate", bad).await;
    let history = operator.history("candidate").await;
    let swaps: Vec<_> = history
        .iter()
        .filter(|each| each["cause"] == "swap")
        .collect();
    assert_eq!(swaps.len(), 2, "{history:#?}");
    let (refused, good) = (swaps[0], swaps[1]);
    assert_eq!(refused["state"], "refused", "the newest first");
    assert!(refused["reason"].as_str().is_some());
    assert!(refused["ended_at_ms"].as_u64() >= good["began_at_ms"].as_u64());
    assert_success(good);
    assert!(good["reason"].is_null());
    for each in [refused, good] {
        assert_eq!(each["by"], "a test");
        assert_eq!(each["digest"].as_str().map(str::len), Some(64));
        assert!(each["began_at_ms"].as_u64() > Some(1_700_000_000_000));
    }
    let reply = operator.get("/v1/rollouts?limit=1").await.expect(200);
    assert_eq!(reply.json().as_array().unwrap().len(), 1);
    operator.get("/v1/rollouts?limit=0").await.expect(400);
    operator.get("/v1/rollouts/4711").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_listed_without_the_values_of_their_environment() {
    let (_host, operator) = host("", "").await;
    let swap = Swap::to_revision("a private value").config("OTHER", "a private value");
    operator.swapped("candidate", swap).await;
    let reply = operator.get("/v1/components/candidate/revisions").await;
    assert!(!reply.text().contains("a private value"));
    let revisions = operator.revisions("candidate").await;
    assert_eq!(revisions.len(), 2);
    let (new, old) = (&revisions[0], &revisions[1]);
    assert_eq!(
        (&new["current"], &old["current"]),
        (&true.into(), &false.into())
    );
    assert!(new["revision"].as_u64() > old["revision"].as_u64());
    let names = new["environment"].as_array().unwrap();
    assert!(names.iter().any(|name| name == "OTHER"), "{new:#}");
    operator
        .get("/v1/components/nobody/revisions")
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_revisions_are_kept_and_their_artifacts_with_them() {
    let host = Launch::of(&manifest("", ""))
        .host_config("[rollout]\nrevisions_kept = 3\n")
        .start()
        .await;
    let operator = Operator::of(&host);
    let bytes = std::fs::read(guest("candidate")).unwrap();
    let mut digests = Vec::new();
    for n in 0..6 {
        let digest = operator.upload(variant(&bytes, &format!("kept {n}"))).await;
        let swap = Swap::to_revision(&n.to_string()).artifact(&digest);
        let rollout = operator.swapped("candidate", swap).await;
        operator.ended(rollout["id"].as_u64().unwrap()).await;
        digests.push(digest);
    }
    let kept = operator.revisions("candidate").await;
    let of_kept: Vec<&str> = kept
        .iter()
        .map(|each| each["digest"].as_str().unwrap())
        .collect();
    assert_eq!(of_kept, [&digests[5], &digests[4], &digests[3]]);
    // What is no longer kept has to be uploaded again.
    let gone = Swap::new().artifact(&digests[0]).dry_run();
    operator.try_swap("candidate", gone).await.expect(422);
    let there = Swap::new().artifact(&digests[3]).dry_run();
    operator.try_swap("candidate", there).await.expect(200);
    let files = crate::rollouts::files_below(host.state().path());
    let named = |digest: &str| {
        files
            .iter()
            .any(|path| path.to_string_lossy().contains(digest))
    };
    assert!(
        named(&digests[5]),
        "artifacts are stored by digest: {files:#?}"
    );
    assert!(!named(&digests[0]), "and removed: {files:#?}");
}
