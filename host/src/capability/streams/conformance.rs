//! What every stream backend promises, as tests that any of them runs. Each one uses a subject of its
//! own, so that they share a backend. Times are measured with `tokio::time`, so that a backend whose
//! clock that is runs them paused.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    Delivery, EntryId, Group, GroupStatus, MESSAGE_BYTES_MAX, Message, StreamError, Streams,
};

/// Long enough that no test that does not wait for it ever meets its end.
const LEASE: Duration = Duration::from_secs(600);

/// Short enough to wait for on a real clock.
const LEASE_SHORT: Duration = Duration::from_millis(400);

fn group(subject: &str, name: &str) -> Group {
    Group {
        subject: subject.parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn message(subject: &str, body: &str) -> Message {
    Message {
        subject: subject.parse().unwrap(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        reply_to: None,
        headers: Vec::new(),
    }
}

async fn declared(streams: &dyn Streams, subject: &str, lease: Duration) -> Group {
    let group = group(subject, "worker");
    streams.declare(&group, lease).await.unwrap();
    group
}

async fn publish(streams: &dyn Streams, group: &Group, bodies: &[&str]) -> Vec<EntryId> {
    let mut entries = Vec::new();
    for body in bodies {
        entries.push(
            streams
                .publish(message(group.subject.as_str(), body))
                .await
                .unwrap(),
        );
    }
    entries
}

async fn claim_one(streams: &dyn Streams, group: &Group) -> Delivery {
    let mut claimed = streams.claim(group, 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    claimed.pop().unwrap()
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.message.body).unwrap()
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(body).collect()
}

async fn counts(streams: &dyn Streams, group: &Group) -> GroupStatus {
    GroupStatus {
        oldest_age: None,
        ..streams.status(group).await.unwrap()
    }
}

fn status(length: u64, lag: u64, pending: u64, dead: u64) -> GroupStatus {
    GroupStatus {
        length,
        lag,
        pending,
        oldest_age: None,
        dead,
    }
}

fn is_lost(result: Result<(), StreamError>) {
    assert!(
        matches!(result, Err(StreamError::LeaseLost { .. })),
        "{result:?}"
    );
}

/// Runs the whole suite.
pub(crate) async fn every_promise(streams: &dyn Streams) {
    messages_arrive_whole_and_in_order(streams).await;
    two_groups_each_get_everything(streams).await;
    the_first_group_gets_what_was_there(streams).await;
    retries_wait_and_nothing_waits_for_them(streams).await;
    a_lease_that_runs_out_is_lost(streams).await;
    an_extended_lease_lasts(streams).await;
    a_released_attempt_does_not_count(streams).await;
    a_settled_delivery_is_settled_once(streams).await;
    dead_letters_keep_their_message_and_come_back(streams).await;
    a_dead_letter_of_one_group_is_anothers_message(streams).await;
    a_full_subject_refuses_and_recovers(streams).await;
    a_message_may_be_so_large(streams).await;
    a_waiting_claim_is_woken(streams).await;
    a_cancelled_claim_leaves_nothing_leased(streams).await;
    concurrent_claims_share_the_work(streams).await;
    an_unknown_group_is_refused(streams).await;
    a_forgotten_group_owes_nothing(streams).await;
}

async fn messages_arrive_whole_and_in_order(streams: &dyn Streams) {
    let group = declared(streams, "order", LEASE).await;
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 0));
    let full = Message {
        reply_to: Some("inbox.7".to_owned()),
        headers: vec![
            ("a".to_owned(), "1".to_owned()),
            ("a".to_owned(), "\u{e9}".to_owned()),
        ],
        ..message("order", "0")
    };
    let before = SystemTime::now() - Duration::from_millis(1);
    let first = streams.publish(full.clone()).await.unwrap();
    let entries = publish(streams, &group, &["1", "2", "3", "4"]).await;
    assert_eq!(
        entries
            .iter()
            .chain([&first])
            .collect::<BTreeSet<_>>()
            .len(),
        5
    );
    assert_eq!(counts(streams, &group).await, status(5, 5, 0, 0));
    assert!(streams.status(&group).await.unwrap().oldest_age.is_some());
    let mut claimed = streams.claim(&group, 2).await.unwrap();
    claimed.extend(streams.claim(&group, 100).await.unwrap());
    assert_eq!(bodies(&claimed), ["0", "1", "2", "3", "4"]);
    assert_eq!(counts(streams, &group).await, status(5, 0, 5, 0));
    let delivery = &claimed[0];
    assert_eq!((&delivery.entry, &delivery.message), (&first, &full));
    assert_eq!((&delivery.group, delivery.attempt), (&group, 1));
    assert!(delivery.published_at >= before && delivery.published_at <= SystemTime::now());
    for delivery in claimed.iter().rev() {
        streams.acknowledge(delivery).await.unwrap();
    }
    assert_eq!(streams.status(&group).await.unwrap(), status(0, 0, 0, 0));
}

async fn two_groups_each_get_everything(streams: &dyn Streams) {
    let one = declared(streams, "two", LEASE).await;
    let two = group("two", "other");
    streams.declare(&two, LEASE).await.unwrap();
    publish(streams, &one, &["a", "b"]).await;
    for delivery in streams.claim(&one, 9).await.unwrap() {
        streams.acknowledge(&delivery).await.unwrap();
    }
    assert_eq!(counts(streams, &one).await, status(2, 0, 0, 0));
    assert_eq!(counts(streams, &two).await, status(2, 2, 0, 0));
    let claimed = streams.claim(&two, 9).await.unwrap();
    assert_eq!(bodies(&claimed), ["a", "b"]);
    streams.acknowledge(&claimed[1]).await.unwrap();
    assert_eq!(counts(streams, &one).await, status(1, 0, 0, 0));
    streams.acknowledge(&claimed[0]).await.unwrap();
    assert_eq!(counts(streams, &one).await, status(0, 0, 0, 0));
}

async fn the_first_group_gets_what_was_there(streams: &dyn Streams) {
    let early = group("early", "worker");
    publish(streams, &early, &["a", "b"]).await;
    streams.declare(&early, LEASE).await.unwrap();
    publish(streams, &early, &["c"]).await;
    assert_eq!(counts(streams, &early).await, status(3, 3, 0, 0));
    let claimed = streams.claim(&early, 9).await.unwrap();
    assert_eq!(bodies(&claimed), ["a", "b", "c"]);
    streams.acknowledge(&claimed[0]).await.unwrap();
    let late = group("early", "late");
    streams.declare(&late, LEASE).await.unwrap();
    streams.declare(&late, LEASE).await.unwrap();
    assert_eq!(bodies(&streams.claim(&late, 9).await.unwrap()), ["b", "c"]);
    assert!(streams.groups().await.unwrap().contains(&late));
}

async fn retries_wait_and_nothing_waits_for_them(streams: &dyn Streams) {
    let group = declared(streams, "backoff", LEASE).await;
    publish(streams, &group, &["a", "b", "c"]).await;
    let start = Instant::now();
    let backoff = Duration::from_millis(800);
    let a = claim_one(streams, &group).await;
    streams.retry(&a, backoff, "not now").await.unwrap();
    let b = claim_one(streams, &group).await;
    streams.retry(&b, backoff / 2, "nor now").await.unwrap();
    let c = claim_one(streams, &group).await;
    assert_eq!([body(&a), body(&b), body(&c)], ["a", "b", "c"]);
    assert!(
        start.elapsed() < backoff / 2,
        "retries blocked what was behind"
    );
    assert_eq!(counts(streams, &group).await, status(3, 0, 3, 0));
    streams.acknowledge(&c).await.unwrap();
    let again = claim_one(streams, &group).await;
    assert_eq!((body(&again), again.attempt), ("b", 2));
    assert!(start.elapsed() >= backoff / 2);
    streams.acknowledge(&again).await.unwrap();
    let again = claim_one(streams, &group).await;
    assert_eq!((body(&again), again.attempt), ("a", 2));
    assert!(start.elapsed() >= backoff);
    streams
        .retry(&again, Duration::ZERO, "once more")
        .await
        .unwrap();
    let again = claim_one(streams, &group).await;
    assert_eq!((body(&again), again.attempt), ("a", 3));
    streams.acknowledge(&again).await.unwrap();
}

async fn a_lease_that_runs_out_is_lost(streams: &dyn Streams) {
    let group = declared(streams, "lost", LEASE_SHORT).await;
    publish(streams, &group, &["a"]).await;
    let start = Instant::now();
    let late = claim_one(streams, &group).await;
    let taken = claim_one(streams, &group).await;
    assert!(start.elapsed() >= LEASE_SHORT);
    assert_eq!((&taken.entry, taken.attempt), (&late.entry, 2));
    is_lost(streams.extend(&late).await);
    is_lost(streams.acknowledge(&late).await);
    is_lost(streams.retry(&late, Duration::ZERO, "late").await);
    is_lost(streams.release(&late).await);
    is_lost(streams.dead_letter(&late, "late").await);
    streams.acknowledge(&taken).await.unwrap();
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 0));
}

async fn an_extended_lease_lasts(streams: &dyn Streams) {
    let group = declared(streams, "extend", LEASE_SHORT).await;
    publish(streams, &group, &["a"]).await;
    let start = Instant::now();
    let held = claim_one(streams, &group).await;
    let extend = async {
        for _ in 0..4 {
            tokio::time::sleep(LEASE_SHORT / 2).await;
            streams.extend(&held).await.unwrap();
        }
    };
    let (again, ()) = tokio::join!(claim_one(streams, &group), extend);
    assert!(start.elapsed() >= LEASE_SHORT * 3, "{:?}", start.elapsed());
    assert_eq!(again.attempt, 2);
    streams.acknowledge(&again).await.unwrap();
}

async fn a_released_attempt_does_not_count(streams: &dyn Streams) {
    let group = declared(streams, "release", LEASE).await;
    publish(streams, &group, &["a", "b"]).await;
    let first = claim_one(streams, &group).await;
    streams.release(&first).await.unwrap();
    assert_eq!(counts(streams, &group).await, status(2, 2, 0, 0));
    let again = claim_one(streams, &group).await;
    assert_eq!((body(&again), again.attempt), ("a", 1));
    streams
        .retry(&again, Duration::ZERO, "again")
        .await
        .unwrap();
    let second = claim_one(streams, &group).await;
    streams.release(&second).await.unwrap();
    let second = claim_one(streams, &group).await;
    assert_eq!((body(&second), second.attempt), ("a", 2));
}

async fn a_settled_delivery_is_settled_once(streams: &dyn Streams) {
    let group = declared(streams, "once", LEASE).await;
    publish(streams, &group, &["a", "b"]).await;
    let (a, b) = (
        claim_one(streams, &group).await,
        claim_one(streams, &group).await,
    );
    streams.acknowledge(&a).await.unwrap();
    is_lost(streams.acknowledge(&a).await);
    is_lost(streams.dead_letter(&a, "twice").await);
    streams.retry(&b, Duration::ZERO, "later").await.unwrap();
    is_lost(streams.retry(&b, Duration::ZERO, "twice").await);
    is_lost(streams.acknowledge(&b).await);
    assert_eq!(counts(streams, &group).await, status(1, 0, 1, 0));
}

async fn dead_letters_keep_their_message_and_come_back(streams: &dyn Streams) {
    let group = declared(streams, "dead", LEASE).await;
    let entries = publish(streams, &group, &["a", "b", "c"]).await;
    for delivery in streams.claim(&group, 9).await.unwrap() {
        streams
            .retry(&delivery, Duration::ZERO, "first")
            .await
            .unwrap();
    }
    let long = "\u{e9}".repeat(10_000);
    for delivery in streams.claim(&group, 9).await.unwrap() {
        streams.dead_letter(&delivery, &long).await.unwrap();
    }
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 3));
    let dead = streams.dead(&group, 2).await.unwrap();
    assert_eq!(dead.len(), 2);
    assert_eq!((&dead[0].entry, dead[0].attempts), (&entries[0], 2));
    assert_eq!(dead[0].message, message("dead", "a"));
    assert!(long.starts_with(&dead[0].reason) && !dead[0].reason.is_empty());
    assert!(dead[0].published_at <= dead[0].died_at);

    assert_eq!(streams.redrive(&group, Some(&entries[1])).await.unwrap(), 1);
    assert_eq!(counts(streams, &group).await, status(1, 1, 0, 2));
    let back = claim_one(streams, &group).await;
    assert_eq!(
        (&back.entry, back.attempt, body(&back)),
        (&entries[1], 1, "b")
    );
    streams.acknowledge(&back).await.unwrap();
    for unknown in [&entries[1], &EntryId::new("nonsense")] {
        let error = streams.redrive(&group, Some(unknown)).await.unwrap_err();
        assert!(
            matches!(error, StreamError::UnknownEntry { .. }),
            "{error:?}"
        );
    }
    assert_eq!(streams.redrive(&group, None).await.unwrap(), 2);
    assert_eq!(streams.redrive(&group, None).await.unwrap(), 0);
    let back = streams.claim(&group, 9).await.unwrap();
    assert_eq!((bodies(&back), back[0].attempt), (vec!["a", "c"], 1));
    assert_eq!(counts(streams, &group).await, status(2, 0, 2, 0));
}

async fn a_dead_letter_of_one_group_is_anothers_message(streams: &dyn Streams) {
    let one = declared(streams, "dead-two", LEASE).await;
    let two = group("dead-two", "other");
    streams.declare(&two, LEASE).await.unwrap();
    publish(streams, &one, &["a"]).await;
    streams
        .dead_letter(&claim_one(streams, &one).await, "poison")
        .await
        .unwrap();
    assert_eq!(counts(streams, &one).await, status(1, 0, 0, 1));
    assert_eq!(streams.redrive(&one, None).await.unwrap(), 1);
    streams
        .dead_letter(&claim_one(streams, &one).await, "poison")
        .await
        .unwrap();
    streams
        .acknowledge(&claim_one(streams, &two).await)
        .await
        .unwrap();
    assert_eq!(streams.redrive(&one, None).await.unwrap(), 1);
    assert_eq!(
        counts(streams, &two).await,
        status(1, 0, 0, 0),
        "the other group is done with it"
    );
    streams
        .acknowledge(&claim_one(streams, &one).await)
        .await
        .unwrap();
    assert_eq!(counts(streams, &one).await, status(0, 0, 0, 0));
}

async fn a_full_subject_refuses_and_recovers(streams: &dyn Streams) {
    let group = declared(streams, "full", LEASE).await;
    streams.limit(&group.subject, 3).await.unwrap();
    let published = join_all((0..9).map(|_| streams.publish(message("full", "x")))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = published.into_iter().partition(Result::is_ok);
    assert_eq!(
        (accepted.len(), refused.len()),
        (3, 6),
        "neighbours are not undone"
    );
    for error in refused {
        assert!(
            matches!(error, Err(StreamError::Full { length_max: 3, .. })),
            "{error:?}"
        );
    }
    let claimed = streams.claim(&group, 9).await.unwrap();
    streams.publish(message("full", "y")).await.unwrap_err();
    streams.acknowledge(&claimed[0]).await.unwrap();
    streams.publish(message("full", "y")).await.unwrap();
    streams.dead_letter(&claimed[1], "dead").await.unwrap();
    streams.publish(message("full", "z")).await.unwrap();
    streams.redrive(&group, None).await.unwrap();
    assert_eq!(
        counts(streams, &group).await.length,
        4,
        "what was accepted once is not refused"
    );
    streams.publish(message("full", "z")).await.unwrap_err();
    streams.limit(&group.subject, 5).await.unwrap();
    streams.publish(message("full", "z")).await.unwrap();
}

async fn a_message_may_be_so_large(streams: &dyn Streams) {
    let group = declared(streams, "large", LEASE).await;
    let large = "x".repeat(MESSAGE_BYTES_MAX);
    publish(streams, &group, &[&large]).await;
    assert_eq!(body(&claim_one(streams, &group).await), large);
    let headers = vec![("k".to_owned(), String::new())];
    let larger = Message {
        headers,
        ..message("large", &large)
    };
    let error = streams.publish(larger).await.unwrap_err();
    assert!(matches!(error, StreamError::TooLarge { .. }), "{error:?}");
}

async fn a_waiting_claim_is_woken(streams: &dyn Streams) {
    let group = declared(streams, "wake", LEASE).await;
    let (claimed, _) = tokio::join!(claim_one(streams, &group), publish(streams, &group, &["a"]));
    let release = async { streams.release(&claimed).await.unwrap() };
    let (claimed, ()) = tokio::join!(claim_one(streams, &group), release);
    let after = Duration::from_millis(100);
    let retry = async {
        streams
            .retry(&claimed, after, "sooner than the lease")
            .await
            .unwrap()
    };
    let (claimed, ()) = tokio::join!(claim_one(streams, &group), retry);
    streams.dead_letter(&claimed, "dead").await.unwrap();
    let redrive = async { streams.redrive(&group, None).await.unwrap() };
    let (claimed, _) = tokio::join!(claim_one(streams, &group), redrive);
    assert_eq!((body(&claimed), claimed.attempt), ("a", 1));
}

async fn a_cancelled_claim_leaves_nothing_leased(streams: &dyn Streams) {
    let group = declared(streams, "cancel", LEASE).await;
    publish(streams, &group, &["a", "b", "c"]).await;
    for _ in 0..20 {
        let mut claim = streams.claim(&group, 2);
        let _ = futures::poll!(&mut claim);
        drop(claim);
    }
    for round in 0..20 {
        // Cancelled at another moment each time: also after the claim was made, before it is taken.
        let mut claim = streams.claim(&group, 2);
        for _ in 0..round {
            if let std::task::Poll::Ready(claimed) = futures::poll!(&mut claim) {
                for delivery in claimed.unwrap() {
                    streams.release(&delivery).await.unwrap();
                }
                break;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        drop(claim);
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let delivery = claim_one(streams, &group).await;
        assert_eq!(delivery.attempt, 1);
        seen.insert(body(&delivery).to_owned());
        streams.acknowledge(&delivery).await.unwrap();
    }
}

async fn concurrent_claims_share_the_work(streams: &dyn Streams) {
    let group = declared(streams, "share", LEASE).await;
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    join_all(
        names
            .iter()
            .map(|name| streams.publish(message("share", name))),
    )
    .await;
    let work = async || {
        let mut done = Vec::new();
        for _ in 0..10 {
            for delivery in streams.claim(&group, 5).await.unwrap() {
                streams.acknowledge(&delivery).await.unwrap();
                done.push(body(&delivery).to_owned());
            }
        }
        done
    };
    let done = join_all((0..4).map(|_| work())).await.concat();
    assert_eq!(done.len(), 200);
    assert_eq!(
        done.into_iter().collect::<BTreeSet<_>>(),
        names.into_iter().collect()
    );
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 0));
}

async fn an_unknown_group_is_refused(streams: &dyn Streams) {
    let nobody = group("nobody", "nobody");
    let unknown = |result: Result<(), StreamError>| {
        assert!(
            matches!(result, Err(StreamError::UnknownGroup { .. })),
            "{result:?}"
        );
    };
    unknown(streams.claim(&nobody, 1).await.map(drop));
    unknown(streams.status(&nobody).await.map(drop));
    unknown(streams.dead(&nobody, 1).await.map(drop));
    unknown(streams.redrive(&nobody, None).await.map(drop));
    streams.forget(&nobody).await.unwrap();
}

async fn a_forgotten_group_owes_nothing(streams: &dyn Streams) {
    let one = declared(streams, "forget", LEASE).await;
    let two = group("forget", "other");
    streams.declare(&two, LEASE).await.unwrap();
    let entries = publish(streams, &one, &["a", "b", "c", "d"]).await;
    for delivery in streams.claim(&two, 2).await.unwrap() {
        streams.acknowledge(&delivery).await.unwrap();
    }
    let claimed = streams.claim(&one, 2).await.unwrap();
    streams.dead_letter(&claimed[0], "dead").await.unwrap();
    streams.forget(&one).await.unwrap();
    assert_eq!(counts(streams, &two).await, status(2, 2, 0, 0));
    streams.acknowledge(&claimed[1]).await.unwrap_err();
    assert!(!streams.groups().await.unwrap().contains(&one));
    streams.declare(&one, LEASE).await.unwrap();
    assert_eq!(counts(streams, &one).await, status(2, 2, 0, 0));
    streams.forget(&one).await.unwrap();
    streams.forget(&two).await.unwrap();
    streams.declare(&one, LEASE).await.unwrap();
    assert_eq!(counts(streams, &one).await, status(0, 0, 0, 0));
    let next = publish(streams, &one, &["e"]).await;
    assert!(
        !entries.contains(&next[0]),
        "an entry's name is never used again"
    );
}

/// Runs against a backend that `open` opens anew each time, over the same medium.
pub(crate) async fn survives_a_crash(open: impl AsyncFn() -> Box<dyn Streams>) {
    let streams = open().await;
    let group = declared(&*streams, "crash", LEASE_SHORT).await;
    let names = [
        "acknowledged",
        "claimed",
        "retried",
        "released",
        "dead",
        "untouched",
    ];
    let entries = publish(&*streams, &group, &names).await;
    let claimed = streams.claim(&group, 5).await.unwrap();
    streams.acknowledge(&claimed[0]).await.unwrap();
    streams
        .retry(&claimed[2], Duration::ZERO, "later")
        .await
        .unwrap();
    streams.release(&claimed[3]).await.unwrap();
    streams.dead_letter(&claimed[4], "poison").await.unwrap();
    drop(streams);

    let streams = open().await;
    assert_eq!(
        streams.groups().await.unwrap(),
        std::slice::from_ref(&group)
    );
    streams.declare(&group, LEASE_SHORT).await.unwrap();
    is_lost(streams.acknowledge(&claimed[2]).await);
    assert_eq!(counts(&*streams, &group).await, status(4, 2, 2, 1));
    let mut found = Vec::new();
    while found.len() < 4 {
        for delivery in streams.claim(&group, 9).await.unwrap() {
            streams.acknowledge(&delivery).await.unwrap();
            found.push((body(&delivery).to_owned(), delivery.attempt));
        }
    }
    found.sort();
    let expected = [
        ("claimed", 2),
        ("released", 1),
        ("retried", 2),
        ("untouched", 1),
    ];
    assert_eq!(
        found,
        expected.map(|(name, attempt)| (name.to_owned(), attempt))
    );
    let dead = streams.dead(&group, 9).await.unwrap();
    assert_eq!(
        (dead.len(), &dead[0].entry, &*dead[0].reason),
        (1, &entries[4], "poison")
    );
    let next = publish(&*streams, &group, &["next"]).await;
    assert!(
        !entries.contains(&next[0]),
        "an entry's name is never used again"
    );
}
