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

/// Whether it is the name of an entry, as this backend forms them.
pub(super) fn is_id(entry: &EntryId) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let parts = entry.as_str().split_once('-');
    parts.is_some_and(|(ms, sequence)| is_number(ms) && is_number(sequence))
}

/// `{id, added}` of a publication.
pub(super) fn published(answer: Value) -> Result<(EntryId, u64), Damaged> {
    let [entry, added] = tuple(answer)?;
    Ok((id(entry)?, number(added)?))
}

/// What a claim found: deliveries, or else how long it is until something is due.
pub(super) fn claimed(
    group: &Group,
    answer: Value,
) -> Result<(Vec<Delivery>, Option<Duration>), Damaged> {
    let [wait, claimed] = tuple(answer)?;
    let deliveries = list(claimed)?
        .into_iter()
        .map(|delivery| {
            let [entry, attempt, fields] = tuple(delivery)?;
            let (message, published_at) = decode(&group.subject, fields)?;
            let attempt = number(attempt)?;
            Ok(Delivery {
                entry: id(entry)?,
                group: group.clone(),
                attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
                message,
                published_at,
                token: LeaseToken(attempt),
            })
        })
        .collect::<Result<_, Damaged>>()?;
    // Negative: nothing is due at all.
    let wait = number(wait).ok().map(Duration::from_millis);
    Ok((deliveries, wait))
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
        let letter = text(letter)?;
        let mut parts = letter.splitn(3, ' ');
        let mut part = || parts.next().ok_or(Damaged);
        let (died_at, attempts, reason) = (part()?, part()?, part()?);
        if matches!(&fields, Value::Array(fields) if fields.is_empty()) {
            continue;
        }
        let (message, published_at) = decode(subject, fields)?;
        letters.push(DeadLetter {
            entry: id(entry)?,
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
            let (message, published_at) = decode(subject, fields)?;
            Ok(Entry {
                entry: id(entry)?,
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
