use std::path::Path;

use super::super::conformance;
use super::*;

async fn open(dir: &Path) -> EmbeddedStreams {
    EmbeddedStreams::open(Embedded::open(dir).unwrap())
        .await
        .unwrap()
}

fn group(name: &str) -> Group {
    Group {
        subject: "media.uploaded".parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn message(body: impl Into<bytes::Bytes>) -> Message {
    Message {
        subject: "media.uploaded".parse().unwrap(),
        body: body.into(),
        reply_to: None,
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn the_embedded_store_is_a_stream_store() {
    let dir = tempfile::tempdir().unwrap();
    let streams = open(dir.path()).await;
    let promises = conformance::every_promise(&streams);
    let kept = tokio::time::timeout(Duration::from_secs(120), promises).await;
    kept.expect("a claim waits for what never comes");
}

#[tokio::test]
async fn its_subjects_can_be_subscribed_to_by_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let streams: Arc<dyn Streams> = Arc::new(open(dir.path()).await);
    conformance::patterns::a_new_subject_is_owned_from_its_first_message(streams.clone()).await;
    conformance::patterns::patterns_match_so_many_subjects(streams).await;
}

#[tokio::test]
async fn it_keeps_what_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    conformance::survives_a_crash(async || Box::new(open(dir.path()).await) as _).await;
}

#[tokio::test(start_paused = true)]
async fn long_backoffs_and_leases_are_kept_to_the_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, group) = (open(dir.path()).await, group("converter"));
    let (lease, backoff) = (Duration::from_secs(30), Duration::from_secs(600));
    streams.declare(&group, lease).await.unwrap();
    streams.publish(message("a")).await.unwrap();
    let start = Instant::now();
    let delivery = &streams.claim(&group, 1).await.unwrap()[0];
    tokio::time::advance(Duration::from_secs(20)).await;
    streams.extend(delivery).await.unwrap();
    let again = &streams.claim(&group, 1).await.unwrap()[0];
    assert_eq!(
        start.elapsed().as_secs(),
        50,
        "the lease, from its extension on"
    );
    streams.retry(again, backoff, "later").await.unwrap();
    let last = &streams.claim(&group, 1).await.unwrap()[0];
    assert_eq!((start.elapsed().as_secs(), last.attempt), (650, 3));
}

#[tokio::test]
async fn a_redrive_of_very_many_takes_several_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, group) = (open(dir.path()).await, group("converter"));
    streams
        .declare(&group, Duration::from_secs(600))
        .await
        .unwrap();
    let many = REDRIVE_MAX * 2 + 1;
    futures::future::join_all((0..many).map(|_| streams.publish(message("a")))).await;
    let claimed = streams.claim(&group, many).await.unwrap();
    let dead = claimed
        .iter()
        .map(|delivery| streams.dead_letter(delivery, "poison"));
    futures::future::join_all(dead)
        .await
        .into_iter()
        .for_each(Result::unwrap);
    assert_eq!(streams.redrive(&group, None).await.unwrap(), many as u64);
    assert_eq!(streams.status(&group).await.unwrap().lag, many as u64);
}

#[tokio::test]
async fn after_an_open_a_group_has_to_be_declared() {
    let dir = tempfile::tempdir().unwrap();
    let group = group("converter");
    open(dir.path())
        .await
        .declare(&group, Duration::from_secs(1))
        .await
        .unwrap();
    let streams = open(dir.path()).await;
    let error = streams.claim(&group, 1).await.unwrap_err();
    assert!(
        matches!(error, StreamError::UnknownGroup { .. }),
        "{error:?}"
    );
    assert_eq!(
        streams.status(&group).await.unwrap(),
        GroupStatus::default()
    );
}

#[tokio::test]
async fn a_damaged_entry_is_an_error_and_a_failed_store_too() {
    let dir = tempfile::tempdir().unwrap();
    let (streams, group) = (open(dir.path()).await, group("converter"));
    streams
        .declare(&group, Duration::from_secs(1))
        .await
        .unwrap();
    streams.publish(message("a")).await.unwrap();
    let damage = |transaction: &WriteTransaction| -> Outcome<(), ()> {
        transaction
            .open_table(ENTRIES)?
            .insert(("media.uploaded", 1), &b"short"[..])?;
        Ok(Applied::Changed(()))
    };
    streams.store.write(0, damage).await.unwrap().unwrap();
    let error = streams.claim(&group, 1).await.unwrap_err();
    assert!(matches!(error, StreamError::Backend { .. }), "{error:?}");
    let fail = |_: &WriteTransaction| -> Outcome<(), ()> {
        Err(redb::Error::Corrupted("on purpose".to_owned()).into())
    };
    streams.store.write(0, fail).await.unwrap_err();
    let error = streams.publish(message("b")).await.unwrap_err();
    assert!(matches!(error, StreamError::Backend { .. }), "{error:?}");
}
