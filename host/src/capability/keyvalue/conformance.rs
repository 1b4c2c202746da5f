//! What every key-value backend promises, as tests that any of them runs. Each one uses stores of its
//! own, so that they share a backend.

use bytes::Bytes;
use futures::future::join_all;

use super::{KEY_BYTES_MAX, KeyValue, KeyValueError, StoreId, VALUE_BYTES_MAX};

fn private(name: &str) -> StoreId {
    StoreId::component(&name.parse().unwrap())
}

/// Runs the whole suite.
pub(crate) async fn every_promise(values: &dyn KeyValue) {
    a_value_is_what_was_set_last(values).await;
    stores_do_not_see_each_other(values).await;
    keys_come_in_order_and_in_pages(values).await;
    counters_count(values).await;
    what_is_no_number_is_not_incremented(values).await;
    concurrent_increments_all_count(values).await;
    a_swap_succeeds_on_what_it_expects_only(values).await;
    of_concurrent_swaps_one_wins(values).await;
    no_change_through_swaps_is_lost(values).await;
    batches_are_whole(values).await;
    limits_hold(values).await;
    a_write_that_nobody_waited_for_is_whole_or_absent(values).await;
}

async fn a_value_is_what_was_set_last(values: &dyn KeyValue) {
    let store = private("last");
    assert_eq!(values.get(&store, "k").await.unwrap(), None);
    assert!(!values.exists(&store, "k").await.unwrap());
    values
        .set(&store, "k", Bytes::from_static(b"1"))
        .await
        .unwrap();
    values
        .set(&store, "k", Bytes::from_static(b"\0\xff"))
        .await
        .unwrap();
    assert_eq!(
        values.get(&store, "k").await.unwrap().unwrap(),
        &b"\0\xff"[..]
    );
    values.set(&store, "empty", Bytes::new()).await.unwrap();
    assert!(values.exists(&store, "empty").await.unwrap());
    values.delete(&store, "k").await.unwrap();
    values.delete(&store, "k").await.unwrap();
    assert_eq!(values.get(&store, "k").await.unwrap(), None);
}

async fn stores_do_not_see_each_other(values: &dyn KeyValue) {
    let (one, two) = (private("same"), StoreId::label(&"same".parse().unwrap()));
    values
        .set(&one, "k", Bytes::from_static(b"one"))
        .await
        .unwrap();
    assert_eq!(values.get(&two, "k").await.unwrap(), None);
    assert_eq!(
        values.keys(&two, None, 10).await.unwrap(),
        Vec::<String>::new()
    );
    values.delete(&two, "k").await.unwrap();
    assert!(values.exists(&one, "k").await.unwrap());
}

async fn keys_come_in_order_and_in_pages(values: &dyn KeyValue) {
    let (store, behind) = (private("pages"), private("pages-behind"));
    let keys = ["", "a", "a/b", "a0", "b", "\u{e9}", "\u{1f600}"];
    for key in keys.iter().rev() {
        values.set(&store, key, Bytes::new()).await.unwrap();
    }
    values.set(&behind, "c", Bytes::new()).await.unwrap();
    assert_eq!(values.keys(&store, None, 100).await.unwrap(), keys);
    assert_eq!(values.keys(&store, None, 2).await.unwrap(), keys[..2]);
    assert_eq!(values.keys(&store, Some("a"), 2).await.unwrap(), keys[2..4]);
    assert_eq!(
        values.keys(&store, Some("a/"), 1).await.unwrap(),
        keys[2..3],
        "between keys"
    );
    assert_eq!(
        values.keys(&store, Some(keys[6]), 9).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        values.keys(&store, None, 0).await.unwrap(),
        Vec::<String>::new()
    );
}

async fn counters_count(values: &dyn KeyValue) {
    let store = private("counters");
    assert_eq!(values.increment(&store, "n", 0).await.unwrap(), 0);
    assert!(
        !values.exists(&store, "n").await.unwrap(),
        "reading does not create"
    );
    assert_eq!(values.increment(&store, "n", 5).await.unwrap(), 5);
    assert_eq!(values.increment(&store, "n", -7).await.unwrap(), -2);
    assert_eq!(values.get(&store, "n").await.unwrap().unwrap(), &b"-2"[..]);
    values
        .set(&store, "n", Bytes::from(i64::MAX.to_string()))
        .await
        .unwrap();
    let error = values.increment(&store, "n", 1).await.unwrap_err();
    assert!(matches!(error, KeyValueError::Overflow { .. }), "{error:?}");
    assert_eq!(values.increment(&store, "n", 0).await.unwrap(), i64::MAX);
}

async fn what_is_no_number_is_not_incremented(values: &dyn KeyValue) {
    let store = private("words");
    for word in [
        "",
        "one",
        "1.5",
        "9223372036854775808",
        " 1",
        "+1",
        "01",
        "-0",
    ] {
        values.set(&store, "k", Bytes::from(word)).await.unwrap();
        for delta in [0, 1] {
            let error = values.increment(&store, "k", delta).await.unwrap_err();
            assert!(
                matches!(error, KeyValueError::NotANumber { .. }),
                "{word:?}: {error:?}"
            );
        }
        assert_eq!(values.get(&store, "k").await.unwrap().unwrap(), word);
    }
}

async fn concurrent_increments_all_count(values: &dyn KeyValue) {
    let store = private("concurrent");
    let sums = join_all((0..200).map(|_| values.increment(&store, "n", 1))).await;
    let mut sums: Vec<i64> = sums.into_iter().map(Result::unwrap).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).collect::<Vec<_>>());
}

async fn a_swap_succeeds_on_what_it_expects_only(values: &dyn KeyValue) {
    let store = private("swap");
    let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
    let swap = |expected: Option<&Bytes>, new: &Bytes| {
        values.swap(&store, "k", expected.cloned(), new.clone())
    };
    assert_eq!(swap(Some(&a), &b).await.unwrap(), Err(None));
    assert_eq!(swap(None, &a).await.unwrap(), Ok(()));
    assert_eq!(swap(None, &b).await.unwrap(), Err(Some(a.clone())));
    assert_eq!(swap(Some(&b), &b).await.unwrap(), Err(Some(a.clone())));
    assert_eq!(swap(Some(&a), &b).await.unwrap(), Ok(()));
    assert_eq!(values.get(&store, "k").await.unwrap(), Some(b));
}

async fn of_concurrent_swaps_one_wins(values: &dyn KeyValue) {
    let store = private("race");
    let swaps = (0..50).map(|n| values.swap(&store, "k", None, Bytes::from(n.to_string())));
    let won: Vec<usize> = join_all(swaps)
        .await
        .into_iter()
        .enumerate()
        .filter_map(|(n, swapped)| swapped.unwrap().is_ok().then_some(n))
        .collect();
    assert_eq!(won.len(), 1);
    assert_eq!(
        values.get(&store, "k").await.unwrap().unwrap(),
        won[0].to_string()
    );
}

async fn no_change_through_swaps_is_lost(values: &dyn KeyValue) {
    let store = private("counted-by-swaps");
    let count = async || {
        for _ in 0..10 {
            let mut found = values.get(&store, "n").await.unwrap();
            loop {
                let next = number_in(found.as_ref()) + 1;
                let next = Bytes::from(next.to_string());
                match values.swap(&store, "n", found, next).await.unwrap() {
                    Ok(()) => break,
                    Err(other) => found = other,
                }
            }
        }
    };
    join_all((0..20).map(|_| count())).await;
    assert_eq!(values.increment(&store, "n", 0).await.unwrap(), 200);
    assert_eq!(values.keys(&store, None, 9).await.unwrap(), ["n"]);
}

fn number_in(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| {
        std::str::from_utf8(value).unwrap().parse().unwrap()
    })
}

async fn batches_are_whole(values: &dyn KeyValue) {
    let store = private("batches");
    let keys: Vec<String> = ["a", "missing", "b", "a"].map(str::to_owned).into();
    let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
    let entries = vec![
        ("a".into(), two.clone()),
        ("b".into(), two.clone()),
        ("a".into(), one.clone()),
    ];
    values.set_many(&store, entries).await.unwrap();
    let found = values.get_many(&store, &keys).await.unwrap();
    assert_eq!(
        found,
        [Some(one.clone()), None, Some(two), Some(one.clone())]
    );
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let entries = vec![("c".to_owned(), one), (long, Bytes::new())];
    values.set_many(&store, entries).await.unwrap_err();
    assert!(!values.exists(&store, "c").await.unwrap(), "all or none");
    values.delete_many(&store, &keys).await.unwrap();
    assert_eq!(
        values.keys(&store, None, 9).await.unwrap(),
        Vec::<String>::new()
    );
    values.set_many(&store, Vec::new()).await.unwrap();
    assert_eq!(values.get_many(&store, &[]).await.unwrap(), Vec::new());
}

async fn limits_hold(values: &dyn KeyValue) {
    let store = private("limits");
    let key = "k".repeat(KEY_BYTES_MAX);
    let value = Bytes::from(vec![7; VALUE_BYTES_MAX]);
    values.set(&store, &key, value.clone()).await.unwrap();
    assert_eq!(values.get(&store, &key).await.unwrap(), Some(value.clone()));
    let too_large = |result: Result<(), KeyValueError>| {
        assert!(
            matches!(result, Err(KeyValueError::TooLarge { .. })),
            "{result:?}"
        );
    };
    let long = format!("{key}k");
    too_large(values.set(&store, &long, Bytes::new()).await);
    too_large(values.get(&store, &long).await.map(drop));
    too_large(values.delete(&store, &long).await);
    too_large(values.increment(&store, &long, 1).await.map(drop));
    too_large(
        values
            .set(&store, "v", Bytes::from(vec![7; VALUE_BYTES_MAX + 1]))
            .await,
    );
    let batch = (0..5).map(|n| (n.to_string(), value.clone())).collect();
    too_large(values.set_many(&store, batch).await);
    assert_eq!(values.keys(&store, None, 9).await.unwrap(), [key]);
}

async fn a_write_that_nobody_waited_for_is_whole_or_absent(values: &dyn KeyValue) {
    let store = private("cancelled");
    for n in 0..20 {
        let (a, b) = (format!("{n}/a"), format!("{n}/b"));
        let entries = [&a, &b].map(|key| (key.clone(), Bytes::from_static(b"x")));
        let mut write = values.set_many(&store, entries.into());
        let _ = futures::poll!(&mut write);
        drop(write);
        values.set(&store, "after", Bytes::new()).await.unwrap();
        let found = values.get_many(&store, &[a, b]).await.unwrap();
        assert_eq!(found[0], found[1]);
    }
}

/// Runs against a backend that `open` opens anew each time, over the same medium.
pub(crate) async fn survives_reopening(open: impl AsyncFn() -> Box<dyn KeyValue>) {
    let store = private("kept");
    let values = open().await;
    values
        .set(&store, "k", Bytes::from_static(b"v"))
        .await
        .unwrap();
    values.increment(&store, "n", 3).await.unwrap();
    drop(values);
    let values = open().await;
    assert_eq!(values.get(&store, "k").await.unwrap().unwrap(), &b"v"[..]);
    assert_eq!(values.increment(&store, "n", 1).await.unwrap(), 4);
}
