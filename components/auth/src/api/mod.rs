//! The HTTP interface, as a function from a request's parts to an answer.
//!
//! ```text
//! POST /register  {email, password}       201 {id, email}         400 409 413 503
//! POST /login     Authorization: Basic    200 {token, expires_in} 401 503
//! POST /validate  Authorization: Bearer   200 the claims          401
//! ```
//!
//! Whatever fails is `{"error": "a sentence"}`. It refuses to know how requests arrive, so that all
//! of it is tested natively; the glue carries it over `wasi:http`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{self, AccountError, Store, StoreError};
use crate::config::{ConfigError, Settings};
use crate::credentials::{self, Email};
use crate::registration::{self, CLAIM_ABANDONED_AFTER, Registration};
use crate::token::{self, Denial};

/// An address and a password fit many times over; more is not worth reading.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a client is asked to wait where the store may be back by then.
const RETRY_AFTER_SECONDS: &str = "5";

const ACCOUNTS_UNREACHABLE: &str = "Accounts cannot be reached at the moment.";
const BASIC_CHALLENGE: &str = r#"Basic realm="wharf", charset="UTF-8""#;

/// The body of a request was not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than [`BODY_BYTES_MAX`].
    #[error("The request body is too large: {BODY_BYTES_MAX} bytes are the most.")]
    TooLarge,
    /// It broke off.
    #[error("The request body could not be read.")]
    Broken,
}

/// A request, as far as it matters here.
pub struct Request<'a> {
    /// In capitals, as on the wire.
    pub method: &'a str,
    /// Without a query.
    pub path: &'a str,
    /// The `Authorization` header, if it is there and is text.
    pub authorization: Option<&'a str>,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Value,
    /// What went wrong on our side, for the log: never a password, an address or a token.
    pub fault: Option<String>,
}

impl Answer {
    fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            fault: None,
        }
    }

    fn error(status: u16, sentence: impl ToString) -> Self {
        Self::new(status, json!({ "error": sentence.to_string() }))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer where the store did not do what it was asked: it may when it is asked again.
    #[must_use]
    pub fn store_unavailable(error: &StoreError) -> Self {
        Self {
            status: 503,
            ..Self::fault(error, ACCOUNTS_UNREACHABLE)
        }
        .with("retry-after", RETRY_AFTER_SECONDS)
    }

    fn fault(error: &dyn std::error::Error, sentence: &str) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        Self {
            fault: Some(chain),
            ..Self::error(500, sentence)
        }
    }
}

#[derive(Deserialize)]
struct Registrant {
    email: String,
    password: String,
}

/// Answers one request. `settings` and `body` are read only where they are needed.
pub fn answer(
    request: &Request<'_>,
    store: &impl Store,
    settings: impl FnOnce() -> Result<Settings, ConfigError>,
    body: impl FnOnce() -> Result<Vec<u8>, BodyError>,
) -> Answer {
    if !matches!(request.path, "/register" | "/login" | "/validate") {
        return Answer::error(404, "There is nothing at this address.");
    }
    if request.method != "POST" {
        return Answer::error(405, "This address takes POST only.").with("allow", "POST");
    }
    if request.path == "/register" {
        return body().map_or_else(refuse_body, |body| register(store, &body));
    }
    match settings() {
        Ok(settings) if request.path == "/login" => login(request, store, &settings),
        Ok(settings) => validate(request, store, &settings),
        Err(error) => Answer::fault(&error, "Signing in is not configured correctly."),
    }
}

fn refuse_body(error: BodyError) -> Answer {
    match error {
        BodyError::TooLarge => Answer::error(413, error),
        BodyError::Broken => Answer::error(400, error),
    }
}

fn register(store: &impl Store, body: &[u8]) -> Answer {
    let Ok(Registrant { email, password }) = serde_json::from_slice(body) else {
        let sentence = r#"The body must be JSON with the strings "email" and "password"."#;
        return Answer::error(400, sentence);
    };
    let email = match Email::parse(&email) {
        Ok(email) => email,
        Err(error) => return Answer::error(400, error),
    };
    if let Err(error) = credentials::check_password(&password) {
        return Answer::error(400, error);
    }
    match registration::register(store, &email, &password) {
        Ok(Registration::Created(account)) => {
            Answer::new(201, json!({ "id": account.id, "email": account.email }))
        }
        Ok(Registration::Taken) => Answer::error(409, "This email address is already registered."),
        Ok(Registration::InProgress) => {
            let sentence = "This email address is being registered already; try again in a minute.";
            Answer::error(409, sentence)
                .with("retry-after", CLAIM_ABANDONED_AFTER.as_secs().to_string())
        }
        Err(error) => account_fault(&error),
    }
}

fn login(request: &Request<'_>, store: &impl Store, settings: &Settings) -> Answer {
    let denied = || {
        Answer::error(401, "The email address or the password is wrong.")
            .with("www-authenticate", BASIC_CHALLENGE)
    };
    let Some((user, password)) = request.authorization.and_then(credentials::basic) else {
        return denied();
    };
    let account = match account::authenticate(store, &user, &password) {
        Ok(Some(account)) => account,
        Ok(None) => return denied(),
        Err(error) => return account_fault(&error),
    };
    match token::issue(settings, &account.id, &account.email, store.now_ms() / 1000) {
        Ok(token) => Answer::new(
            200,
            json!({ "token": token, "expires_in": settings.token_ttl_seconds }),
        ),
        Err(error) => Answer::fault(&error, "The token could not be signed."),
    }
}

fn validate(request: &Request<'_>, store: &impl Store, settings: &Settings) -> Answer {
    let Some(token) = request.authorization.and_then(credentials::bearer) else {
        // RFC 6750 section 3.1: no error code where no authentication was tried.
        return Answer::error(401, "A bearer token is needed.")
            .with("www-authenticate", r#"Bearer realm="wharf""#);
    };
    match token::verify(settings, token, store.now_ms() / 1000) {
        Ok(claims) => Answer::new(200, json!(claims)),
        Err(denial) => deny(denial),
    }
}

fn deny(denial: Denial) -> Answer {
    let challenge =
        format!(r#"Bearer realm="wharf", error="invalid_token", error_description="{denial}""#);
    let body = json!({ "error": denial.to_string(), "denial": denial.word() });
    Answer::new(401, body).with("www-authenticate", challenge)
}

fn account_fault(error: &AccountError) -> Answer {
    match error {
        AccountError::Store(error) => Answer::store_unavailable(error),
        error => Answer::fault(error, ACCOUNTS_UNREACHABLE),
    }
}

#[cfg(test)]
mod tests;
