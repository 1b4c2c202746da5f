//! What every stream backend promises, as tests that any of them runs. Each one uses a subject of its
//! own, so that they share a backend. Times are measured with `tokio::time`, so that a backend whose
//! clock that is runs them paused.

mod leases;
mod looking;
mod order;
pub(crate) mod patterns;
mod retention;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Delivery, EntryId, Group, GroupStatus, Message, StreamError, Streams};

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
        waiting: 0,
        ..streams.status(group).await.unwrap()
    }
}

fn status(length: u64, lag: u64, pending: u64, dead: u64) -> GroupStatus {
    GroupStatus {
        length,
        lag,
        pending,
        waiting: 0,
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
    order::every_group_gets_the_order_of_publication(streams).await;
    order::what_comes_again_comes_before_what_is_new(streams).await;
    order::everything_whose_lease_ran_out_comes_again_once(streams).await;
    leases::retries_wait_and_nothing_waits_for_them(streams).await;
    leases::a_lease_that_runs_out_is_lost(streams).await;
    leases::an_extended_lease_lasts(streams).await;
    leases::a_released_attempt_does_not_count(streams).await;
    leases::a_settled_delivery_is_settled_once(streams).await;
    retention::dead_letters_keep_their_message_and_come_back(streams).await;
    retention::a_dead_letter_of_one_group_is_anothers_message(streams).await;
    retention::a_full_subject_refuses_and_recovers(streams).await;
    retention::a_message_may_be_so_large(streams).await;
    leases::a_waiting_claim_is_woken(streams).await;
    leases::a_cancelled_claim_leaves_nothing_leased(streams).await;
    leases::concurrent_claims_share_the_work(streams).await;
    retention::an_unknown_group_is_refused(streams).await;
    retention::a_forgotten_group_owes_nothing(streams).await;
    retention::the_slowest_group_bounds_a_subject(streams).await;
    retention::a_later_group_is_not_given_dead_letters(streams).await;
    looking::what_a_subject_holds_can_be_looked_at(streams).await;
    looking::subjects_are_listed_with_their_length(streams).await;
    looking::what_waits_for_another_attempt_is_counted(streams).await;
    looking::dead_letters_can_be_seen_in_any_number(streams).await;
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
