//! Callers as threads, the store as one map behind a turnstile that lets exactly one operation of
//! one caller through at a time, in the order that a schedule names. So every interleaving of the
//! first operations is tried, and each is the same every time.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use super::*;
use crate::account::StoreError;

/// The host ends a request then: the deadline of the shipped manifest.
const DEADLINE_MS: u64 = 10_000;
const ADDRESS: &str = "digest";

/// Something that befalls a caller at its nth operation (from 0).
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Nothing does.
    Lives,
    /// Its instance dies: this operation and all that follow do not happen.
    DiesBefore(usize),
    /// So many seconds pass, for everybody.
    StallsBefore(usize, u64),
}

#[derive(Default)]
struct World {
    values: HashMap<String, Vec<u8>>,
    counters: HashMap<String, u64>,
    account_writes: usize,
    now_ms: u64,
    /// Whose turn it is, one entry for each operation; afterwards the callers take turns.
    schedule: Vec<usize>,
    place: usize,
    done: Vec<bool>,
}

impl World {
    fn turn(&self) -> Option<usize> {
        let callers = self.done.len();
        let wanted = self
            .schedule
            .get(self.place)
            .copied()
            .unwrap_or(self.place % callers);
        (0..callers)
            .map(|offset| (wanted + offset) % callers)
            .find(|&caller| !self.done[caller])
    }
}

#[derive(Default)]
struct Turnstile {
    world: Mutex<World>,
    moved: Condvar,
}

impl Turnstile {
    fn pass(&self, caller: usize) -> MutexGuard<'_, World> {
        let world = self.world.lock().unwrap();
        let mut world = self
            .moved
            .wait_while(world, |world| world.turn() != Some(caller))
            .unwrap();
        world.place += 1;
        world.now_ms += 1;
        self.moved.notify_all();
        world
    }

    fn leave(&self, caller: usize) {
        self.world.lock().unwrap().done[caller] = true;
        self.moved.notify_all();
    }
}

/// One caller's view of the world.
struct Caller<'a> {
    turnstile: &'a Turnstile,
    index: usize,
    fate: Fate,
    operations: Cell<usize>,
    started_ms: Cell<Option<u64>>,
}

impl<'a> Caller<'a> {
    fn new(turnstile: &'a Turnstile, index: usize, fate: Fate) -> Self {
        Self {
            turnstile,
            index,
            fate,
            operations: Cell::new(0),
            started_ms: Cell::new(None),
        }
    }
}

impl Caller<'_> {
    fn pass(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        let operation = self.operations.replace(self.operations.get() + 1);
        if matches!(self.fate, Fate::DiesBefore(last) if operation >= last) {
            return Err(StoreError("the caller is dead".to_owned()));
        }
        let mut world = self.turnstile.pass(self.index);
        let started_ms = self.started_ms.get().unwrap_or(world.now_ms);
        self.started_ms.set(Some(started_ms));
        if let Fate::StallsBefore(at, seconds) = self.fate
            && at == operation
        {
            world.now_ms += seconds * 1000;
        }
        if world.now_ms - started_ms > DEADLINE_MS {
            return Err(StoreError("the deadline is over".to_owned()));
        }
        Ok(world)
    }
}

impl Store for Caller<'_> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pass()?.values.get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut world = self.pass()?;
        world.account_writes += usize::from(key.starts_with("user/"));
        world.values.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn increment(&self, key: &str) -> Result<u64, StoreError> {
        let mut world = self.pass()?;
        let counter = world.counters.entry(key.to_owned()).or_default();
        *counter += 1;
        Ok(*counter)
    }

    fn now_ms(&self) -> u64 {
        self.turnstile.world.lock().unwrap().now_ms
    }

    fn pause(&self, duration: Duration) {
        if let Ok(mut world) = self.pass() {
            world.now_ms += u64::try_from(duration.as_millis()).unwrap();
        }
    }
}

fn account(index: usize) -> Account {
    Account {
        id: format!("{index:032x}"),
        email: "ada@example.org".to_owned(),
        password_hash: "hash".to_owned(),
        created_at: 0,
    }
}

type Outcome = Result<Registration, String>;

fn created(outcomes: &[Outcome]) -> Vec<String> {
    let ids = outcomes.iter().filter_map(|outcome| match outcome {
        Ok(Registration::Created(account)) => Some(account.id.clone()),
        _ => None,
    });
    ids.collect()
}

/// Runs callers with these fates through the schedule; gives their outcomes.
fn run(turnstile: &Turnstile, schedule: &[usize], fates: &[Fate]) -> Vec<Outcome> {
    {
        let mut world = turnstile.world.lock().unwrap();
        world.schedule = schedule.to_vec();
        world.place = 0;
        world.done = vec![false; fates.len()];
    }
    thread::scope(|scope| {
        let callers = fates.iter().enumerate().map(|(index, &fate)| {
            scope.spawn(move || {
                let caller = Caller::new(turnstile, index, fate);
                let outcome = settle(&caller, ADDRESS, account(index));
                turnstile.leave(index);
                outcome.map_err(|error| error.to_string())
            })
        });
        let callers: Vec<_> = callers.collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    })
}

/// Every sequence of `length` turns among `callers`.
fn schedules(callers: usize, length: u32) -> impl Iterator<Item = Vec<usize>> {
    (0..callers.pow(length)).map(move |number| {
        (0..length)
            .map(|place| number / callers.pow(place) % callers)
            .collect()
    })
}

fn later(turnstile: &Turnstile, seconds: u64) -> Outcome {
    turnstile.world.lock().unwrap().now_ms += seconds * 1000;
    run(turnstile, &[], &[Fate::Lives]).remove(0)
}

fn stored_id(turnstile: &Turnstile) -> Option<String> {
    let world = turnstile.world.lock().unwrap();
    assert!(
        world.account_writes <= 1,
        "the account was written {} times",
        world.account_writes
    );
    let value = world.values.get(&account::key(ADDRESS))?;
    Some(serde_json::from_slice::<Account>(value).unwrap().id)
}

fn exactly_one_of(callers: usize, length: u32) {
    for schedule in schedules(callers, length) {
        let turnstile = Turnstile::default();
        let outcomes = run(&turnstile, &schedule, &vec![Fate::Lives; callers]);
        assert_eq!(
            created(&outcomes),
            Vec::from_iter(stored_id(&turnstile)),
            "{schedule:?}"
        );
        let taken = outcomes
            .iter()
            .filter(|o| matches!(o, Ok(Registration::Taken)))
            .count();
        assert_eq!(taken, callers - 1, "{schedule:?}");
    }
}

#[test]
fn of_two_callers_in_any_order_exactly_one_makes_the_account() {
    exactly_one_of(2, 9);
}

#[test]
fn of_three_callers_in_any_order_exactly_one_makes_the_account() {
    exactly_one_of(3, 6);
}

#[test]
fn a_caller_that_dies_anywhere_never_locks_the_address() {
    for last in 0..6 {
        for schedule in schedules(2, 7) {
            let turnstile = Turnstile::default();
            let outcomes = run(
                &turnstile,
                &schedule,
                &[Fate::DiesBefore(last), Fate::Lives],
            );
            let first = stored_id(&turnstile);
            match &outcomes[1] {
                Ok(Registration::InProgress) => assert_eq!(first, None),
                Ok(_) => assert!(first.is_some()),
                Err(error) => panic!("{error}"),
            }
            let last_outcome = later(&turnstile, 61);
            match first {
                Some(_) => assert!(matches!(last_outcome, Ok(Registration::Taken))),
                None => assert!(matches!(last_outcome, Ok(Registration::Created(_)))),
            }
            assert!(stored_id(&turnstile).is_some());
        }
    }
}

#[test]
fn a_dead_owner_is_respected_until_its_claim_is_abandoned() {
    // Mark, claim, look: it dies before it writes.
    let turnstile = Turnstile::default();
    let outcomes = run(&turnstile, &[], &[Fate::DiesBefore(4)]);
    assert!(outcomes[0].is_err());
    assert!(matches!(
        later(&turnstile, 40),
        Ok(Registration::InProgress)
    ));
    assert_eq!(stored_id(&turnstile), None);
    assert!(matches!(
        later(&turnstile, 20),
        Ok(Registration::Created(_))
    ));
}

#[test]
fn owners_that_die_in_every_generation_do_not_lock_the_address() {
    let turnstile = Turnstile::default();
    for death in 0..20 {
        // Each looks through the generations before it, then marks, claims, looks, and dies.
        run(&turnstile, &[], &[Fate::DiesBefore(4 + death)]);
        turnstile.world.lock().unwrap().now_ms += 61_000;
        assert_eq!(turnstile.world.lock().unwrap().counters.len(), death + 1);
    }
    assert!(matches!(
        later(&turnstile, 61),
        Ok(Registration::Created(_))
    ));
}

#[test]
fn a_mark_left_behind_passes_on_to_an_owner_only_while_it_is_young() {
    for (age_seconds, writes) in [(20, true), (29, true), (31, false), (59, false), (61, true)] {
        let turnstile = Turnstile::default();
        // Looks for a mark, writes one, and dies before it claims.
        run(&turnstile, &[], &[Fate::DiesBefore(2)]);
        let outcome = later(&turnstile, age_seconds);
        assert_eq!(
            matches!(outcome, Ok(Registration::Created(_))),
            writes,
            "{age_seconds} s"
        );
        assert_eq!(stored_id(&turnstile).is_some(), writes);
        later(&turnstile, 61).ok().unwrap();
        assert!(stored_id(&turnstile).is_some());
    }
}

#[test]
fn owners_of_two_generations_never_both_write_whatever_stalls() {
    for age_seconds in [15, 22, 29, 52, 59] {
        for (at, seconds) in (0..6).flat_map(|at| [5, 9, 11, 61].map(|seconds| (at, seconds))) {
            for schedule in schedules(2, 6) {
                let turnstile = Turnstile::default();
                run(&turnstile, &[], &[Fate::DiesBefore(2)]);
                turnstile.world.lock().unwrap().now_ms += age_seconds * 1000;
                let fates = [Fate::StallsBefore(at, seconds), Fate::Lives];
                let outcomes = run(&turnstile, &schedule, &fates);
                assert_eq!(created(&outcomes), Vec::from_iter(stored_id(&turnstile)));
                later(&turnstile, 61).ok().unwrap();
                assert!(stored_id(&turnstile).is_some());
            }
        }
    }
}

#[test]
fn a_registered_address_is_taken_before_anything_is_hashed() {
    let turnstile = Turnstile::default();
    turnstile.world.lock().unwrap().done = vec![false];
    let caller = Caller::new(&turnstile, 0, Fate::Lives);
    let email = Email::parse("ada@example.org").unwrap();
    let first = register(&caller, &email, "correct horse").ok().unwrap();
    assert!(matches!(first, Registration::Created(account) if account.email == email.as_str()));
    assert!(matches!(
        register(&caller, &email, "other horse"),
        Ok(Registration::Taken)
    ));
}

#[test]
fn a_mark_that_is_no_time_is_reported_with_its_key() {
    let turnstile = Turnstile::default();
    let key = format!("marked/{ADDRESS}/1");
    turnstile
        .world
        .lock()
        .unwrap()
        .values
        .insert(key.clone(), b"soon".to_vec());
    let outcome = later(&turnstile, 0);
    assert!(outcome.is_err_and(|error| error.contains(&key)));
}
