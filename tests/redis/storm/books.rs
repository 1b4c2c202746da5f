//! What is published in a storm, and what the ledger must say of it in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::dice::Dice;
use crate::harness::Client;

/// Few enough that bookings on one account collide, many enough that most do not.
const ACCOUNTS: u64 = 16;

/// What a message does to its handler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Plain,
    /// It fails the first time that it is seen.
    Flaky,
    /// It always fails.
    Poison,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Posting {
    pub id: u64,
    pub kind: Kind,
    account: u64,
    amount: u64,
    /// How long its handler works.
    work_ms: u64,
}

impl fmt::Display for Posting {
    /// As the fixture `ledger` reads it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Plain => "plain",
            Kind::Flaky => "flaky",
            Kind::Poison => "poison",
        };
        let Self {
            id,
            account,
            amount,
            work_ms,
            ..
        } = self;
        write!(out, "{kind} {id} {account} {amount} {work_ms}")
    }
}

/// So many messages: one in forty is poison, one in ten fails once, one in twenty takes long.
pub fn postings(count: u64, dice: &mut Dice) -> Vec<Posting> {
    let posting = |id| {
        let kind = match dice.within(0..40) {
            0 => Kind::Poison,
            1..=4 => Kind::Flaky,
            _ => Kind::Plain,
        };
        let work_ms = match dice.within(0..20) {
            // Poison does so thirty times.
            0 if kind != Kind::Poison => dice.within(200..800),
            _ => dice.within(0..20),
        };
        Posting {
            id,
            kind,
            account: dice.within(0..ACCOUNTS),
            amount: dice.within(1..1000),
            work_ms,
        }
    };
    (0..count).map(posting).collect()
}

/// The ids of those that must end as dead letters.
pub fn poison(postings: &[Posting]) -> BTreeSet<u64> {
    let poison = postings.iter().filter(|each| each.kind == Kind::Poison);
    poison.map(|each| each.id).collect()
}

/// Asserts that every message was delivered at least once; how many deliveries there were.
pub async fn assert_all_seen(client: &Client, count: u64) -> u64 {
    let mut deliveries = 0;
    for from in (0..count).step_by(500) {
        let to = count.min(from + 500);
        let path = format!("/seen?from={from}&to={to}");
        let text = client.get(&path).await.expect(200).text();
        let seen: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        assert_eq!(seen.len() as u64, to - from);
        let lost: Vec<u64> = (from..)
            .zip(&seen)
            .filter_map(|(id, seen)| (*seen == 0).then_some(id))
            .collect();
        assert!(lost.is_empty(), "never delivered: {lost:?}");
        deliveries += seen.iter().sum::<u64>();
    }
    deliveries
}

/// Asserts that the accounts hold every message's booking once, and nothing else.
pub async fn assert_booked_once(client: &Client, postings: &[Posting]) {
    let mut wanted: BTreeMap<u64, (u64, Vec<u64>)> = BTreeMap::new();
    for posting in postings.iter().filter(|each| each.kind != Kind::Poison) {
        let (total, ids) = wanted.entry(posting.account).or_default();
        *total += posting.amount;
        ids.push(posting.id);
    }
    for account in 0..ACCOUNTS {
        let path = format!("/account?name={account}");
        let text = client.get(&path).await.expect(200).text();
        let (total, ids) = text.split_once(' ').unwrap_or(("0", ""));
        let words = ids.split_whitespace();
        let mut ids: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        ids.sort_unstable();
        let (wanted_total, wanted_ids) = wanted.remove(&account).unwrap_or_default();
        let doubled: Vec<&[u64]> = ids.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(doubled.is_empty(), "booked twice: {doubled:?}");
        let lost: Vec<&u64> = wanted_ids.iter().filter(|id| !ids.contains(id)).collect();
        assert!(lost.is_empty(), "never booked on {account}: {lost:?}");
        assert_eq!(ids, wanted_ids, "on {account}");
        assert_eq!(total, wanted_total.to_string(), "on {account}");
    }
}
