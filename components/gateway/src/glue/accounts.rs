//! `/register`, `/login` and `/validate`: passed on to auth as they come, streamed both ways.
//!
//! Credentials go through here unread. Headers that concern one connection only are left out (RFC
//! 9110, section 7.6.1).

use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingRequest,
    RequestOptions, Scheme,
};
use crate::bindings::wasi::io::poll::poll;
use crate::bindings::wasi::io::streams::StreamError;
use crate::glue::answer::Answer;
use crate::glue::exchange::{BodyReader, BodyWriter, CHUNK_BYTES, Exchange, Request};
use crate::glue::log;

/// Where auth listens, inside the host.
const AUTHORITY: &str = "auth.internal";
/// Largest body that is passed on: an address and a password fit many times.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Auth hashes passwords in tens of milliseconds; a queue in front of it may add seconds.
const FIRST_BYTE_NS_MAX: u64 = 20_000_000_000;

/// Headers of one connection, and the one that names its host.
const NOT_PASSED_ON: [&str; 10] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Sends the request to auth at `path` and its response back.
pub fn pass_on(request: &Request, exchange: Exchange, path: &str) {
    match ask(request, path) {
        Ok(response) => answer_with(exchange, &response),
        Err(refusal) => exchange.send(refusal),
    }
}

fn ask(request: &Request, path: &str) -> Result<IncomingResponse, Answer> {
    let outgoing = OutgoingRequest::new(passed_on(request.headers()));
    let target_is_set = outgoing.set_method(&Method::Post).is_ok()
        && outgoing.set_scheme(Some(&Scheme::Http)).is_ok()
        && outgoing.set_authority(Some(AUTHORITY)).is_ok()
        && outgoing.set_path_with_query(Some(path)).is_ok();
    assert!(target_is_set, "our own target is well formed");
    let body = outgoing.body().expect("the body is taken once");
    let options = RequestOptions::new();
    // A host that cannot limit the wait says so; its own limits then hold.
    let _unsupported = options.set_first_byte_timeout(Some(FIRST_BYTE_NS_MAX));

    let pending = outgoing_handler::handle(outgoing, Some(options)).map_err(|e| failed(&e))?;
    pump(&request.body(), BodyWriter::new(body), &pending)?;
    loop {
        match pending.get() {
            Some(Ok(outcome)) => return outcome.map_err(|error| failed(&error)),
            Some(Err(())) => return Err(failed(&ErrorCode::HttpProtocolError)),
            None => pending.subscribe().block(),
        }
    }
}

/// Moves the request's body until it ends, auth wants no more of it, or auth has answered.
fn pump(
    source: &BodyReader,
    sink: BodyWriter,
    pending: &FutureIncomingResponse,
) -> Result<(), Answer> {
    let answered = pending.subscribe();
    let arrived = source.stream().subscribe();
    let writable = sink.stream().subscribe();
    let mut moved: u64 = 0;
    loop {
        match sink.stream().check_write() {
            Ok(0) => {
                poll(&[&answered, &writable]);
            }
            Ok(permitted) => {
                let piece = match source.stream().read(permitted.min(CHUNK_BYTES)) {
                    Ok(piece) => piece,
                    Err(StreamError::Closed) => break,
                    Err(StreamError::LastOperationFailed(_)) => {
                        return Err(Answer::error(400, "The request broke off."));
                    }
                };
                moved += piece.len() as u64;
                if moved > REQUEST_BYTES_MAX {
                    return Err(Answer::error(413, "The request is too large."));
                }
                if piece.is_empty() {
                    poll(&[&answered, &arrived]);
                } else if sink.stream().write(&piece).is_err() {
                    return Ok(());
                }
            }
            Err(_) => return Ok(()),
        }
        if answered.ready() {
            return Ok(());
        }
    }
    // A stream's pollables go before the stream.
    drop(writable);
    sink.finish();
    Ok(())
}

fn answer_with(exchange: Exchange, response: &IncomingResponse) {
    let fields = passed_on(response.headers().entries());
    let body = response.consume().expect("the body is taken once");
    let reader = BodyReader::new(body);
    let Some(mut writer) = exchange.start_with(response.status(), fields) else {
        return;
    };
    writer.splice(reader.stream(), u64::MAX);
    writer.finish();
}

/// The headers that go on: neither a connection's own nor those that it names.
fn passed_on(headers: Vec<(String, Vec<u8>)>) -> Fields {
    let named: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| {
            String::from_utf8_lossy(value)
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .collect::<Vec<_>>()
        })
        .collect();
    let fields = Fields::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if NOT_PASSED_ON.contains(&lower.as_str()) || named.contains(&lower) {
            continue;
        }
        // What a host forbids beyond our own list does not go on either.
        let _forbidden = fields.append(&name, &value);
    }
    fields
}

/// Logs why auth did not answer and says it to the client: worth another try, too late, or broken.
fn failed(error: &ErrorCode) -> Answer {
    log::error(&format!("auth did not answer: {error:?}"));
    match error {
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => {
            Answer::error(504, "The login service took too long to answer.")
        }
        ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DnsError(_)
        | ErrorCode::DnsTimeout => {
            Answer::unavailable("The login service cannot be reached right now. Try again soon.")
        }
        _ => Answer::error(502, "The login service failed."),
    }
}
