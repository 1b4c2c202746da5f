//! The world `auth` of `wit/media.wit`, carried over to the plain modules and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::account::{Store, StoreError};
use crate::api::{self, Answer, BODY_BYTES_MAX, BodyError, Request};
use crate::config::Settings;
use crate::token::{self, Denial};

use bindings::exports::wasi::http::incoming_handler;
use bindings::exports::wharf::media::identity;
use bindings::wasi::clocks::monotonic_clock;
use bindings::wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use bindings::wasi::io::streams::StreamError;
use bindings::wasi::keyvalue0_2_0_draft::{atomics, store};

#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    reason = "generated from wit/, where the documentation is"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "auth", generate_all });
    export!(Component);
    use super::Component;
}

/// How much of a body is asked for at a time.
const READ_BYTES: u64 = 8 * 1024;
/// `blocking-write-and-flush` of wasi:io 0.2 takes no more at once.
const WRITE_BYTES_MAX: usize = 4096;

struct Component;

impl incoming_handler::Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let method = method(&request.method());
        let target = request.path_with_query().unwrap_or_default();
        let authorization = request.headers().get("authorization");
        let parts = Request {
            method: &method,
            path: target.split('?').next().unwrap_or_default(),
            // Two such headers would be two answers to who is asking.
            authorization: match authorization.as_slice() {
                [only] => std::str::from_utf8(only).ok(),
                _ => None,
            },
        };
        let answer = match Bucket::open() {
            Ok(bucket) => api::answer(&parts, &bucket, settings, || body(&request)),
            Err(error) => Answer::store_unavailable(&error),
        };
        if let Some(fault) = &answer.fault {
            eprintln!("request failed: {fault}");
        }
        respond(out, &answer);
    }
}

impl identity::Guest for Component {
    fn verify(token: String) -> Result<identity::Claims, identity::Denial> {
        let settings = settings().map_err(|error| {
            eprintln!("tokens cannot be checked: {error}");
            identity::Denial::Unavailable
        })?;
        let claims = token::verify(&settings, &token, now_ms() / 1000).map_err(denial)?;
        Ok(identity::Claims {
            subject: claims.sub,
            email: claims.email,
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }
}

fn settings() -> Result<Settings, crate::config::ConfigError> {
    Settings::read(|name| std::env::var(name).ok())
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn denial(denial: Denial) -> identity::Denial {
    match denial {
        Denial::Malformed => identity::Denial::Malformed,
        Denial::Algorithm => identity::Denial::Algorithm,
        Denial::UnknownKey => identity::Denial::UnknownKey,
        Denial::Signature => identity::Denial::Signature,
        Denial::Issuer => identity::Denial::Issuer,
        Denial::Audience => identity::Denial::Audience,
        Denial::Expired => identity::Denial::Expired,
        Denial::Unavailable => identity::Denial::Unavailable,
    }
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

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.set(key, value).map_err(store_error)
    }

    fn increment(&self, key: &str) -> Result<u64, StoreError> {
        atomics::increment(&self.0, key, 1).map_err(store_error)
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn pause(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        monotonic_clock::subscribe_duration(nanoseconds).block();
    }
}

fn store_error(error: store::Error) -> StoreError {
    StoreError(match error {
        store::Error::NoSuchStore => "there is no such store".to_owned(),
        store::Error::AccessDenied => "access to the store is denied".to_owned(),
        store::Error::Other(cause) => cause,
    })
}

fn method(method: &Method) -> String {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
    .to_owned()
}

/// Reads a request's whole body, within the limit.
fn body(request: &IncomingRequest) -> Result<Vec<u8>, BodyError> {
    let incoming = request.consume().map_err(|()| BodyError::Broken)?;
    let stream = incoming.stream().map_err(|()| BodyError::Broken)?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(chunk) if body.len() + chunk.len() > BODY_BYTES_MAX => {
                return Err(BodyError::TooLarge);
            }
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(_)) => return Err(BodyError::Broken),
        }
    }
}

fn respond(out: ResponseOutparam, answer: &Answer) {
    let bytes = answer.body.to_string().into_bytes();
    let mut headers = vec![
        ("content-type".to_owned(), b"application/json".to_vec()),
        (
            "content-length".to_owned(),
            bytes.len().to_string().into_bytes(),
        ),
        // Tokens and claims are nobody else's to keep.
        ("cache-control".to_owned(), b"no-store".to_vec()),
    ];
    headers.extend(
        answer
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())),
    );
    let headers = Fields::from_list(&headers).expect("names and values are of our own making");
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(answer.status)
        .expect("every status of ours is a valid one");
    let body = response.body().expect("a new response still has its body");
    ResponseOutparam::set(out, Ok(response));

    // From here on only the client can be at fault, by going away: there is nobody left to tell.
    if let Ok(stream) = body.write() {
        for chunk in bytes.chunks(WRITE_BYTES_MAX) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
