//! Each user's list of notices, in the operations that the draft key-value interface has.
//!
//! ```text
//! notices/{user}           a counter: how many places were given out
//! place/{job}              the place that a job's notice has in its user's list
//! notice/{user}/{place}    the notice, written once
//! ```
//!
//! A job keeps its place, so that a message delivered again writes where it wrote before. A crash
//! between counting and noting the place leaves a place empty, which readers step over. If a lost
//! lease has two instances at one message, both may take a place; readers show a job once. It
//! refuses to know messages and webhooks.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Outcome};

/// The most notices that one call gives, whatever it asks for.
pub const RECENT_MAX: u32 = 100;
/// How many places one batch reads.
const BATCH_PLACES: u64 = 100;
/// How many batches one call reads before it gives what it has. Empty places are rare, so that the
/// second batch is rare too.
const BATCHES_MAX: usize = 4;

/// The key-value store. It is a trait so that deliveries that break off anywhere are tested natively.
pub trait Store {
    /// The value under a key.
    ///
    /// # Errors
    /// When the store fails.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// The values under some keys, each with its key, in any order; a key without a value may be
    /// missing.
    ///
    /// # Errors
    /// When the store fails.
    fn get_many(&self, keys: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Writes or overwrites the value under a key.
    ///
    /// # Errors
    /// When the store fails; the value may have been written nonetheless.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Adds to a counter in one atomic step and gives its new value; a new one starts from 0.
    ///
    /// # Errors
    /// When the store fails; the counter may have been moved nonetheless.
    fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError>;
}

/// The store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// Why a list could not be read or written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The store failed; it may work later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is not what this component writes. Carries the key.
    #[error("the record {0} cannot be read")]
    Corrupt(String),
}

/// What a user is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The job that it is about.
    pub job: String,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence for a person.
    pub text: String,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// Puts an event's notice into its user's list, unless it is there. Gives the notice that is there
/// now: a job that had one before keeps the first.
///
/// # Errors
/// When the store fails; doing it again completes what was begun.
pub fn append(store: &impl Store, event: &Event, now_ms: u64) -> Result<Notice, ListError> {
    let place = place(store, event)?;
    let key = key(&event.user, place);
    if let Some(value) = store.get(&key)? {
        return serde_json::from_slice(&value).map_err(|_| ListError::Corrupt(key));
    }
    let notice = Notice {
        job: event.job.clone(),
        outcome: event.outcome,
        text: event.text.clone(),
        created_at_ms: now_ms,
    };
    let value = serde_json::to_vec(&notice).expect("a notice is strings and a number");
    store.set(&key, &value)?;
    Ok(notice)
}

/// A user's newest notices, newest first, at most `limit` and at most [`RECENT_MAX`].
///
/// # Errors
/// When the store fails or a record cannot be read.
pub fn recent(store: &impl Store, user: &str, limit: u32) -> Result<Vec<Notice>, ListError> {
    let limit = limit.min(RECENT_MAX) as usize;
    let mut notices: Vec<Notice> = Vec::new();
    let mut jobs = HashSet::new();
    let mut last = if limit == 0 {
        0
    } else {
        store.increment(&counter(user), 0)?
    };
    for _ in 0..BATCHES_MAX {
        if last == 0 || notices.len() >= limit {
            break;
        }
        let first = last.saturating_sub(BATCH_PLACES - 1).max(1);
        let keys: Vec<String> = (first..=last).rev().map(|place| key(user, place)).collect();
        let mut values: std::collections::HashMap<_, _> =
            store.get_many(&keys)?.into_iter().collect();
        for key in keys {
            let Some(value) = values.remove(&key) else {
                continue;
            };
            let notice: Notice =
                serde_json::from_slice(&value).map_err(|_| ListError::Corrupt(key))?;
            if notices.len() < limit && jobs.insert(notice.job.clone()) {
                notices.push(notice);
            }
        }
        last = first - 1;
    }
    Ok(notices)
}

/// The place of a job's notice, given out at the first delivery.
fn place(store: &impl Store, event: &Event) -> Result<u64, ListError> {
    let key = format!("place/{}", event.job);
    if let Some(value) = store.get(&key)? {
        let text = std::str::from_utf8(&value).ok();
        return text
            .and_then(|text| text.parse().ok())
            .ok_or(ListError::Corrupt(key));
    }
    let place = store.increment(&counter(&event.user), 1)?;
    store.set(&key, place.to_string().as_bytes())?;
    Ok(place)
}

fn counter(user: &str) -> String {
    format!("notices/{user}")
}

fn key(user: &str, place: u64) -> String {
    format!("notice/{user}/{place}")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    use super::*;

    /// A store in memory that can be told to break at its nth operation from now.
    #[derive(Default)]
    pub(crate) struct Memory {
        pub(crate) values: RefCell<HashMap<String, Vec<u8>>>,
        counters: RefCell<HashMap<String, u64>>,
        pub(crate) breaks_after: Cell<Option<usize>>,
    }

    impl Memory {
        fn works(&self) -> Result<(), StoreError> {
            match self.breaks_after.get() {
                Some(0) => Err(StoreError("gone".to_owned())),
                left => {
                    self.breaks_after.set(left.map(|left| left - 1));
                    Ok(())
                }
            }
        }
    }

    impl Store for Memory {
        fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.works()?;
            Ok(self.values.borrow().get(key).cloned())
        }

        fn get_many(&self, keys: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            self.works()?;
            let values = self.values.borrow();
            let found = |key: &String| Some((key.clone(), values.get(key)?.clone()));
            // In ascending order: readers must not lean on the order of what they asked for.
            Ok(keys.iter().rev().filter_map(found).collect())
        }

        fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
            self.works()?;
            self.values
                .borrow_mut()
                .insert(key.to_owned(), value.to_vec());
            Ok(())
        }

        fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
            self.works()?;
            let mut counters = self.counters.borrow_mut();
            let counter = counters.entry(key.to_owned()).or_default();
            *counter += delta;
            Ok(*counter)
        }
    }

    pub(crate) fn event(job: u64) -> Event {
        Event {
            job: format!("{job:x}"),
            user: "ff".to_owned(),
            outcome: Outcome::Converted,
            text: format!("job {job}"),
        }
    }

    fn texts(store: &Memory, limit: u32) -> Vec<String> {
        recent(store, "ff", limit)
            .unwrap()
            .into_iter()
            .map(|notice| notice.text)
            .collect()
    }

    #[test]
    fn the_newest_come_first_and_no_more_than_asked_for() {
        let store = Memory::default();
        assert!(texts(&store, 10).is_empty());
        for job in 1..=250 {
            append(&store, &event(job), job).unwrap();
        }
        assert_eq!(texts(&store, 2), ["job 250", "job 249"]);
        assert!(texts(&store, 0).is_empty());
        assert_eq!(texts(&store, u32::MAX).len(), RECENT_MAX as usize);
        assert!(recent(&store, "ee", 10).unwrap().is_empty());
    }

    #[test]
    fn a_second_delivery_keeps_the_first_notice() {
        let store = Memory::default();
        append(&store, &event(1), 5).unwrap();
        let mut contrary = event(1);
        contrary.outcome = Outcome::Failed;
        let kept = append(&store, &contrary, 9).unwrap();
        assert_eq!((kept.outcome, kept.created_at_ms), (Outcome::Converted, 5));
        assert_eq!(texts(&store, 10).len(), 1);
    }

    #[test]
    fn a_delivery_that_breaks_off_anywhere_is_completed_by_the_next() {
        for operations in 0..5 {
            let store = Memory::default();
            append(&store, &event(1), 1).unwrap();
            store.breaks_after.set(Some(operations));
            assert!(append(&store, &event(2), 2).is_err());
            store.breaks_after.set(None);
            append(&store, &event(2), 3).unwrap();
            append(&store, &event(3), 4).unwrap();
            assert_eq!(texts(&store, 10), ["job 3", "job 2", "job 1"]);
        }
    }

    #[test]
    fn a_job_that_took_two_places_is_shown_once() {
        let store = Memory::default();
        append(&store, &event(1), 1).unwrap();
        store.values.borrow_mut().remove("place/1");
        append(&store, &event(1), 2).unwrap();
        assert_eq!(texts(&store, 10).len(), 1);
    }

    #[test]
    fn empty_places_are_stepped_over_within_a_bound() {
        let store = Memory::default();
        append(&store, &event(1), 1).unwrap();
        store.increment("notices/ff", 150).unwrap();
        append(&store, &event(2), 2).unwrap();
        assert_eq!(texts(&store, 10), ["job 2", "job 1"]);
        store.increment("notices/ff", 1_000_000).unwrap();
        assert!(texts(&store, 10).is_empty());
    }

    #[test]
    fn damaged_records_are_named() {
        let store = Memory::default();
        append(&store, &event(1), 1).unwrap();
        store.set("notice/ff/1", b"{").unwrap();
        let corrupt = ListError::Corrupt("notice/ff/1".to_owned());
        assert_eq!(recent(&store, "ff", 1), Err(corrupt));
        store.set("place/1", b"first").unwrap();
        assert_eq!(
            append(&store, &event(1), 1),
            Err(ListError::Corrupt("place/1".to_owned()))
        );
    }
}
