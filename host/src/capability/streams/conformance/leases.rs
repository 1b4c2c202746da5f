//! Who holds a delivery, until when, and when it comes again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::super::Streams;
use super::{
    LEASE, LEASE_SHORT, body, claim_one, counts, declared, is_lost, message, publish, status,
};

pub(super) async fn retries_wait_and_nothing_waits_for_them(streams: &dyn Streams) {
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

pub(super) async fn a_lease_that_runs_out_is_lost(streams: &dyn Streams) {
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

pub(super) async fn an_extended_lease_lasts(streams: &dyn Streams) {
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

pub(super) async fn a_released_attempt_does_not_count(streams: &dyn Streams) {
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

pub(super) async fn a_settled_delivery_is_settled_once(streams: &dyn Streams) {
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

pub(super) async fn a_waiting_claim_is_woken(streams: &dyn Streams) {
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

pub(super) async fn a_cancelled_claim_leaves_nothing_leased(streams: &dyn Streams) {
    let group = declared(streams, "cancel", LEASE).await;
    publish(streams, &group, &["a", "b", "c"]).await;
    // Cancelled at another moment each time: also after the claim was made, before it is taken. What is
    // taken nonetheless, since the claim was quick or this thread slow, is given back.
    for polls in (0..20).map(|_| 1).chain(0..20) {
        let mut claim = streams.claim(&group, 2);
        for poll in 0..polls {
            if poll > 0 {
                std::thread::sleep(Duration::from_micros(500));
            }
            if let std::task::Poll::Ready(claimed) = futures::poll!(&mut claim) {
                for delivery in claimed.unwrap() {
                    streams.release(&delivery).await.unwrap();
                }
                break;
            }
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

pub(super) async fn concurrent_claims_share_the_work(streams: &dyn Streams) {
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
