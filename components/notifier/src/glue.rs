//! The world `notifier` of `wit/media.wit`, carried over to the plain modules and back.

use std::error::Error;
use std::time::Duration;

use crate::event::{Event, Outcome};
use crate::list::{self, Notice, Store, StoreError};
use crate::telling::{self, Told};
use crate::webhook::{self, Target, WebhookError};

use bindings::exports::wasmcloud::messaging::handler;
use bindings::exports::wharf::media::notices;
use bindings::wasi::clocks::wall_clock;
use bindings::wasi::http::outgoing_handler;
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use bindings::wasi::keyvalue0_2_0_draft::{atomics, batch, store};
use bindings::wasi::logging::logging::{Level, log};

#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    reason = "generated from wit/, where the documentation is"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "notifier", generate_all });
    export!(Component);
    use super::Component;
}

/// `wasi:logging` groups messages by this.
const LOG_CONTEXT: &str = "notifier";
/// A webhook that takes longer than this to connect or to answer is tried again later instead.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// `blocking-write-and-flush` of wasi:io 0.2 takes no more at once.
const WRITE_BYTES_MAX: usize = 4096;

struct Component;

impl handler::Guest for Component {
    fn handle_message(message: handler::BrokerMessage) -> Result<(), String> {
        let event = match Event::parse(&message.subject, &message.body) {
            Ok(event) => event,
            Err(error) => {
                // It will never be a notice: recorded here and acknowledged.
                log(
                    Level::Error,
                    LOG_CONTEXT,
                    &format!("message dropped: {}", chain(&error)),
                );
                return Ok(());
            }
        };
        let outcome = Bucket::open()
            .map_err(|error| telling::TellError::List(error.into()))
            .and_then(|bucket| telling::tell(&bucket, &event, now_ms(), tell_webhook));
        match outcome {
            Ok(Told::Now) => {
                log(
                    Level::Info,
                    LOG_CONTEXT,
                    &format!("notice told: job={}", event.job),
                );
                Ok(())
            }
            Ok(Told::Before) => {
                log(
                    Level::Debug,
                    LOG_CONTEXT,
                    &format!("notice told before: job={}", event.job),
                );
                Ok(())
            }
            Err(error) => {
                let cause = chain(&error);
                log(
                    Level::Warn,
                    LOG_CONTEXT,
                    &format!("notice not told: job={}: {cause}", event.job),
                );
                Err(cause)
            }
        }
    }
}

impl notices::Guest for Component {
    fn recent(user: String, limit: u32) -> Result<Vec<notices::Notice>, String> {
        let recent = Bucket::open()
            .map_err(list::ListError::from)
            .and_then(|bucket| list::recent(&bucket, &user, limit));
        match recent {
            Ok(found) => Ok(found.into_iter().map(exported).collect()),
            Err(error) => {
                log(
                    Level::Error,
                    LOG_CONTEXT,
                    &format!("notices not read: {}", chain(&error)),
                );
                Err("The notices cannot be read at the moment.".to_owned())
            }
        }
    }
}

fn exported(notice: Notice) -> notices::Notice {
    notices::Notice {
        job: notice.job,
        outcome: match notice.outcome {
            Outcome::Converted => notices::Outcome::Converted,
            Outcome::Failed => notices::Outcome::Failed,
        },
        text: notice.text,
        created_at_ms: notice.created_at_ms,
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}

fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// The component's own key-value store.
struct Bucket(store::Bucket);

impl Bucket {
    fn open() -> Result<Self, StoreError> {
        // The empty label is the component's private store.
        store::open("").map(Self).map_err(store_error)
    }
}

impl Store for Bucket {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key).map_err(store_error)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let found = batch::get_many(&self.0, keys).map_err(store_error)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.set(key, value).map_err(store_error)
    }

    fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        atomics::increment(&self.0, key, delta).map_err(store_error)
    }
}

fn store_error(error: store::Error) -> StoreError {
    StoreError(match error {
        store::Error::NoSuchStore => "there is no such store".to_owned(),
        store::Error::AccessDenied => "access to the store is denied".to_owned(),
        store::Error::Other(cause) => cause,
    })
}

/// Posts a notice to the webhook, if one is configured.
fn tell_webhook(event: &Event, notice: &Notice) -> Result<(), WebhookError> {
    match Target::parse(std::env::var("NOTIFY_WEBHOOK_URL").ok().as_deref())? {
        None => Ok(()),
        Some(target) => {
            let response = post(&target, &event.job, &webhook::body(event, notice))
                .map_err(|code| transport_error(&target, &code))?;
            webhook::accepted(response.status())
        }
    }
}

fn transport_error(target: &Target, code: &ErrorCode) -> WebhookError {
    let origin = target.origin();
    match code {
        ErrorCode::HttpRequestDenied => WebhookError::Denied(origin),
        other => WebhookError::Transport {
            origin,
            cause: format!("{other:?}"),
        },
    }
}

/// Sends one POST and waits for the head of the response; its body is of no interest.
fn post(target: &Target, job: &str, body: &[u8]) -> Result<IncomingResponse, ErrorCode> {
    let headers = Fields::from_list(&[
        ("content-type".to_owned(), b"application/json".to_vec()),
        (
            "content-length".to_owned(),
            body.len().to_string().into_bytes(),
        ),
        ("idempotency-key".to_owned(), job.as_bytes().to_vec()),
    ])
    .expect("names and values are of our own making");
    let request = OutgoingRequest::new(headers);
    let scheme = if target.encrypted {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_method(&Method::Post).map_err(invalid)?;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request
        .set_authority(Some(&target.authority))
        .map_err(invalid)?;
    request
        .set_path_with_query(Some(&target.path))
        .map_err(invalid)?;
    let outgoing = request.body().expect("a new request still has its body");

    let future = outgoing_handler::handle(request, Some(options()))?;
    let stream = outgoing.write().expect("a new body still has its stream");
    for chunk in body.chunks(WRITE_BYTES_MAX) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            // The connection is gone; the response says why.
            break;
        }
    }
    drop(stream);
    // Whether the body arrived is the receiver's to say: its status is what counts.
    let _ = OutgoingBody::finish(outgoing, None);
    future.subscribe().block();
    future
        .get()
        .expect("the future was waited for")
        .expect("the response is taken once")
}

fn options() -> RequestOptions {
    let timeout = u64::try_from(WEBHOOK_TIMEOUT.as_nanos()).ok();
    let options = RequestOptions::new();
    // A host may decline a timeout. Then the delivery's own deadline is what bounds the wait.
    let _ = options.set_connect_timeout(timeout);
    let _ = options.set_first_byte_timeout(timeout);
    let _ = options.set_between_bytes_timeout(timeout);
    options
}
