//! `GET /jobs`, `GET` and `DELETE /jobs/{id}`, `GET /notices`.

use serde::Serialize;

use crate::bindings::wharf::media::notices as notices_call;
use crate::glue::answer::Answer;
use crate::glue::exchange::Request;
use crate::glue::log;
use crate::glue::object::{self, BlobError, RESULTS, UPLOADS};
use crate::glue::store::{Store, StoreError};
use crate::glue::upload;
use crate::id::{JobId, UserId};
use crate::job::{Job, Stored};
use crate::{route, time};

/// Entries in a list whose reader asks for no number.
const LIMIT_DEFAULT: usize = 50;
/// Most entries in one list: about 50 kB of JSON.
const LIMIT_MAX: usize = 200;

/// Why a job cannot be shown or removed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Its records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its objects cannot be read or removed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl JobError {
    /// Logs it and gives what to answer.
    pub fn to_answer(&self) -> Answer {
        log::error(&self.to_string());
        Answer::unavailable("Your files cannot be read right now. Try again soon.")
    }
}

/// The caller's jobs, newest first.
pub fn list(request: &Request, user: &UserId) -> Answer {
    let limit = match limit_of(request) {
        Ok(limit) => limit,
        Err(refusal) => return refusal,
    };
    match newest(user, limit) {
        Ok(jobs) => Answer::json(200, &jobs),
        Err(error) => error.to_answer(),
    }
}

fn newest(user: &UserId, limit: usize) -> Result<Vec<Job>, JobError> {
    let store = Store::open()?;
    let now_ms = time::now_ms();
    let mut jobs = Vec::new();
    for (id, stored) in store.newest(user, limit)? {
        if let Some(stored) = repair(&store, &id, stored, now_ms)? {
            jobs.push(Job::of(id, stored));
        }
    }
    Ok(jobs)
}

/// One of the caller's jobs.
pub fn show(user: &UserId, id: &JobId) -> Answer {
    let found = Store::open()
        .map_err(JobError::from)
        .and_then(|store| find(&store, user, id));
    match found {
        Ok(Some(stored)) => Answer::json(200, &Job::of(id.clone(), stored)),
        Ok(None) => Answer::not_found(),
        Err(error) => error.to_answer(),
    }
}

/// Gives a job if it is the user's.
pub fn find(store: &Store, user: &UserId, id: &JobId) -> Result<Option<Stored>, JobError> {
    match store.read(id)? {
        Some(stored) if stored.record.user == *user => repair(store, id, stored, time::now_ms()),
        Some(_) | None => Ok(None),
    }
}

/// Completes what an interrupted upload left: a recorded job that nothing ever mentioned is announced
/// again, or, if its object never appeared, removed. The converter takes a second announcement as the
/// first one.
pub fn repair(
    store: &Store,
    id: &JobId,
    stored: Stored,
    now_ms: u64,
) -> Result<Option<Stored>, JobError> {
    if !stored.needs_repair(now_ms) {
        return Ok(Some(stored));
    }
    if object::size(UPLOADS, id.as_str())?.is_none() {
        store.remove(id, &stored.record)?;
        return Ok(None);
    }
    match upload::announce(id, &stored.record) {
        Ok(()) => store.mark_published(id)?,
        Err(reason) => log::warn(&format!("a job could not be announced again: {reason}")),
    }
    Ok(Some(stored))
}

/// Removes a job and all that belongs to it. Answers 204.
pub fn delete(user: &UserId, id: &JobId) -> Answer {
    match remove(user, id) {
        Ok(true) => Answer::empty(204),
        Ok(false) => Answer::not_found(),
        Err(error) => error.to_answer(),
    }
}

/// The objects go first, so that a job whose removal was interrupted is still listed and can be
/// removed again. A converter may be writing its result meanwhile: its message finds no job and
/// removes it, or came just before the record went, and then the last line does.
fn remove(user: &UserId, id: &JobId) -> Result<bool, JobError> {
    let store = Store::open()?;
    let Some(stored) = store.read(id)?.filter(|stored| stored.record.user == *user) else {
        return Ok(false);
    };
    object::remove(UPLOADS, id.as_str())?;
    object::remove(RESULTS, &id.result_object())?;
    store.remove(id, &stored.record)?;
    object::remove(RESULTS, &id.result_object())?;
    Ok(true)
}

#[derive(Serialize)]
struct ShownNotice {
    job: String,
    outcome: &'static str,
    text: String,
    created_at: String,
}

/// What the notifier told the caller, newest first.
pub fn notices(request: &Request, user: &UserId) -> Answer {
    let limit = match limit_of(request) {
        Ok(limit) => limit,
        Err(refusal) => return refusal,
    };
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    match notices_call::recent(user.as_str(), limit) {
        Ok(notices) => {
            let shown: Vec<_> = notices.into_iter().map(show_notice).collect();
            Answer::json(200, &shown)
        }
        Err(reason) => {
            log::error(&format!("notices cannot be read: {reason}"));
            Answer::unavailable("Your notices cannot be read right now. Try again soon.")
        }
    }
}

fn show_notice(notice: notices_call::Notice) -> ShownNotice {
    ShownNotice {
        job: notice.job,
        outcome: match notice.outcome {
            notices_call::Outcome::Converted => "converted",
            notices_call::Outcome::Failed => "failed",
        },
        text: notice.text,
        created_at: time::rfc3339(notice.created_at_ms),
    }
}

/// The parameter `limit`, at most [`LIMIT_MAX`].
fn limit_of(request: &Request) -> Result<usize, Answer> {
    match route::query_value(request.query(), "limit") {
        None => Ok(LIMIT_DEFAULT),
        Some(text) => match text.parse::<usize>() {
            Ok(limit) if limit > 0 => Ok(limit.min(LIMIT_MAX)),
            _ => Err(Answer::error(400, "'limit' must be a positive number.")),
        },
    }
}
