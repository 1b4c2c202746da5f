//! Tests of the rollout log, on real files. A host that is killed is a log that is dropped between
//! two operations: each is durable when it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::log::{HISTORY_MAX, STEPS_WRITTEN_EVERY};
use super::tables::{REVISIONS, ROLLOUTS};
use super::*;
use crate::capability::embedded::{Applied, Embedded};
use crate::manifest::model::Component;
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};
use crate::rollout::RolloutError;
use crate::rollout::model::{Cause, Rollout, RolloutState, Step, StepDone};

async fn open(dir: &Path) -> RolloutLog {
    RolloutLog::open(Embedded::open(dir).unwrap())
        .await
        .unwrap()
}

fn name(text: &str) -> ComponentName {
    text.parse().unwrap()
}

fn settings(component: &str) -> Component {
    let text = format!(
        "application.name = \"x\"\n[component.{component}]\nartifact = \"a.wasm\"\n\
         environment = {{ LEVEL = \"info\", A = \"secret\" }}\nsecrets.KEY.name = \"key\"\n\
         grants.outbound_http = [\"https://*.example.com\"]\nhealth = \"GET /\"\n\
         build.command = \"make\"\n"
    );
    let loaded = crate::manifest::resolve(&text, Path::new("app/x.toml")).unwrap();
    loaded.application.components[component].clone()
}

fn new_revision(component: &str, bytes: &str) -> NewRevision {
    NewRevision {
        settings: settings(component),
        digest: Digest::of(bytes.as_bytes()),
        cause: Cause::Swap,
        by: "ada".to_owned(),
    }
}

fn new_rollout(component: &str, to: Option<RevisionId>) -> NewRollout {
    NewRollout {
        component: name(component),
        cause: Cause::Swap,
        by: "ada".to_owned(),
        from: None,
        to,
        digest: Digest::of(b"x"),
    }
}

fn with_state(rollout: &Rollout, state: RolloutState) -> Rollout {
    Rollout {
        state,
        ..rollout.clone()
    }
}

fn with_step(rollout: &Rollout, step: Step) -> Rollout {
    let mut rollout = rollout.clone();
    rollout.steps.push(StepDone {
        step,
        took_ms: 1.5,
        detail: Some("cached".to_owned()),
    });
    rollout
}

async fn candidate(log: &RolloutLog, component: &str, bytes: &str) -> RevisionId {
    let new = new_revision(component, bytes);
    log.add_revision(new).await.unwrap().revision
}

/// Rolls `to` out, whole.
async fn roll_out(log: &RolloutLog, component: &str, to: RevisionId) -> RolloutId {
    let rollout = log.begin(new_rollout(component, Some(to))).await.unwrap();
    let switched = with_state(&rollout, RolloutState::Switched);
    log.switch(&name(component), Some(to), &switched)
        .await
        .unwrap();
    log.update(&with_state(&rollout, RolloutState::Completed))
        .await
        .unwrap();
    rollout.id
}

/// Makes a revision and rolls it out.
async fn swap(log: &RolloutLog, component: &str, bytes: &str) -> RevisionId {
    let revision = candidate(log, component, bytes).await;
    roll_out(log, component, revision).await;
    revision
}

fn numbers(records: &[RevisionRecord]) -> Vec<u64> {
    records.iter().map(|record| record.revision.0).collect()
}

#[tokio::test]
async fn a_revision_is_read_back_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let made = log.add_revision(new_revision("a", "1")).await.unwrap();
    assert_eq!(
        (made.revision, &made.component),
        (RevisionId(1), &name("a"))
    );
    assert_eq!(made.settings, settings("a"));
    assert!(made.made_at_ms > 1_700_000_000_000);
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(
        log.revision(made.revision).await.unwrap().as_ref(),
        Some(&made)
    );
    assert_eq!(log.revision(RevisionId(2)).await.unwrap(), None);
    let summary = made.summary(true);
    assert!(summary.current);
    assert_eq!(summary.environment, ["A", "KEY", "LEVEL"]);
    candidate(&log, "b", "1").await;
    candidate(&log, "a", "2").await;
    let revisions = log.revisions(&name("a")).await.unwrap();
    assert_eq!(numbers(&revisions), [3, 1]);
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let revision = candidate(&log, "a", "1").await;
    let rollout = log.begin(new_rollout("a", Some(revision))).await.unwrap();
    log.update(&with_state(&rollout, RolloutState::Refused))
        .await
        .unwrap();
    log.prune(1, &BTreeSet::new()).await.unwrap();
    assert_eq!(log.revision(revision).await.unwrap(), None);
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(candidate(&log, "b", "1").await, RevisionId(revision.0 + 1));
    let next = log.begin(new_rollout("b", None)).await.unwrap();
    assert_eq!(next.id, RolloutId(rollout.id.0 + 1));
}

#[tokio::test]
async fn a_switch_is_what_a_restart_brings_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let first = swap(&log, "a", "1").await;
    let second = candidate(&log, "a", "2").await;
    let rollout = log.begin(new_rollout("a", Some(second))).await.unwrap();
    drop(log);
    let log = open(dir.path()).await;
    let current = |revision| BTreeMap::from([(name("a"), revision)]);
    assert_eq!(log.current().await.unwrap(), current(first));
    let switched = with_state(&rollout, RolloutState::Switched);
    log.switch(&name("a"), Some(second), &switched)
        .await
        .unwrap();
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.current().await.unwrap(), current(second));
    assert_eq!(log.rollout(rollout.id).await.unwrap(), Some(switched));

    let removal = log.begin(new_rollout("a", None)).await.unwrap();
    let switched = with_state(&removal, RolloutState::Switched);
    log.switch(&name("a"), None, &switched).await.unwrap();
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.current().await.unwrap(), BTreeMap::new());
    assert_eq!(log.previous(&name("a")).await.unwrap(), Some(second));
}

#[tokio::test]
async fn a_refused_switch_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let first = swap(&log, "a", "1").await;
    let foreign = candidate(&log, "b", "1").await;
    let rollout = log.begin(new_rollout("a", None)).await.unwrap();
    let switched = with_state(&rollout, RolloutState::Switched);
    for to in [foreign, RevisionId(99)] {
        let error = log.switch(&name("a"), Some(to), &switched).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, StoreError::UnknownRevision { revision, .. } if revision == to),
            "{error:?}"
        );
    }
    let error = log.switch(&name("a"), Some(first), &rollout).await;
    assert!(matches!(error, Err(StoreError::WrongOrder { .. })));
    let mut absent = switched.clone();
    absent.id = RolloutId(99);
    let error = log.switch(&name("a"), None, &absent).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownRollout(RolloutId(99))));
    assert_eq!(log.current().await.unwrap()[&name("a")], first);
    assert_eq!(log.rollout(rollout.id).await.unwrap(), Some(rollout));
    assert!(matches!(error.into(), RolloutError::Storage(_)));
}

#[tokio::test]
async fn a_rollout_that_ended_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let to = candidate(&log, "a", "1").await;
    for state in [
        RolloutState::Refused,
        RolloutState::RolledBack,
        RolloutState::Superseded,
        RolloutState::Cancelled,
        RolloutState::Interrupted,
    ] {
        let rollout = log.begin(new_rollout("a", Some(to))).await.unwrap();
        for early in [RolloutState::Switched, RolloutState::Completed] {
            let error = log.update(&with_state(&rollout, early)).await.unwrap_err();
            assert!(matches!(error, StoreError::WrongOrder { .. }), "{error:?}");
        }
        let ended = with_state(&rollout, state);
        log.update(&ended).await.unwrap();
        let late = with_state(&rollout, RolloutState::Switched);
        let error = log.switch(&name("a"), Some(to), &late).await.unwrap_err();
        assert!(
            matches!(error, StoreError::WrongOrder { from, .. } if from == state),
            "{error:?}"
        );
        assert!(log.update(&rollout).await.is_err());
        assert_eq!(log.rollout(rollout.id).await.unwrap(), Some(ended));
    }
}

#[tokio::test(start_paused = true)]
async fn steps_are_seen_at_once_and_written_in_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let begun = log.begin(new_rollout("a", None)).await.unwrap();
    let verified = with_step(&begun, Step::Verify);
    log.update(&verified).await.unwrap();
    assert_eq!(
        log.rollout(begun.id).await.unwrap().as_ref(),
        Some(&verified)
    );
    assert_eq!(
        log.history(None, 9).await.unwrap(),
        std::slice::from_ref(&verified)
    );
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.rollout(begun.id).await.unwrap().as_ref(), Some(&begun));

    log.update(&verified).await.unwrap();
    tokio::time::advance(STEPS_WRITTEN_EVERY).await;
    let compiled = with_step(&verified, Step::Compile);
    log.update(&compiled).await.unwrap();
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.rollout(begun.id).await.unwrap(), Some(compiled.clone()));

    log.update(&compiled).await.unwrap();
    log.update(&with_step(&compiled, Step::Prewarm))
        .await
        .unwrap();
    let ended = with_state(&compiled, RolloutState::RolledBack);
    log.update(&ended).await.unwrap();
    assert_eq!(log.rollout(begun.id).await.unwrap().as_ref(), Some(&ended));
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.rollout(begun.id).await.unwrap(), Some(ended));
}

#[tokio::test]
async fn a_start_ends_what_the_last_end_left_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let to = candidate(&log, "a", "1").await;
    let running = log.begin(new_rollout("a", Some(to))).await.unwrap();
    let draining = log.begin(new_rollout("a", Some(to))).await.unwrap();
    let switched = with_state(&draining, RolloutState::Switched);
    log.switch(&name("a"), Some(to), &switched).await.unwrap();
    let whole = roll_out(&log, "a", to).await;
    let whole = log.rollout(whole).await.unwrap();
    drop(log);
    let log = open(dir.path()).await;
    let ended = log.interrupt_unfinished().await.unwrap();
    let states: Vec<_> = ended.iter().map(|r| (r.id, r.state)).collect();
    let expected = [
        (running.id, RolloutState::Interrupted),
        (draining.id, RolloutState::Completed),
    ];
    assert_eq!(states, expected);
    for rollout in ended {
        assert!(rollout.reason.is_some() && rollout.ended_at_ms >= Some(rollout.began_at_ms));
        assert_eq!(log.rollout(rollout.id).await.unwrap(), Some(rollout));
    }
    assert_eq!(log.interrupt_unfinished().await.unwrap(), []);
    let whole_now = log.rollout(whole.as_ref().unwrap().id).await.unwrap();
    assert_eq!(whole_now, whole);
}

#[tokio::test]
async fn what_the_manifest_said_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    assert_eq!(log.declared().await.unwrap(), BTreeMap::new());
    let both = BTreeMap::from([(name("a"), "1".to_owned()), (name("b"), "2".to_owned())]);
    log.declare(both.clone()).await.unwrap();
    log.declare(both.clone()).await.unwrap();
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.declared().await.unwrap(), both);
    let one = BTreeMap::from([(name("b"), "3".to_owned())]);
    log.declare(one.clone()).await.unwrap();
    assert_eq!(log.declared().await.unwrap(), one);
}

#[tokio::test]
async fn the_previous_revision_is_the_other_one_that_was_current_last() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let a = name("a");
    assert_eq!(log.previous(&a).await.unwrap(), None);
    let first = swap(&log, "a", "1").await;
    swap(&log, "aa", "1").await;
    assert_eq!(log.previous(&a).await.unwrap(), None);
    candidate(&log, "a", "never current").await;
    let second = swap(&log, "a", "2").await;
    assert_eq!(log.previous(&a).await.unwrap(), Some(first));
    let third = swap(&log, "a", "3").await;
    assert_eq!(log.previous(&a).await.unwrap(), Some(second));
    roll_out(&log, "a", second).await;
    assert_eq!(log.previous(&a).await.unwrap(), Some(third));
    roll_out(&log, "a", second).await;
    assert_eq!(log.previous(&a).await.unwrap(), Some(third));
    roll_out(&log, "a", first).await;
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.previous(&a).await.unwrap(), Some(second));
}

#[tokio::test]
async fn pruning_keeps_what_can_be_rolled_back_to_and_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let first = swap(&log, "a", "1").await;
    let second = swap(&log, "a", "2").await;
    let third = swap(&log, "a", "3").await;
    let fourth = swap(&log, "a", "shared").await;
    let other = swap(&log, "b", "shared").await;
    roll_out(&log, "a", second).await;
    assert_eq!(log.prune(9, &BTreeSet::new()).await.unwrap(), [].into());
    let unused = log.prune(2, &BTreeSet::from([first])).await.unwrap();
    assert_eq!(unused, [Digest::of(b"3")].into());
    let left = log.revisions(&name("a")).await.unwrap();
    assert_eq!(numbers(&left), [fourth.0, second.0, first.0]);
    assert_eq!(log.revision(third).await.unwrap(), None);
    assert_eq!(log.previous(&name("a")).await.unwrap(), Some(fourth));
    let unused = log.prune(1, &BTreeSet::new()).await.unwrap();
    assert_eq!(unused, [Digest::of(b"1")].into());
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(
        numbers(&log.revisions(&name("a")).await.unwrap()),
        [second.0]
    );
    assert_eq!(log.previous(&name("a")).await.unwrap(), None);
    assert!(log.revision(other).await.unwrap().is_some());
    let digests = [Digest::of(b"2"), Digest::of(b"shared")];
    assert_eq!(log.digests().await.unwrap(), digests.into());
}

#[tokio::test]
async fn pruning_spares_the_candidate_of_a_rollout_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let at_work = candidate(&log, "a", "1").await;
    let refused = candidate(&log, "a", "2").await;
    let mut rollout = log.begin(new_rollout("a", None)).await.unwrap();
    rollout.to = Some(refused);
    log.update(&with_state(&rollout, RolloutState::Refused))
        .await
        .unwrap();
    let none = BTreeSet::new();
    assert_eq!(
        log.prune(1, &none).await.unwrap(),
        [Digest::of(b"2")].into()
    );
    assert!(log.revision(at_work).await.unwrap().is_some());
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(
        log.prune(1, &none).await.unwrap(),
        [Digest::of(b"1")].into()
    );
}

#[tokio::test]
async fn the_history_is_the_newest_first_and_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).await;
    assert_eq!(log.history_max, HISTORY_MAX);
    log.history_max = 4;
    let mut unfinished = log.begin(new_rollout("a", None)).await.unwrap();
    let to = candidate(&log, "b", "1").await;
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(roll_out(&log, "b", to).await);
    }
    let ids = |rollouts: Vec<Rollout>| -> Vec<RolloutId> {
        rollouts.into_iter().map(|rollout| rollout.id).collect()
    };
    let all = ids(log.history(None, 100).await.unwrap());
    assert_eq!(all, [ended[4], ended[3], ended[2], unfinished.id]);
    let of_b = ids(log.history(Some(&name("b")), 2).await.unwrap());
    assert_eq!(of_b, [ended[4], ended[3]]);
    let of_a = ids(log.history(Some(&name("a")), 100).await.unwrap());
    assert_eq!(of_a, [unfinished.id]);
    assert_eq!(log.rollout(ended[0]).await.unwrap(), None);
    unfinished.state = RolloutState::Cancelled;
    log.update(&unfinished).await.unwrap();
    roll_out(&log, "b", to).await;
    assert_eq!(log.history(Some(&name("a")), 100).await.unwrap(), []);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<Embedded> = Embedded::open(dir.path()).unwrap();
    let log = RolloutLog::open(store.clone()).await.unwrap();
    let rollout = log.begin(new_rollout("a", None)).await.unwrap();
    let revision = swap(&log, "a", "1").await;
    let damaged: Result<(), ()> = store
        .write(0, move |transaction| {
            let torn: &[u8] = b"{\"revision\":1,";
            transaction
                .open_table(REVISIONS)?
                .insert(revision.0, torn)?;
            transaction
                .open_table(ROLLOUTS)?
                .insert(rollout.id.0, torn)?;
            Ok(Applied::Changed(()))
        })
        .await
        .unwrap();
    damaged.unwrap();
    let errors = [
        log.revision(revision).await.unwrap_err(),
        log.revisions(&name("b")).await.unwrap_err(),
        log.prune(1, &BTreeSet::new()).await.unwrap_err(),
        log.digests().await.unwrap_err(),
        log.rollout(rollout.id).await.unwrap_err(),
        log.history(None, 9).await.unwrap_err(),
        log.interrupt_unfinished().await.unwrap_err(),
    ];
    for (index, error) in errors.iter().enumerate() {
        let record = if index < 4 { "revision 1" } else { "rollout 1" };
        assert!(error.to_string().contains(record), "{index}: {error}");
    }
    assert_eq!(log.current().await.unwrap()[&name("a")], revision);
}
