//! In which order messages come, to several groups and again.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::super::{Group, Streams};
use super::{LEASE, LEASE_SHORT, bodies, body, counts, declared, group, publish, status};

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

async fn publish_numbers(streams: &dyn Streams, group: &Group, range: std::ops::Range<usize>) {
    let names = numbers(range);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    publish(streams, group, &names).await;
}

pub(super) async fn every_group_gets_the_order_of_publication(streams: &dyn Streams) {
    const COUNT: usize = 60;
    let first = declared(streams, "several", LEASE).await;
    let (second, third) = (group("several", "second"), group("several", "third"));
    streams.declare(&second, LEASE).await.unwrap();
    publish_numbers(streams, &first, 0..COUNT / 2).await;
    streams.declare(&third, LEASE).await.unwrap();
    // Each in steps of its own, and settled in the wrong order; more comes while they are at it.
    let consume = async |group: Group, step: usize| {
        let mut seen = Vec::new();
        while seen.len() < COUNT {
            let claimed = streams.claim(&group, step).await.unwrap();
            seen.extend(claimed.iter().map(|claimed| body(claimed).to_owned()));
            for delivery in claimed.iter().rev() {
                streams.acknowledge(delivery).await.unwrap();
            }
        }
        seen
    };
    let (one, two, three, ()) = tokio::join!(
        consume(first.clone(), 1),
        consume(second.clone(), 7),
        consume(third.clone(), 100),
        publish_numbers(streams, &first, COUNT / 2..COUNT),
    );
    for seen in [one, two, three] {
        assert_eq!(seen, numbers(0..COUNT));
    }
    for group in [first, second, third] {
        assert_eq!(counts(streams, &group).await, status(0, 0, 0, 0));
    }
}

pub(super) async fn what_comes_again_comes_before_what_is_new(streams: &dyn Streams) {
    let group = declared(streams, "again", LEASE).await;
    publish_numbers(streams, &group, 0..15).await;
    for delivery in streams.claim(&group, 12).await.unwrap() {
        streams.release(&delivery).await.unwrap();
    }
    let claimed = streams.claim(&group, 14).await.unwrap();
    assert_eq!(bodies(&claimed), numbers(0..14));
    assert!(claimed.iter().all(|delivery| delivery.attempt == 1));
}

pub(super) async fn everything_whose_lease_ran_out_comes_again_once(streams: &dyn Streams) {
    let group = declared(streams, "left", LEASE_SHORT).await;
    publish_numbers(streams, &group, 0..8).await;
    assert_eq!(streams.claim(&group, 8).await.unwrap().len(), 8);
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let claims = (0..3).map(|_| async {
            let claimed = streams.claim(&group, 3).await.unwrap();
            for delivery in &claimed {
                streams.acknowledge(delivery).await.unwrap();
            }
            claimed
        });
        let deadline = LEASE_SHORT * 3;
        for claimed in join_all(claims.map(|claim| tokio::time::timeout(deadline, claim))).await {
            seen.extend(claimed.unwrap_or_default());
        }
    }
    assert!(seen.iter().all(|delivery| delivery.attempt == 2));
    let distinct: BTreeSet<&str> = seen.iter().map(body).collect();
    assert_eq!((seen.len(), distinct.len()), (8, 8));
    assert_eq!(counts(streams, &group).await, status(0, 0, 0, 0));
}
