//! `GET /download?fid={id}`: a result, whole or a range of it, straight from the blob store.

use crate::glue::answer::Answer;
use crate::glue::exchange::{Exchange, Request};
use crate::glue::jobs::{self, JobError};
use crate::glue::log;
use crate::glue::object::{self, RESULTS};
use crate::glue::store::Store;
use crate::id::{JobId, UserId};
use crate::job::Outcome;
use crate::range::{self, Selection};
use crate::{filename, route};

/// A result that exists.
struct Found {
    object: String,
    name: String,
    size: u64,
    etag: String,
}

/// Answers 200, 206, 304 or 416; 404 for whatever is not the caller's, 409 for what is not ready.
pub fn send(request: &Request, exchange: Exchange, user: &UserId) {
    let found = match find(request, user) {
        Ok(found) => found,
        Err(refusal) => return exchange.send(refusal),
    };
    let unchanged = request
        .header("if-none-match")
        .is_some_and(|tags| range::matches_etag(&tags, &found.etag));
    if unchanged {
        let answer = Answer::empty(304).with("etag", found.etag);
        return exchange.send(answer.with("cache-control", CACHE_CONTROL));
    }
    let asked = request
        .header("range")
        .filter(|_| range::range_applies(request.header("if-range").as_deref(), &found.etag));
    match range::select(asked.as_deref(), found.size) {
        Selection::Unsatisfiable => {
            let answer = Answer::error(416, "The range lies outside the file.");
            exchange.send(answer.with("content-range", format!("bytes */{}", found.size)));
        }
        Selection::Whole => send_part(exchange, &found, None),
        Selection::Part { start, end } => send_part(exchange, &found, Some((start, end))),
    }
}

/// Results never change, but they belong to one person: only their own browser may keep them, and
/// asks again, because they can be deleted.
const CACHE_CONTROL: &str = "private, no-cache";

fn find(request: &Request, user: &UserId) -> Result<Found, Answer> {
    let id = route::query_value(request.query(), "fid")
        .and_then(|text| JobId::try_from(text.to_owned()).ok())
        .ok_or_else(Answer::not_found)?;
    let store = Store::open().map_err(|error| JobError::from(error).to_answer())?;
    let stored = jobs::find(&store, user, &id)
        .map_err(|error| error.to_answer())?
        .ok_or_else(Answer::not_found)?;
    match stored.outcome {
        Some(Outcome::Done { .. }) => {}
        Some(Outcome::Failed { .. }) => return Err(Answer::not_found()),
        None => return Err(Answer::error(409, "This file is not converted yet.")),
    }
    let object = id.result_object();
    let size = object::size(RESULTS, &object)
        .map_err(|error| JobError::from(error).to_answer())?
        .ok_or_else(|| {
            log::error(&format!("the result of job {} is missing", id.as_str()));
            Answer::not_found()
        })?;
    Ok(Found {
        etag: format!("\"{}-{size:x}\"", id.as_str()),
        name: filename::of_result(&stored.record.name),
        object,
        size,
    })
}

fn send_part(exchange: Exchange, found: &Found, part: Option<(u64, u64)>) {
    let (start, end) = part.unwrap_or((0, found.size.saturating_sub(1)));
    let length = if found.size == 0 { 0 } else { end - start + 1 };
    // Opened before the status goes out, so that a failure still has an answer.
    let source = if length == 0 || exchange.is_head() {
        None
    } else {
        match object::read(RESULTS, &found.object, start, end) {
            Ok(stream) => Some(stream),
            Err(error) => return exchange.send(JobError::from(error).to_answer()),
        }
    };
    let mut headers = vec![
        ("content-type", "audio/mpeg".to_owned()),
        ("content-length", length.to_string()),
        ("content-disposition", filename::attachment(&found.name)),
        ("accept-ranges", "bytes".to_owned()),
        ("etag", found.etag.clone()),
        ("cache-control", CACHE_CONTROL.to_owned()),
    ];
    if part.is_some() {
        headers.push((
            "content-range",
            format!("bytes {start}-{end}/{}", found.size),
        ));
    }
    let status = if part.is_some() { 206 } else { 200 };
    let Some(mut writer) = exchange.start(status, &headers) else {
        return;
    };
    let moved = source.map_or(0, |source| writer.splice(&source, length));
    // Less than promised: dropping the writer tells the client that the body is incomplete.
    if moved == length {
        writer.finish();
    }
}
