//! Handles what the converter says: `media.progress`, `media.converted` and `media.failed`.
//!
//! Deliveries come at least once and in any order. Every branch can run twice: progress never goes
//! back, the first outcome stays, removals of what is gone succeed.

use crate::glue::jobs::JobError;
use crate::glue::log;
use crate::glue::object::{self, RESULTS, UPLOADS};
use crate::glue::store::Store;
use crate::id::JobId;
use crate::job::{Outcome, Stored};
use crate::message::{self, Report};

/// `Ok` acknowledges. What cannot be understood never will be: it is logged and acknowledged.
pub fn handle(subject: &str, body: &[u8]) -> Result<(), String> {
    let (id, report) = match message::parse(subject, body) {
        Ok(parsed) => parsed,
        Err(error) => {
            log::error(&format!("a message was dropped: {error}"));
            return Ok(());
        }
    };
    apply(&id, report).map_err(|error| {
        log::warn(&error.to_string());
        error.to_string()
    })
}

fn apply(id: &JobId, report: Report) -> Result<(), JobError> {
    let store = Store::open()?;
    let Some(stored) = store.read(id)? else {
        object::remove(RESULTS, &id.result_object())?;
        return Ok(());
    };
    match report {
        Report::Progress(progress) => note_progress(&store, id, &stored, progress)?,
        Report::Settled(outcome) => settle(&store, id, &stored, &outcome)?,
    }
    // The owner may have deleted the job between the look above and the write.
    if store.read(id)?.is_none() {
        store.forget(id)?;
        object::remove(RESULTS, &id.result_object())?;
    }
    Ok(())
}

/// Progress that was overtaken, by more progress or by the outcome, is of no interest.
fn note_progress(
    store: &Store,
    id: &JobId,
    stored: &Stored,
    progress: f64,
) -> Result<(), JobError> {
    let overtaken = stored.progress.is_some_and(|reached| reached >= progress);
    if stored.outcome.is_none() && !overtaken {
        store.note_progress(id, progress)?;
    }
    Ok(())
}

/// Keeps the first outcome; then the upload has served.
fn settle(store: &Store, id: &JobId, stored: &Stored, outcome: &Outcome) -> Result<(), JobError> {
    if stored.outcome.is_none() {
        store.settle(id, outcome)?;
    }
    object::remove(UPLOADS, id.as_str())?;
    Ok(())
}
