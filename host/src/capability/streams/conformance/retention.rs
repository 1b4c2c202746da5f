//! What a subject holds, for how long, and what happens to messages that are given up.

use std::time::Duration;

use futures::future::join_all;

use super::super::{EntryId, MESSAGE_BYTES_MAX, Message, StreamError, Streams};
use super::{LEASE, bodies, body, claim_one, counts, declared, group, message, publish, status};

pub(super) async fn dead_letters_keep_their_message_and_come_back(streams: &dyn Streams) {
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

pub(super) async fn a_dead_letter_of_one_group_is_anothers_message(streams: &dyn Streams) {
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

pub(super) async fn a_full_subject_refuses_and_recovers(streams: &dyn Streams) {
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

pub(super) async fn a_message_may_be_so_large(streams: &dyn Streams) {
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

pub(super) async fn an_unknown_group_is_refused(streams: &dyn Streams) {
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

pub(super) async fn a_forgotten_group_owes_nothing(streams: &dyn Streams) {
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

pub(super) async fn the_slowest_group_bounds_a_subject(streams: &dyn Streams) {
    let fast = declared(streams, "bound", LEASE).await;
    let slow = group("bound", "slow");
    streams.declare(&slow, LEASE).await.unwrap();
    streams.limit(&fast.subject, 2).await.unwrap();
    publish(streams, &fast, &["a", "b"]).await;
    for delivery in streams.claim(&fast, 9).await.unwrap() {
        streams.acknowledge(&delivery).await.unwrap();
    }
    let error = streams.publish(message("bound", "c")).await.unwrap_err();
    assert!(matches!(error, StreamError::Full { length_max: 2, .. }));
    let claimed = streams.claim(&slow, 9).await.unwrap();
    streams.acknowledge(&claimed[0]).await.unwrap();
    publish(streams, &fast, &["c"]).await;
    streams.publish(message("bound", "d")).await.unwrap_err();
    streams.forget(&slow).await.unwrap();
    assert_eq!(counts(streams, &fast).await, status(1, 1, 0, 0));
    publish(streams, &fast, &["d"]).await;
}

pub(super) async fn a_later_group_is_not_given_dead_letters(streams: &dyn Streams) {
    let first = declared(streams, "dead-later", LEASE).await;
    publish(streams, &first, &["a", "b", "c"]).await;
    let claimed = streams.claim(&first, 9).await.unwrap();
    streams.dead_letter(&claimed[0], "poison").await.unwrap();
    streams.dead_letter(&claimed[1], "poison").await.unwrap();
    let later = group("dead-later", "later");
    streams.declare(&later, LEASE).await.unwrap();
    assert_eq!(counts(streams, &later).await, status(1, 1, 0, 0));
    let got = claim_one(streams, &later).await;
    assert_eq!(body(&got), "c");
    streams.acknowledge(&got).await.unwrap();
    streams.acknowledge(&claimed[2]).await.unwrap();
    assert_eq!(counts(streams, &later).await, status(0, 0, 0, 0));
    assert_eq!(streams.redrive(&first, None).await.unwrap(), 2);
    assert_eq!(counts(streams, &later).await, status(2, 0, 0, 0));
    assert_eq!(bodies(&streams.claim(&first, 9).await.unwrap()), ["a", "b"]);
}
