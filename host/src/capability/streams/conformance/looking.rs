//! What can be seen of a subject without being delivered anything.

use std::time::Duration;

use super::super::{EntryId, Streams};
use super::{LEASE, bodies, counts, declared, message, publish, status};

pub(super) async fn what_a_subject_holds_can_be_looked_at(streams: &dyn Streams) {
    let group = declared(streams, "peek", LEASE).await;
    let peek = async |after: Option<&EntryId>, limit| {
        let seen = streams.peek(&group.subject, after, limit).await.unwrap();
        let body = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let seen = seen.iter().map(|entry| body(&entry.message.body));
        seen.collect::<Vec<_>>()
    };
    assert!(peek(None, 9).await.is_empty());
    let entries = publish(streams, &group, &["a", "b", "c", "d"]).await;
    let seen = streams.peek(&group.subject, None, 1).await.unwrap();
    assert_eq!(seen[0].entry, entries[0]);
    assert_eq!(seen[0].message, message("peek", "a"));
    assert_eq!(peek(None, 3).await, ["a", "b", "c"]);
    assert_eq!(peek(Some(&entries[1]), 9).await, ["c", "d"]);
    assert!(peek(Some(&entries[3]), 9).await.is_empty());
    assert_eq!(peek(Some(&EntryId::new("nonsense")), 1).await, ["a"]);
    assert!(peek(None, 0).await.is_empty());
    assert_eq!(counts(streams, &group).await, status(4, 4, 0, 0));
    let claimed = streams.claim(&group, 3).await.unwrap();
    streams.acknowledge(&claimed[0]).await.unwrap();
    streams.dead_letter(&claimed[1], "poison").await.unwrap();
    assert_eq!(peek(None, 9).await, ["c", "d"], "what is leased is held");
    streams.redrive(&group, None).await.unwrap();
    assert_eq!(peek(None, 9).await, ["b", "c", "d"]);
}

pub(super) async fn subjects_are_listed_with_their_length(streams: &dyn Streams) {
    let length = async |name: &str| {
        let subjects = streams.subjects().await.unwrap();
        let mut found = subjects.into_iter();
        let found = found.find(|(subject, _)| subject.as_str() == name);
        found.map(|(_, length)| length)
    };
    assert_eq!(length("listed.without").await, None);
    streams
        .publish(message("listed.without", "a"))
        .await
        .unwrap();
    assert_eq!(length("listed.without").await, Some(1));
    let group = declared(streams, "listed", LEASE).await;
    assert_eq!(length("listed").await, Some(0));
    publish(streams, &group, &["a", "b", "c"]).await;
    let claimed = streams.claim(&group, 2).await.unwrap();
    assert_eq!(length("listed").await, Some(3));
    streams.acknowledge(&claimed[0]).await.unwrap();
    streams.dead_letter(&claimed[1], "poison").await.unwrap();
    assert_eq!(length("listed").await, Some(1));
    streams.forget(&group).await.unwrap();
    assert_eq!(length("listed").await, Some(0));
}

pub(super) async fn what_waits_for_another_attempt_is_counted(streams: &dyn Streams) {
    let group = declared(streams, "waiting", LEASE).await;
    publish(streams, &group, &["a", "b", "c", "d"]).await;
    let claimed = streams.claim(&group, 3).await.unwrap();
    let long = Duration::from_secs(600);
    streams.retry(&claimed[0], long, "not now").await.unwrap();
    streams.release(&claimed[1]).await.unwrap();
    let now = async || {
        let status = streams.status(&group).await.unwrap();
        (status.lag, status.pending, status.waiting)
    };
    assert_eq!(now().await, (2, 2, 1), "a waits, c is leased");
    streams
        .retry(&claimed[2], Duration::ZERO, "once more")
        .await
        .unwrap();
    assert_eq!(now().await, (2, 2, 2));
    let claimed = streams.claim(&group, 9).await.unwrap();
    assert_eq!(bodies(&claimed), ["b", "c", "d"]);
    assert_eq!(now().await, (0, 4, 1));
    assert!(streams.status(&group).await.unwrap().oldest_age.is_some());
}

pub(super) async fn dead_letters_can_be_seen_in_any_number(streams: &dyn Streams) {
    const COUNT: usize = 230;
    let group = declared(streams, "many-dead", LEASE).await;
    for _ in 0..COUNT {
        streams.publish(message("many-dead", "x")).await.unwrap();
    }
    let claimed = streams.claim(&group, COUNT).await.unwrap();
    let expected: Vec<_> = claimed
        .iter()
        .map(|claimed| claimed.entry.clone())
        .collect();
    for delivery in claimed.iter().rev() {
        streams.dead_letter(delivery, "poison").await.unwrap();
    }
    let shown = streams.dead(&group, COUNT * 2).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|letter| letter.entry).collect();
    assert_eq!(shown, expected, "the oldest entry first");
    assert_eq!(streams.dead(&group, 150).await.unwrap().len(), 150);
    assert!(streams.dead(&group, 0).await.unwrap().is_empty());
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 230));
    assert_eq!(streams.redrive(&group, None).await.unwrap(), 230);
    assert_eq!(counts(streams, &group).await, status(230, 230, 0, 0));
}
