//! `POST /upload`: a file off the line, into the blob store, on its way to the converter.
//!
//! ```text
//! body ─pieces─▶ form ─data─▶ object (invisible)
//!                              │ body complete
//!                  record ◀────┤            a job without an object is repaired away,
//!                  object visible           an object without a job would be nobody's
//!                  media.uploaded published
//!                  202
//! ```
//!
//! Whatever fails takes back all that was done before it. A client that goes away ends this instance
//! wherever it is; [`super::jobs::repair`] completes or removes what that may leave.

use crate::bindings::wasi::random::random::get_random_bytes;
use crate::bindings::wasmcloud::messaging::consumer;
use crate::bindings::wasmcloud::messaging::types::BrokerMessage;
use crate::form::{Form, FormError};
use crate::glue::answer::Answer;
use crate::glue::exchange::{BodyError, BodyReader, Exchange, Request};
use crate::glue::log;
use crate::glue::object::{self, BlobError, NewObject, UPLOADS};
use crate::glue::store::{Store, StoreError};
use crate::id::{JOB_ID_BYTES, JobId, UserId};
use crate::job::Record;
use crate::message::{UPLOADED, Uploaded};
use crate::multipart::{Event, FormatError, Reader};
use crate::{size, time};

/// The environment variable with the largest file that is taken, in bytes.
const LIMIT_VARIABLE: &str = "UPLOAD_BYTES_MAX";
/// What a form may add to its file: boundaries, heads, filler.
const FORM_BYTES_MAX: u64 = 16 * 1024;

/// Why there is no job.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("{LIMIT_VARIABLE} is not a number of bytes")]
    Limit,
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("the file is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{UPLOADED} was not published: {reason}")]
    Publish { reason: String },
}

impl From<FormatError> for UploadError {
    fn from(error: FormatError) -> Self {
        Self::Form(error.into())
    }
}

/// Answers 202 with the new job's identifier, or what went wrong.
pub fn receive(request: &Request, exchange: Exchange, user: &UserId) {
    let body = request.body();
    match accept(request, &body, user) {
        Ok(id) => {
            let accepted = Answer::json(202, &serde_json::json!({ "id": id }));
            exchange.send(accepted.with("location", format!("/jobs/{}", id.as_str())));
        }
        Err(error) => exchange.refuse(&refusal(&error), &body),
    }
}

fn accept(request: &Request, body: &BodyReader, user: &UserId) -> Result<JobId, UploadError> {
    let limit: u64 = std::env::var(LIMIT_VARIABLE)
        .ok()
        .and_then(|value| value.parse().ok())
        .ok_or(UploadError::Limit)?;
    let announced = request
        .header("content-length")
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit.saturating_add(FORM_BYTES_MAX)) {
        return Err(UploadError::TooLarge { limit });
    }
    let reader = Reader::new(&request.header("content-type").unwrap_or_default())?;

    let id = new_id();
    let mut object = NewObject::create(UPLOADS, id.as_str())?;
    let file = copy_file(reader, body, &mut object, limit)?;
    let store = Store::open()?;
    let record = Record {
        user: user.clone(),
        name: file.name,
        size_bytes: file.size_bytes,
        created_at_ms: time::now_ms(),
        ordinal: store.next_ordinal(user)?,
    };
    let committed = store
        .create(&id, &record)
        .map_err(UploadError::from)
        .and_then(|()| Ok(object.commit()?))
        .and_then(|()| publish(&id, &record));
    if let Err(error) = committed {
        take_back(&store, &id, &record);
        return Err(error);
    }
    // Only spares a later reader the question whether it was published.
    if let Err(error) = store.mark_published(&id) {
        log::warn(&error.to_string());
    }
    Ok(id)
}

fn new_id() -> JobId {
    let mut bytes = [0; JOB_ID_BYTES];
    bytes.copy_from_slice(&get_random_bytes(JOB_ID_BYTES as u64));
    JobId::from_random(bytes)
}

struct ReceivedFile {
    name: String,
    size_bytes: u64,
}

/// Copies the form's file into `object`, to the body's last byte.
fn copy_file(
    mut reader: Reader,
    body: &BodyReader,
    object: &mut NewObject,
    limit: u64,
) -> Result<ReceivedFile, UploadError> {
    let mut form = Form::default();
    let mut size_bytes: u64 = 0;
    while let Some(piece) = body.read()? {
        reader.feed(&piece, |event| -> Result<(), UploadError> {
            match event {
                Event::Head(head) => form.begin_part(head)?,
                Event::Data(data) => {
                    size_bytes += data.len() as u64;
                    if size_bytes > limit {
                        return Err(UploadError::TooLarge { limit });
                    }
                    object.write(data)?;
                }
                Event::End => {}
            }
            Ok(())
        })?;
    }
    reader.finish()?;
    Ok(ReceivedFile {
        name: form.finish()?,
        size_bytes,
    })
}

/// Announces the job's upload to the converter.
fn publish(id: &JobId, record: &Record) -> Result<(), UploadError> {
    announce(id, record).map_err(|reason| UploadError::Publish { reason })
}

/// Publishes `media.uploaded`; durable when it returns.
pub fn announce(id: &JobId, record: &Record) -> Result<(), String> {
    let uploaded = Uploaded {
        job: id,
        user: &record.user,
        name: &record.name,
        blob: id.as_str(),
        size_bytes: record.size_bytes,
    };
    consumer::publish(&BrokerMessage {
        subject: UPLOADED.to_owned(),
        body: serde_json::to_vec(&uploaded).expect("a message is representable as JSON"),
        reply_to: None,
    })
}

/// Removes the blob first: while the record is there, a reader can still repair what this leaves.
fn take_back(store: &Store, id: &JobId, record: &Record) {
    object::remove_quietly(UPLOADS, id.as_str());
    if let Err(error) = store.remove(id, record) {
        log::error(&error.to_string());
    }
}

/// One place says which failure is whose, and logs those that are ours.
fn refusal(error: &UploadError) -> Answer {
    match error {
        UploadError::Form(form) => Answer::error(400, form.to_string()),
        UploadError::TooLarge { limit } => Answer::error(
            413,
            format!(
                "The file is too large: at most {} can be taken.",
                size::in_words(*limit)
            ),
        ),
        UploadError::Body(BodyError::TooLarge) => {
            Answer::error(413, "The file is too large for this server.")
        }
        UploadError::Body(BodyError::BrokenOff) => {
            Answer::error(400, FormatError::EndedEarly.to_string())
        }
        UploadError::Limit => {
            log::error(&error.to_string());
            Answer::broken()
        }
        UploadError::Blob(_) | UploadError::Store(_) => {
            log::error(&error.to_string());
            Answer::unavailable("The file could not be stored; nothing was kept. Try again soon.")
        }
        UploadError::Publish { reason } => {
            log::warn(&error.to_string());
            Answer::unavailable(if reason.contains("full") {
                "Too many files are waiting; yours was not kept. Try again soon."
            } else {
                "The file could not be queued; it was not kept. Try again soon."
            })
        }
    }
}
