//! Subscriptions by pattern, over any backend.

use std::sync::Arc;

use super::super::{PATTERN_SUBJECTS_MAX, PatternStreams};
use super::*;
use crate::manifest::model::Wildcard;

fn wildcard(pattern: &str) -> Wildcard {
    Wildcard {
        pattern: pattern.parse().unwrap(),
        component: "watcher".parse().unwrap(),
    }
}

/// Whoever subscribes by pattern gets the first message of a subject that appears, even though others
/// settle it before he is told of it.
pub(crate) async fn a_new_subject_is_owned_from_its_first_message(backend: Arc<dyn Streams>) {
    let streams = PatternStreams::new(backend.clone());
    streams.set(&[wildcard("news.*"), wildcard("news.sport")]);
    // Another group has the subject first, and is quick.
    let quick = group("news.sport", "quick");
    streams.declare(&quick, LEASE).await.unwrap();
    streams.publish(message("news.sport", "1")).await.unwrap();
    let taken = claim_one(&*streams, &quick).await;
    streams.acknowledge(&taken).await.unwrap();
    streams.appeared().await;
    let matching = streams.matching().await.unwrap();
    assert_eq!(matching, ["news.sport".parse().unwrap()]);
    let owned = claim_one(&*streams, &group("news.sport", "watcher")).await;
    assert_eq!(body(&owned), "1");

    // Nobody makes groups of what no pattern matches.
    streams.publish(message("news", "2")).await.unwrap();
    streams.publish(message("news.a.b", "3")).await.unwrap();
    let groups = streams.groups().await.unwrap();
    let watched = groups
        .iter()
        .filter(|group| group.name.as_str() == "watcher");
    assert_eq!(watched.count(), 1);

    // What is forgotten is made anew by the next message.
    let watcher = group("news.sport", "watcher");
    streams.forget(&watcher).await.unwrap();
    streams.publish(message("news.sport", "4")).await.unwrap();
    assert_eq!(body(&claim_one(&*streams, &watcher).await), "4");
}

/// Past the limit a new subject is refused, and known ones are not.
pub(crate) async fn patterns_match_so_many_subjects(backend: Arc<dyn Streams>) {
    let streams = PatternStreams::new(backend);
    streams.set(&[wildcard("many.*")]);
    for index in 0..PATTERN_SUBJECTS_MAX {
        streams
            .publish(message(&format!("many.s{index}"), "x"))
            .await
            .unwrap();
    }
    let refused = streams.publish(message("many.more", "x")).await;
    assert!(
        matches!(refused, Err(StreamError::TooManySubjects { .. })),
        "{refused:?}"
    );
    streams.publish(message("many.s0", "x")).await.unwrap();
    streams.publish(message("few", "x")).await.unwrap();
}
