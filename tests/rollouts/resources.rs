//! A thousand swaps leave nothing behind: memory, descriptors and threads stay where they were.

use std::time::{Duration, Instant};

use crate::harness::held::Held;
use crate::harness::{Host, Launch, Manifest, Operator, Swap};

/// Swaps that are made in any case, and the most.
const SWAPS: std::ops::RangeInclusive<u32> = 200..=1000;

/// Beyond the first [`SWAPS`], as many are made as fit into this.
const FOR: Duration = Duration::from_secs(20);

/// Swaps before the first look: caches are filled, pools are grown.
const WARM_UP: u32 = 10;

async fn swap(host: &Host, operator: &Operator, n: u32) {
    let name = n.to_string();
    operator.swapped("hello", Swap::to_revision(&name)).await;
    let reply = host.client().get("/env?name=REVISION").await;
    assert_eq!(reply.expect(200).text(), name);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn after_many_swaps_the_host_holds_what_it_held_after_ten() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    let operator = Operator::of(&host);
    for n in 0..WARM_UP {
        swap(&host, &operator, n).await;
    }
    operator.alone("hello").await;
    let before = Held::by(host.pid());
    let (began, mut swaps) = (Instant::now(), 0);
    while swaps < *SWAPS.start() || (swaps < *SWAPS.end() && began.elapsed() < FOR) {
        swap(&host, &operator, WARM_UP + swaps).await;
        swaps += 1;
    }
    operator.alone("hello").await;
    let after = Held::by(host.pid());
    let what = format!("after {swaps} swaps {after:?}, before {before:?}");
    eprintln!("{what}, in {:?}", began.elapsed());
    assert!(after.resident_kib <= before.resident_kib * 1.1, "{what}");
    // The pool of blocking threads and the connections of this test come and go.
    assert!(after.descriptors <= before.descriptors + 8, "{what}");
    assert!(after.threads <= before.threads + 8, "{what}");
}
