//! Where notices are posted and what is posted: `NOTIFY_WEBHOOK_URL` and its JSON.
//!
//! It refuses to know how a request is sent.

use http::Uri;
use http::uri::Scheme;
use serde::Serialize;

use crate::event::Event;
use crate::list::Notice;

/// Why the webhook was not told. Every one of these may be different at the next delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// `NOTIFY_WEBHOOK_URL` is no usable URL. The value stays out of the log: it may hold a secret.
    #[error("NOTIFY_WEBHOOK_URL {0}")]
    Url(&'static str),
    /// The host does not let this component reach it.
    #[error(
        "requests to {0} are denied; allow it in the manifest with \
         [component.notifier.grants] outbound_http = [\"{0}\"]"
    )]
    Denied(String),
    /// It could not be reached, or broke off.
    #[error("{origin} could not be reached: {cause}")]
    Transport {
        /// Scheme, host and port.
        origin: String,
        /// What the host says about it.
        cause: String,
    },
    /// It answered with something other than a 2xx status.
    #[error("it answered with status {0}")]
    Status(u16),
}

/// A webhook's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `https` rather than `http`.
    pub encrypted: bool,
    /// Host and port.
    pub authority: String,
    /// Path and query; at least `/`.
    pub path: String,
}

impl Target {
    /// Reads `NOTIFY_WEBHOOK_URL`. Not set or empty means that there is no webhook.
    ///
    /// # Errors
    /// When it is not an absolute `http` or `https` URL without a user and password.
    pub fn parse(url: Option<&str>) -> Result<Option<Self>, WebhookError> {
        let Some(url) = url.map(str::trim).filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let uri: Uri = url.parse().map_err(|_| WebhookError::Url("is not a URL"))?;
        let encrypted = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(WebhookError::Url("must begin with http:// or https://")),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty());
        let authority = authority
            .ok_or(WebhookError::Url("names no host"))?
            .to_string();
        if authority.contains('@') {
            return Err(WebhookError::Url("must not hold a user or password"));
        }
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Ok(Some(Self {
            encrypted,
            authority,
            path,
        }))
    }

    /// Scheme, host and port, as a manifest's allow-list writes them. Free of secrets, unlike a path.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    job: &'a str,
    user: &'a str,
    outcome: crate::event::Outcome,
    text: &'a str,
}

/// What is posted: `{"job", "user", "outcome": "converted" | "failed", "text"}`.
#[must_use]
pub fn body(event: &Event, notice: &Notice) -> Vec<u8> {
    let body = Body {
        job: &notice.job,
        user: &event.user,
        outcome: notice.outcome,
        text: &notice.text,
    };
    serde_json::to_vec(&body).expect("the body is strings alone")
}

/// Only a 2xx status says that the notice arrived. Redirects are not followed: the allow-list names
/// the host that was meant.
///
/// # Errors
/// For every other status.
pub fn accepted(status: u16) -> Result<(), WebhookError> {
    if (200..300).contains(&status) {
        Ok(())
    } else {
        Err(WebhookError::Status(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse(Some(" https://hooks.example.org:8443/in?key=1 "))
            .unwrap()
            .unwrap();
        assert_eq!(target.origin(), "https://hooks.example.org:8443");
        assert_eq!(target.path, "/in?key=1");
        let target = Target::parse(Some("http://127.0.0.1:9")).unwrap().unwrap();
        assert_eq!((target.encrypted, target.path.as_str()), (false, "/"));
    }

    #[test]
    fn no_url_means_no_webhook() {
        assert_eq!(Target::parse(None), Ok(None));
        assert_eq!(Target::parse(Some("  ")), Ok(None));
    }

    #[test]
    fn unusable_urls_are_named_without_their_value() {
        for url in [
            "hooks",
            "/in",
            "ftp://secret.org/",
            "https://",
            "https://a b/",
            "http://u:secret@h/",
        ] {
            let error = Target::parse(Some(url)).unwrap_err();
            assert!(matches!(error, WebhookError::Url(_)), "{url}");
            assert!(!error.to_string().contains("secret"), "{url}");
        }
    }

    #[test]
    fn the_body_is_the_notice_that_the_list_shows() {
        let event = Event {
            job: "0a".into(),
            user: "ff".into(),
            outcome: Outcome::Failed,
            text: "second".into(),
        };
        let notice = Notice {
            job: "0a".into(),
            outcome: Outcome::Converted,
            text: "first".into(),
            created_at_ms: 1,
        };
        let expected = r#"{"job":"0a","user":"ff","outcome":"converted","text":"first"}"#;
        assert_eq!(String::from_utf8(body(&event, &notice)).unwrap(), expected);
    }

    #[test]
    fn only_2xx_counts_as_told() {
        assert!(accepted(200).is_ok() && accepted(204).is_ok());
        for status in [199, 301, 404, 429, 500] {
            assert_eq!(accepted(status), Err(WebhookError::Status(status)));
        }
    }

    #[test]
    fn a_denial_says_which_line_would_allow_it() {
        let error = WebhookError::Denied("https://hooks.example.org".into()).to_string();
        assert!(
            error.contains(r#"outbound_http = ["https://hooks.example.org"]"#),
            "{error}"
        );
    }
}
