//! What this process knows of a subject and of a group: names of keys, limits, and who has begun.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Group, LENGTH_MAX_DEFAULT};
use super::settle::Queue;
use crate::capability::redis::Redis;
use crate::name::Subject;

/// The keys of a subject, in the order that the scripts take them.
const SUBJECT_KEYS: [&str; 6] = ["entries", "groups", "counts", "held", "parked", "idle"];

/// Those of a group, which come after them.
const GROUP_KEYS: [&str; 3] = ["due", "dead", "letters"];

/// How often in a lease a group looks for leases that ran out, while it has other work.
const LOOKS_PER_LEASE: u32 = 4;

/// Shortest and longest time between two looks of a claim that finds nothing: a dead host's work is
/// taken over within half a lease, a thousand idle subscriptions ask some ten times in a second.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// A subject, as this process publishes to it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) subject: Subject,
    pub(super) keys: Vec<String>,
    pub(super) length_max: AtomicU64,
    /// Whether this process has put it into the index of subjects.
    pub(super) indexed: AtomicBool,
}

impl Topic {
    pub(super) fn new(redis: &Redis, subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            keys: subject_keys(redis, subject),
            length_max: AtomicU64::new(LENGTH_MAX_DEFAULT),
            indexed: AtomicBool::new(false),
        }
    }

    /// The stream of its entries.
    pub(super) fn entries(&self) -> &str {
        &self.keys[0]
    }

    /// The hash of its groups.
    pub(super) fn groups(&self) -> &str {
        &self.keys[1]
    }

    /// What is there while somebody waits.
    #[cfg(test)]
    pub(super) fn idle(&self) -> &str {
        &self.keys[5]
    }

    /// The entries of the stream that it does not count as its own any more.
    pub(super) fn parked(&self) -> &str {
        &self.keys[4]
    }
}

/// A group, as this process consumes for it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) group: Group,
    pub(super) keys: Vec<String>,
    /// In ms; 0 while this process has not declared the group.
    lease_ms: AtomicU64,
    /// Whether the server has heard of it from this process.
    pub(super) begun: AtomicBool,
    /// When it looked for leases that ran out.
    looked: Mutex<Option<Instant>>,
    /// Outcomes on their way.
    pub(super) queue: Queue,
}

impl Place {
    pub(super) fn new(redis: &Redis, group: &Group) -> Self {
        let mut keys = subject_keys(redis, &group.subject);
        let name = |key: &str| redis.key(group.subject.as_str(), &format!("{key}:{}", group.name));
        keys.extend(GROUP_KEYS.map(name));
        Self {
            group: group.clone(),
            keys,
            lease_ms: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            looked: Mutex::default(),
            queue: Queue::default(),
        }
    }

    /// Takes note that this process consumes for the group, or with `None` that it does not.
    pub(super) fn declare(&self, lease: Option<Duration>) {
        let ms = |lease: Duration| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let ms = lease.map_or(0, |lease| ms(lease).max(1));
        self.lease_ms.store(ms, Ordering::Relaxed);
    }

    /// The lease, if this process consumes for the group.
    pub(super) fn lease(&self) -> Option<Duration> {
        let ms = self.lease_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// How long a claim waits at most before it looks again.
    pub(super) fn patience(&self) -> Duration {
        let lease = self.lease().unwrap_or_default();
        (lease / 2).clamp(PATIENCE.0, PATIENCE.1)
    }

    /// Whether it is time to look for leases that ran out; if so, that is what happens now.
    pub(super) fn is_time_to_look(&self) -> bool {
        let every = self.lease().unwrap_or_default() / LOOKS_PER_LEASE;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = looked.is_none_or(|at| at.elapsed() >= every);
        if is_time {
            *looked = Some(Instant::now());
        }
        is_time
    }
}

fn subject_keys(redis: &Redis, subject: &Subject) -> Vec<String> {
    let name = |key| redis.key(subject.as_str(), key);
    SUBJECT_KEYS.map(name).to_vec()
}
