//! What is due when, in memory: this process is the only consumer of its embedded store.
//!
//! The tables say what is owed and how often it was tried; the schedule adds who holds it and until
//! when. It is rebuilt at open, with everything that is pending due at once. It reads no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::{Group, LENGTH_MAX_DEFAULT, LeaseToken};
use crate::name::{ComponentName, Subject};

/// Every subject with its groups.
#[derive(Debug)]
pub(super) struct Schedule {
    subjects: BTreeMap<Subject, SubjectState>,
    token_next: u64,
}

/// One subject, as its row in the table and its limit say.
#[derive(Debug)]
pub(super) struct SubjectState {
    pub(super) next: u64,
    pub(super) length: u64,
    pub(super) length_max: u64,
    pub(super) groups: BTreeMap<ComponentName, GroupState>,
}

/// One group: its row in the table, and an appointment for everything before the cursor that is not
/// settled.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    /// How long a claim is leased; `None` until the group is declared.
    pub(super) lease: Option<Duration>,
    pub(super) cursor: u64,
    pub(super) dead: u64,
    appointments: BTreeMap<u64, Appointment>,
    due: BTreeSet<(Instant, u64)>,
    /// Tells waiting claims that something became due, or will be earlier than they know.
    wake: Arc<Notify>,
}

/// When an entry may be claimed: at once, after a backoff, or when the lease on it runs out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appointment {
    /// Attempts that have begun.
    pub(super) attempt: u32,
    pub(super) due: Instant,
    /// Who holds it; `None` while it waits.
    pub(super) holder: Option<LeaseToken>,
}

/// Unsettled entries before a cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// That somebody works on, or did before its lease ran out.
    pub(super) leased: u64,
    /// That were delivered and wait for another attempt.
    pub(super) waiting: u64,
    /// That were never delivered.
    pub(super) never: u64,
}

impl Default for Schedule {
    /// Tokens start at random, so that a delivery that outlived its store settles nothing in the next.
    fn default() -> Self {
        Self {
            subjects: BTreeMap::new(),
            token_next: rand::random(),
        }
    }
}

impl Default for SubjectState {
    fn default() -> Self {
        Self {
            next: 1,
            length: 0,
            length_max: LENGTH_MAX_DEFAULT,
            groups: BTreeMap::new(),
        }
    }
}

impl Schedule {
    /// The subject; made where it is new.
    pub(super) fn subject(&mut self, subject: &Subject) -> &mut SubjectState {
        self.subjects.entry(subject.clone()).or_default()
    }

    /// The subject and the group in it, if it is known.
    pub(super) fn find(&mut self, group: &Group) -> Option<&mut SubjectState> {
        let subject = self.subjects.get_mut(&group.subject)?;
        subject.groups.contains_key(&group.name).then_some(subject)
    }

    /// Every group, with whatever subject.
    pub(super) fn groups(&self) -> Vec<Group> {
        let groups = self.subjects.iter().flat_map(|(subject, state)| {
            state.groups.keys().map(|name| Group {
                subject: subject.clone(),
                name: name.clone(),
            })
        });
        groups.collect()
    }

    /// Every subject with the number of its entries.
    pub(super) fn lengths(&self) -> Vec<(Subject, u64)> {
        let subjects = self.subjects.iter();
        subjects
            .map(|(subject, state)| (subject.clone(), state.length))
            .collect()
    }

    /// A token that no other claim has.
    pub(super) fn token(&mut self) -> LeaseToken {
        self.token_next = self.token_next.wrapping_add(1);
        LeaseToken(self.token_next)
    }
}

impl SubjectState {
    /// Whether some group has not settled the entry yet.
    pub(super) fn owed(&self, sequence: u64) -> bool {
        self.groups.values().any(|group| group.owes(sequence))
    }
}

impl GroupState {
    /// Whether this group has not settled the entry yet.
    pub(super) fn owes(&self, sequence: u64) -> bool {
        sequence >= self.cursor || self.appointments.contains_key(&sequence)
    }

    /// Makes or changes the appointment of an entry.
    pub(super) fn appoint(&mut self, sequence: u64, appointment: Appointment) {
        if let Some(old) = self.appointments.insert(sequence, appointment) {
            self.due.remove(&(old.due, sequence));
        }
        self.due.insert((appointment.due, sequence));
    }

    /// Strikes the entry out.
    pub(super) fn settle(&mut self, sequence: u64) {
        if let Some(old) = self.appointments.remove(&sequence) {
            self.due.remove(&(old.due, sequence));
        }
    }

    /// The appointment of an entry that `holder` holds, or `None` if it lost or settled it.
    pub(super) fn held(&self, sequence: u64, holder: LeaseToken) -> Option<Appointment> {
        let appointment = self.appointments.get(&sequence).copied()?;
        (appointment.holder == Some(holder)).then_some(appointment)
    }

    /// At most `max` entries that are due, the longest due first, with their attempts so far.
    pub(super) fn due(&self, now: Instant, max: usize) -> Vec<(u64, u32)> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now).take(max);
        due.map(|(_, sequence)| (*sequence, self.appointments[sequence].attempt))
            .collect()
    }

    /// When the next appointment is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The oldest entry before the cursor that is not settled.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.appointments.keys().next().copied()
    }

    /// Unsettled entries before the cursor.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.appointments.values() {
            match entry {
                Appointment { attempt: 0, .. } => counts.never += 1,
                Appointment { holder: None, .. } => counts.waiting += 1,
                _ => counts.leased += 1,
            }
        }
        counts
    }

    /// What waiting claims listen to.
    pub(super) fn listen(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Has waiting claims look again.
    pub(super) fn wake(&self) {
        self.wake.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_appointment_is_due_once() {
        let now = Instant::now();
        let mut group = GroupState {
            cursor: 9,
            ..GroupState::default()
        };
        let later = now + Duration::from_secs(1);
        let at = |due| Appointment {
            attempt: 1,
            due,
            holder: None,
        };
        group.appoint(3, at(now));
        group.appoint(2, at(now));
        group.appoint(3, at(later));
        assert_eq!(group.due(now, 9), [(2, 1)]);
        assert_eq!(group.due(later, 9), [(2, 1), (3, 1)]);
        group.settle(2);
        assert_eq!(group.next_due(), Some(later));
        assert!(group.owes(3) && group.owes(9) && !group.owes(2));
        assert_eq!(group.oldest(), Some(3));
    }

    #[test]
    fn only_the_holder_holds() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        let (one, two) = (schedule.token(), schedule.token());
        assert_ne!(one, two);
        let mut group = GroupState::default();
        group.appoint(
            1,
            Appointment {
                attempt: 1,
                due: now,
                holder: Some(one),
            },
        );
        assert!(group.held(1, one).is_some() && group.held(1, two).is_none());
        group.appoint(
            1,
            Appointment {
                attempt: 1,
                due: now,
                holder: None,
            },
        );
        assert!(group.held(1, one).is_none());
        assert!(group.held(2, one).is_none());
    }
}
