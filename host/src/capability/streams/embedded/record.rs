//! How entries lie on disk: tables, and the bytes of a message and of a dead letter.
//!
//! Keys order entries by subject, group and sequence number, so that a group's next work is a range.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use super::super::Message;
use crate::name::Subject;

/// (subject, sequence) to record: what some group still owes, or what waits for a first group.
pub(super) const ENTRIES: TableDefinition<(&str, u64), &[u8]> =
    TableDefinition::new("stream-entries");

/// Subject to (next sequence, number of entries). It stays when a subject runs empty, so that a
/// sequence number is never given twice.
pub(super) const SUBJECTS: TableDefinition<&str, (u64, u64)> =
    TableDefinition::new("stream-subjects");

/// (subject, group) to (cursor, number of dead letters). From its cursor on, a group was delivered
/// nothing.
pub(super) const GROUPS: TableDefinition<(&str, &str), (u64, u64)> =
    TableDefinition::new("stream-groups");

/// (subject, group, sequence) to attempts made: what lies before the cursor and is not settled.
pub(super) const PENDING: TableDefinition<(&str, &str, u64), u32> =
    TableDefinition::new("stream-pending");

/// (subject, group, sequence) to dead record.
pub(super) const DEAD: TableDefinition<(&str, &str, u64), &[u8]> =
    TableDefinition::new("stream-dead");

/// A record that cannot be read: the file was written by something else.
#[derive(Debug, thiserror::Error)]
#[error("the record of an entry is damaged")]
pub(super) struct Damaged;

/// What little messages carry beside their body, as JSON; nothing at all when there is none.
#[derive(Serialize, Deserialize)]
struct Extras {
    reply_to: Option<String>,
    headers: Vec<(String, String)>,
}

/// `published_at` in µs since 1970 (8 bytes), length of the extras (4 bytes), extras, body.
pub(super) fn encode(message: &Message, published_at: SystemTime) -> Vec<u8> {
    let extras = if message.reply_to.is_none() && message.headers.is_empty() {
        Vec::new()
    } else {
        let extras = Extras {
            reply_to: message.reply_to.clone(),
            headers: message.headers.clone(),
        };
        serde_json::to_vec(&extras).expect("strings are always JSON")
    };
    let length = u32::try_from(extras.len()).expect("a message is limited to a megabyte");
    let mut record = Vec::with_capacity(12 + extras.len() + message.body.len());
    record.extend_from_slice(&micros(published_at).to_le_bytes());
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&extras);
    record.extend_from_slice(&message.body);
    record
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(subject: &Subject, record: Bytes) -> Result<(Message, SystemTime), Damaged> {
    let (published_at, rest) = record.split_first_chunk().ok_or(Damaged)?;
    let published_at = time(u64::from_le_bytes(*published_at));
    let (length, rest) = rest.split_first_chunk().ok_or(Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Damaged)?;
    let (extras, body) = rest.split_at_checked(length).ok_or(Damaged)?;
    let extras = if extras.is_empty() {
        Extras {
            reply_to: None,
            headers: Vec::new(),
        }
    } else {
        serde_json::from_slice(extras).map_err(|_| Damaged)?
    };
    let message = Message {
        subject: subject.clone(),
        body: record.slice_ref(body),
        reply_to: extras.reply_to,
        headers: extras.headers,
    };
    Ok((message, published_at))
}

/// The time of publication alone.
pub(super) fn published_at(record: &[u8]) -> Option<SystemTime> {
    record
        .first_chunk()
        .map(|micros| time(u64::from_le_bytes(*micros)))
}

/// A dead letter's record: the entry's own, and how it died.
pub(super) struct Death<'a> {
    pub(super) attempts: u32,
    pub(super) died_at: SystemTime,
    pub(super) reason: &'a str,
    pub(super) entry: &'a [u8],
}

impl<'a> Death<'a> {
    /// Attempts (4 bytes), `died_at` in µs (8 bytes), length of the reason (4 bytes), reason, entry.
    pub(super) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.reason.len()).expect("a reason is cut to REASON_BYTES_MAX");
        let mut record = Vec::with_capacity(16 + self.reason.len() + self.entry.len());
        record.extend_from_slice(&self.attempts.to_le_bytes());
        record.extend_from_slice(&micros(self.died_at).to_le_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(self.reason.as_bytes());
        record.extend_from_slice(self.entry);
        record
    }

    /// Reads what [`Death::encode`] wrote.
    pub(super) fn decode(record: &'a [u8]) -> Result<Self, Damaged> {
        let (attempts, rest) = record.split_first_chunk().ok_or(Damaged)?;
        let (died_at, rest) = rest.split_first_chunk().ok_or(Damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or(Damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Damaged)?;
        let (reason, entry) = rest.split_at_checked(length).ok_or(Damaged)?;
        Ok(Self {
            attempts: u32::from_le_bytes(*attempts),
            died_at: time(u64::from_le_bytes(*died_at)),
            reason: std::str::from_utf8(reason).map_err(|_| Damaged)?,
            entry,
        })
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_short_ones_are_damaged() {
        let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let subject: Subject = "a.b".parse().unwrap();
        for (reply_to, headers) in [
            (None, Vec::new()),
            (
                Some("inbox.1".to_owned()),
                vec![("k".to_owned(), "\u{e9}\n".to_owned())],
            ),
        ] {
            let body = Bytes::from_static(b"\0body");
            let message = Message {
                subject: subject.clone(),
                body,
                reply_to,
                headers,
            };
            let record = encode(&message, at);
            assert_eq!(published_at(&record), Some(at));
            let death = Death {
                attempts: 5,
                died_at: at,
                reason: "why",
                entry: &record,
            }
            .encode();
            let dead = Death::decode(&death).unwrap();
            assert_eq!((dead.attempts, dead.died_at, dead.reason), (5, at, "why"));
            let entry = Bytes::copy_from_slice(dead.entry);
            assert_eq!(decode(&subject, entry).unwrap(), (message, at));
            for cut in 0..12 {
                assert!(decode(&subject, Bytes::copy_from_slice(&record[..cut])).is_err());
                assert!(Death::decode(&death[..cut]).is_err());
            }
        }
    }
}
