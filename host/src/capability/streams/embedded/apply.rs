//! The steps of a stream as they run on the writer thread: conditions first, then tables, then the
//! schedule. If a table fails the store takes no more writes, so the schedule need not be undone.

use std::time::SystemTime;

use redb::{Error, ReadableTable as _, WriteTransaction};
use tokio::time::Instant;

use super::super::{Group, LeaseToken, StreamError};
use super::handover::{Claim, Claimed};
use super::record::{DEAD, Death, ENTRIES, GROUPS, PENDING, SUBJECTS};
use super::schedule::{Appointment, Schedule, SubjectState};
use super::{lost, unknown};
use crate::capability::embedded::{Applied, Failure, Outcome};
use crate::name::Subject;

type Step<T> = Outcome<T, StreamError>;

/// Creates the tables and reads the schedule out of them; everything that is pending is due `now`.
pub(super) fn load(transaction: &WriteTransaction, now: Instant) -> Result<Schedule, Error> {
    fn name<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Error> {
        text.parse()
            .map_err(|error| Error::Corrupted(format!("{error}")))
    }
    transaction.open_table(ENTRIES)?;
    transaction.open_table(DEAD)?;
    let mut schedule = Schedule::default();
    for row in transaction.open_table(SUBJECTS)?.iter()? {
        let (subject, counts) = row?;
        let state = schedule.subject(&name(subject.value())?);
        (state.next, state.length) = counts.value();
    }
    for row in transaction.open_table(GROUPS)?.iter()? {
        let (key, counts) = row?;
        let (subject, group) = key.value();
        let state = schedule
            .subject(&name(subject)?)
            .groups
            .entry(name(group)?)
            .or_default();
        (state.cursor, state.dead) = counts.value();
    }
    for row in transaction.open_table(PENDING)?.iter()? {
        let (key, attempt) = row?;
        let (subject, group, sequence) = key.value();
        let state = schedule
            .subject(&name(subject)?)
            .groups
            .entry(name(group)?)
            .or_default();
        let attempt = attempt.value();
        state.appoint(
            sequence,
            Appointment {
                attempt,
                due: now,
                holder: None,
            },
        );
    }
    Ok(schedule)
}

/// Adds a group. What the subject holds already is before its cursor from the start: so no entry from
/// a cursor on is ever missing, and lag is a subtraction.
pub(super) fn declare(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    group: &Group,
    now: Instant,
) -> Step<()> {
    if schedule.find(group).is_some() {
        return Ok(Applied::Unchanged(()));
    }
    let (subject, name) = (group.subject.as_str(), group.name.as_str());
    let state = schedule.subject(&group.subject);
    let entries = transaction.open_table(ENTRIES)?;
    let mut pending = transaction.open_table(PENDING)?;
    let mut retained = Vec::new();
    for row in entries.range((subject, 0)..(subject, state.next))? {
        let (_, sequence) = row?.0.value();
        pending.insert((subject, name, sequence), 0)?;
        retained.push(sequence);
    }
    transaction
        .open_table(GROUPS)?
        .insert((subject, name), (state.next, 0))?;
    let added = state.groups.entry(group.name.clone()).or_default();
    added.cursor = state.next;
    for sequence in retained {
        added.appoint(
            sequence,
            Appointment {
                attempt: 0,
                due: now,
                holder: None,
            },
        );
    }
    Ok(Applied::Changed(()))
}

/// Removes a group, its dead letters, and what only it owed.
pub(super) fn forget(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    group: &Group,
) -> Step<()> {
    let Some(state) = schedule.find(group) else {
        return Ok(Applied::Unchanged(()));
    };
    let (subject, name) = (group.subject.as_str(), group.name.as_str());
    let all = (subject, name, 0)..=(subject, name, u64::MAX);
    transaction
        .open_table(PENDING)?
        .retain_in(all.clone(), |_, _| false)?;
    transaction.open_table(DEAD)?.retain_in(all, |_, _| false)?;
    transaction.open_table(GROUPS)?.remove((subject, name))?;
    if let Some(removed) = state.groups.remove(&group.name) {
        removed.wake();
    }
    let mut kept = 0;
    let range = (subject, 0)..=(subject, u64::MAX);
    transaction
        .open_table(ENTRIES)?
        .retain_in(range, |(_, sequence), _| {
            let owed = state.owed(sequence);
            kept += u64::from(owed);
            owed
        })?;
    state.length = kept;
    transaction
        .open_table(SUBJECTS)?
        .insert(subject, (state.next, state.length))?;
    Ok(Applied::Changed(()))
}

/// Adds an entry, unless the subject is full.
pub(super) fn publish(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    subject: &Subject,
    record: &[u8],
) -> Step<u64> {
    let state = schedule.subject(subject);
    if state.length >= state.length_max {
        let length_max = state.length_max;
        return Err(Failure::Refused(StreamError::Full {
            subject: subject.clone(),
            length_max,
        }));
    }
    let sequence = state.next;
    transaction
        .open_table(ENTRIES)?
        .insert((subject.as_str(), sequence), record)?;
    state.next += 1;
    state.length += 1;
    write_counts(transaction, subject, state)?;
    state.groups.values().for_each(|group| group.wake());
    Ok(Applied::Changed(sequence))
}

/// Leases what is due, then what comes next, and counts the attempts.
pub(super) fn claim(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    group: &Group,
    max: usize,
    now: Instant,
) -> Step<Claim> {
    let token = schedule.token();
    let Some(state) = schedule.find(group) else {
        return Err(unknown(group).into());
    };
    let (subject, name, next) = (group.subject.as_str(), group.name.as_str(), state.next);
    let state = state
        .groups
        .get_mut(&group.name)
        .expect("the group was found");
    let Some(lease) = state.lease else {
        return Err(unknown(group).into());
    };
    let mut work = state.due(now, max);
    let cursor = state.cursor;
    let fresh = (max - work.len()).min(usize::try_from(next - cursor).unwrap_or(usize::MAX));
    work.extend((cursor..next).take(fresh).map(|sequence| (sequence, 0)));
    if work.is_empty() {
        return Ok(Applied::Unchanged(Claim::Nothing {
            next_due: state.next_due(),
        }));
    }
    let entries = transaction.open_table(ENTRIES)?;
    let mut pending = transaction.open_table(PENDING)?;
    let mut claimed = Vec::with_capacity(work.len());
    for (sequence, attempts) in work {
        let Some(record) = entries.get((subject, sequence))? else {
            return Err(Error::Corrupted(format!("{group} owes {sequence}, which is gone")).into());
        };
        let record = record.value().to_vec();
        let attempt = attempts.saturating_add(1);
        pending.insert((subject, name, sequence), attempt)?;
        state.appoint(
            sequence,
            Appointment {
                attempt,
                due: now + lease,
                holder: Some(token),
            },
        );
        claimed.push(Claimed {
            sequence,
            attempt,
            record,
        });
    }
    if fresh > 0 {
        state.cursor += fresh as u64;
        transaction
            .open_table(GROUPS)?
            .insert((subject, name), (state.cursor, state.dead))?;
    }
    Ok(Applied::Changed(Claim::Some { token, claimed }))
}

/// Whose outcome a step settles.
pub(super) struct Held<'a> {
    pub(super) group: &'a Group,
    pub(super) sequence: u64,
    pub(super) token: LeaseToken,
}

impl Held<'_> {
    /// The subject, and the appointment that is still this holder's.
    fn find<'s>(
        &self,
        schedule: &'s mut Schedule,
    ) -> Result<(&'s mut SubjectState, Appointment), StreamError> {
        let lost = || lost(self.group, self.sequence);
        let state = schedule.find(self.group).ok_or_else(lost)?;
        let held = state.groups[&self.group.name].held(self.sequence, self.token);
        held.map(|appointment| (state, appointment))
            .ok_or_else(lost)
    }

    fn key(&self) -> (&str, &str, u64) {
        (
            self.group.subject.as_str(),
            self.group.name.as_str(),
            self.sequence,
        )
    }
}

/// This group is done with the entry.
pub(super) fn acknowledge(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    held: &Held<'_>,
) -> Step<()> {
    let (state, _) = held.find(schedule)?;
    settle(transaction, state, held)?;
    Ok(Applied::Changed(()))
}

/// Due again at once, with the attempt uncounted.
pub(super) fn release(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    held: &Held<'_>,
    now: Instant,
) -> Step<()> {
    let (state, appointment) = held.find(schedule)?;
    let attempt = appointment.attempt.saturating_sub(1);
    transaction
        .open_table(PENDING)?
        .insert(held.key(), attempt)?;
    let group = state
        .groups
        .get_mut(&held.group.name)
        .expect("the group was found");
    group.appoint(
        held.sequence,
        Appointment {
            attempt,
            due: now,
            holder: None,
        },
    );
    group.wake();
    Ok(Applied::Changed(()))
}

/// From the group's entries to its dead letters.
pub(super) fn dead_letter(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    held: &Held<'_>,
    reason: &str,
    died_at: SystemTime,
) -> Step<()> {
    let (state, Appointment { attempt, .. }) = held.find(schedule)?;
    let (subject, name, sequence) = held.key();
    {
        let entries = transaction.open_table(ENTRIES)?;
        let Some(entry) = entries.get((subject, sequence))? else {
            let problem = format!("{} holds {sequence}, which is gone", held.group);
            return Err(Error::Corrupted(problem).into());
        };
        let death = Death {
            attempts: attempt,
            died_at,
            reason,
            entry: entry.value(),
        };
        transaction
            .open_table(DEAD)?
            .insert(held.key(), &*death.encode())?;
    }
    let group = state
        .groups
        .get_mut(&held.group.name)
        .expect("the group was found");
    group.dead += 1;
    transaction
        .open_table(GROUPS)?
        .insert((subject, name), (group.cursor, group.dead))?;
    settle(transaction, state, held)?;
    Ok(Applied::Changed(()))
}

/// Back from the dead letters: the one that is named, or the first `max`. Gives how many.
pub(super) fn redrive(
    transaction: &WriteTransaction,
    schedule: &mut Schedule,
    group: &Group,
    only: Option<u64>,
    max: usize,
    now: Instant,
) -> Step<u64> {
    let Some(state) = schedule.find(group) else {
        return Err(unknown(group).into());
    };
    let (subject, name) = (group.subject.as_str(), group.name.as_str());
    let (first, last) = only.map_or((0, u64::MAX), |sequence| (sequence, sequence));
    let mut dead = transaction.open_table(DEAD)?;
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut pending = transaction.open_table(PENDING)?;
    let mut back = Vec::new();
    for row in dead
        .range((subject, name, first)..=(subject, name, last))?
        .take(max)
    {
        let (key, record) = row?;
        let (_, _, sequence) = key.value();
        let death = Death::decode(record.value());
        let death = death.map_err(|error| Error::Corrupted(error.to_string()))?;
        if entries.get((subject, sequence))?.is_none() {
            entries.insert((subject, sequence), death.entry)?;
            state.length += 1;
        }
        pending.insert((subject, name, sequence), 0)?;
        back.push(sequence);
    }
    if back.is_empty() {
        return Ok(Applied::Unchanged(0));
    }
    let count = back.len() as u64;
    let redriven = state
        .groups
        .get_mut(&group.name)
        .expect("the group was found");
    for sequence in back {
        dead.remove((subject, name, sequence))?;
        redriven.appoint(
            sequence,
            Appointment {
                attempt: 0,
                due: now,
                holder: None,
            },
        );
    }
    redriven.dead -= count;
    transaction
        .open_table(GROUPS)?
        .insert((subject, name), (redriven.cursor, redriven.dead))?;
    redriven.wake();
    write_counts(transaction, &group.subject, state)?;
    Ok(Applied::Changed(count))
}

/// Strikes the entry out for this group, and removes it once no group owes it.
fn settle(
    transaction: &WriteTransaction,
    state: &mut SubjectState,
    held: &Held<'_>,
) -> Result<(), Error> {
    transaction.open_table(PENDING)?.remove(held.key())?;
    if let Some(group) = state.groups.get_mut(&held.group.name) {
        group.settle(held.sequence);
    }
    if !state.owed(held.sequence) {
        let subject = &held.group.subject;
        transaction
            .open_table(ENTRIES)?
            .remove((subject.as_str(), held.sequence))?;
        state.length -= 1;
        write_counts(transaction, subject, state)?;
    }
    Ok(())
}

fn write_counts(
    transaction: &WriteTransaction,
    subject: &Subject,
    state: &SubjectState,
) -> Result<(), Error> {
    let counts = (state.next, state.length);
    transaction
        .open_table(SUBJECTS)?
        .insert(subject.as_str(), counts)?;
    Ok(())
}

impl From<StreamError> for Failure<StreamError> {
    fn from(refusal: StreamError) -> Self {
        Self::Refused(refusal)
    }
}
