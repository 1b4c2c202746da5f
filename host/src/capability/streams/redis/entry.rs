//! How entries and answers look: fields of a message, and values of the scripts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::{Cmd, Value};

use super::super::{DeadLetter, Delivery, Entry, EntryId, Group, GroupStatus, LeaseToken, Message};
use crate::name::Subject;

/// An answer that no script of ours gives: the keys were written by something else.
#[derive(Debug, thiserror::Error)]
#[error("what Redis holds for this subject is damaged")]
pub(super) struct Damaged;

/// Adds a message as the fields of an entry: `at` in µs since 1970, `body`, and where there are any
/// `reply-to`, and `headers` as JSON.
pub(super) fn encode(command: &mut Cmd, message: &Message, published_at: SystemTime) {
    let since = published_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    command.arg("at").arg(micros);
    command.arg("body").arg(&message.body[..]);
    if let Some(reply_to) = &message.reply_to {
        command.arg("reply-to").arg(reply_to);
    }
    if !message.headers.is_empty() {
        let headers = serde_json::to_vec(&message.headers).expect("strings are always JSON");
        command.arg("headers").arg(headers);
    }
}

/// Reads what [`encode`] wrote. Fields that it does not know are somebody else's.
fn decode(subject: &Subject, fields: Value) -> Result<(Message, SystemTime), Damaged> {
    let (mut body, mut published_at, mut reply_to, mut headers) = (None, None, None, Vec::new());
    let mut fields = list(fields)?.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match &*bytes(name)? {
            b"at" => published_at = Some(time(number(value)?)),
            b"body" => body = Some(Bytes::from(bytes(value)?)),
            b"reply-to" => reply_to = Some(text(value)?),
            b"headers" => headers = serde_json::from_slice(&bytes(value)?).map_err(|_| Damaged)?,
            _ => {}
        }
    }
    let message = Message {
        subject: subject.clone(),
        body: body.ok_or(Damaged)?,
        reply_to,
        headers,
    };
    Ok((message, published_at.ok_or(Damaged)?))
}

/// The same for a person to look at: what is no message is shown as an empty one.
fn decode_to_show(subject: &Subject, entry: &EntryId, fields: Value) -> (Message, SystemTime) {
    decode(subject, fields).unwrap_or_else(|Damaged| {
        let ms = entry.as_str().split_once('-').map(|(ms, _)| ms.parse());
        let empty = Message {
            subject: subject.clone(),
            body: Bytes::new(),
            reply_to: None,
            headers: Vec::new(),
        };
        let ms = ms.and_then(Result::ok).unwrap_or(0);
        (empty, UNIX_EPOCH + Duration::from_millis(ms))
    })
}

/// Whether it is the name of an entry, as this backend forms them.
pub(super) fn is_id(entry: &EntryId) -> bool {
    order(entry).is_some()
}

/// The two numbers of an entry's name, in which entries are ordered: ms of its publication, and its place
/// in them. `None` for what is no name of this backend.
pub(super) fn order(entry: &EntryId) -> Option<(u64, u64)> {
    let (ms, sequence) = entry.as_str().split_once('-')?;
    Some((ms.parse().ok()?, sequence.parse().ok()?))
}

/// `{id, added}` of a publication.
pub(super) fn published(answer: Value) -> Result<(EntryId, u64), Damaged> {
    let [entry, added] = tuple(answer)?;
    Ok((id(entry)?, number(added)?))
}

/// What a claim found.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) deliveries: Vec<Delivery>,
    /// Entries that are no message, and are leased all the same: with their attempts.
    pub(super) damaged: Vec<(EntryId, u64)>,
    /// Where it found nothing: how long it is until something is due, if something will be.
    pub(super) wait: Option<Duration>,
}

/// Reads what a claim found.
pub(super) fn claimed(group: &Group, answer: Value) -> Result<Claimed, Damaged> {
    let [wait, leased] = tuple(answer)?;
    let mut claimed = Claimed {
        // Negative: nothing is due at all.
        wait: number(wait).ok().map(Duration::from_millis),
        ..Claimed::default()
    };
    for leased in list(leased)? {
        let [entry, attempt, fields] = tuple(leased)?;
        let (entry, attempt) = (id(entry)?, number(attempt)?);
        let Ok((message, published_at)) = decode(&group.subject, fields) else {
            claimed.damaged.push((entry, attempt));
            continue;
        };
        claimed.deliveries.push(Delivery {
            entry,
            group: group.clone(),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            message,
            published_at,
            token: LeaseToken(attempt),
        });
    }
    Ok(claimed)
}

/// Whether each of the deliveries was still held.
pub(super) fn settled(answer: Value) -> Result<Vec<bool>, Damaged> {
    let answers = list(answer)?.into_iter();
    answers.map(|answer| Ok(number(answer)? == 1)).collect()
}

/// How a group stands.
pub(super) fn status(answer: Value) -> Result<GroupStatus, Damaged> {
    let [length, lag, pending, waiting, age, dead] = tuple(answer)?;
    Ok(GroupStatus {
        length: number(length)?,
        lag: number(lag)?,
        pending: number(pending)?,
        waiting: number(waiting)?,
        oldest_age: number(age).ok().map(Duration::from_millis),
        dead: number(dead)?,
    })
}

/// Dead letters. One whose entry somebody deleted is left out.
pub(super) fn dead(subject: &Subject, answer: Value) -> Result<(usize, Vec<DeadLetter>), Damaged> {
    let shown = list(answer)?;
    let (count, mut letters) = (shown.len(), Vec::new());
    for letter in shown {
        let [entry, letter, fields] = tuple(letter)?;
        let (entry, letter) = (id(entry)?, text(letter)?);
        let mut parts = letter.splitn(3, ' ');
        let mut part = || parts.next().ok_or(Damaged);
        let (died_at, attempts, reason) = (part()?, part()?, part()?);
        if matches!(&fields, Value::Array(fields) if fields.is_empty()) {
            continue;
        }
        let (message, published_at) = decode_to_show(subject, &entry, fields);
        letters.push(DeadLetter {
            entry,
            attempts: attempts.parse().map_err(|_| Damaged)?,
            reason: reason.to_owned(),
            died_at: time(died_at.parse().map_err(|_| Damaged)?),
            published_at,
            message,
        });
    }
    Ok((count, letters))
}

/// Entries as they lie.
pub(super) fn entries(subject: &Subject, answer: Value) -> Result<Vec<Entry>, Damaged> {
    let shown = list(answer)?.into_iter();
    shown
        .map(|shown| {
            let [entry, fields] = tuple(shown)?;
            let entry = id(entry)?;
            let (message, published_at) = decode_to_show(subject, &entry, fields);
            Ok(Entry {
                entry,
                published_at,
                message,
            })
        })
        .collect()
}

/// Two counts.
pub(super) fn counts(answer: Value) -> Result<(u64, u64), Damaged> {
    let [one, other] = tuple(answer)?;
    Ok((number(one)?, number(other)?))
}

fn list(value: Value) -> Result<Vec<Value>, Damaged> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(Damaged),
    }
}

fn tuple<const N: usize>(value: Value) -> Result<[Value; N], Damaged> {
    list(value)?.try_into().map_err(|_| Damaged)
}

fn bytes(value: Value) -> Result<Vec<u8>, Damaged> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Damaged),
    }
}

fn text(value: Value) -> Result<String, Damaged> {
    String::from_utf8(bytes(value)?).map_err(|_| Damaged)
}

fn id(value: Value) -> Result<EntryId, Damaged> {
    text(value).map(EntryId::new)
}

fn number(value: Value) -> Result<u64, Damaged> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| Damaged),
        value => text(value)?.parse().map_err(|_| Damaged),
    }
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}
