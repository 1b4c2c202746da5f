//! How the manifest's names and choices are written.

use std::str::FromStr;

use schemars::{Schema, json_schema};

use super::model::{Access, Generate, Health, Preemption};
use crate::document::{TextForm, Wrong, one_of, one_of_schema};
use crate::name::{
    ComponentName, ContainerName, DatabaseName, Digest, HostId, NameError, SecretName, StoreLabel,
    Subject,
};

/// The form of labels, for editors; `name.rs` has the rule.
const LABEL_PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// The form of subjects, for editors; `name.rs` has the rule.
const SUBJECT_PATTERN: &str = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";

/// A name whose own error says what it must be.
macro_rules! name_form {
    ($type:ty, $name:literal, $fix:literal, $pattern:expr) => {
        impl TextForm for $type {
            const NAME: &'static str = $name;

            fn parse(text: &str) -> Result<Self, Wrong> {
                Self::from_str(text).map_err(|_: NameError| {
                    Wrong::new(format!("{text:?} is not a {}", $name), $fix)
                })
            }

            fn schema() -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

name_form!(
    ComponentName,
    "component name",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    StoreLabel,
    "key-value label",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    DatabaseName,
    "database name",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    ContainerName,
    "container name",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    SecretName,
    "secret name",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    HostId,
    "host name",
    "use 1 to 63 lower-case letters, digits and inner hyphens",
    LABEL_PATTERN
);
name_form!(
    Subject,
    "subject",
    "use letters, digits, '-' and '_' in tokens separated by single dots, 255 bytes at most",
    SUBJECT_PATTERN
);
name_form!(
    Digest,
    "SHA-256",
    "use the 64 hexadecimal digits that `sha256sum` prints",
    "^(sha256:)?[0-9A-Fa-f]{64}$"
);

/// An application's name: a label like its components' names.
#[derive(Debug, Clone)]
pub(crate) struct ApplicationName(pub String);

impl TextForm for ApplicationName {
    const NAME: &'static str = "application name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match ComponentName::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(wrong) => {
                let what = format!("{text:?} is not an {}", Self::NAME);
                Err(Wrong::new(what, wrong.fix))
            }
        }
    }

    fn schema() -> Schema {
        ComponentName::schema()
    }
}

/// What the keys begin with under which `wasi:config` answers for the host itself.
const RESERVED_PREFIX: &str = "wharf.";

/// An environment variable's name. Dots and hyphens are for `wasi:config`, whose keys have them.
#[derive(Debug, Clone)]
pub(crate) struct EnvironmentName(pub String);

impl TextForm for EnvironmentName {
    const NAME: &'static str = "variable name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if let Some(rest) = text.strip_prefix(RESERVED_PREFIX) {
            let what = format!("{text:?} is one of the host's own keys");
            let fix = format!("choose a name that does not begin with {RESERVED_PREFIX:?}");
            let fix = match Self::parse(rest) {
                Ok(_) => format!("{fix}, such as {rest:?}"),
                Err(_) => fix,
            };
            return Err(Wrong::new(what, fix));
        }
        if !text.is_empty() && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let what = format!("{text:?} is not a {}", Self::NAME);
        Err(Wrong::new(what, "use letters, digits, '_', '-' and '.'"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]+$" })
    }
}

/// An HTTP method.
#[derive(Debug, Clone)]
pub(crate) struct Method(pub String);

impl TextForm for Method {
    const NAME: &'static str = "HTTP method";

    /// Methods are case-sensitive (RFC 9110, section 9.1), and every registered one is upper-case.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let upper = text.to_ascii_uppercase();
        let letters = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        };
        if letters(text) {
            return Ok(Self(upper));
        }
        let what = format!("{text:?} is not an {}", Self::NAME);
        if letters(&upper) {
            return Err(Wrong::new(what, format!("write {upper:?}")));
        }
        Err(Wrong::new(what, "write a method, such as \"GET\""))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z-]+$" })
    }
}

impl TextForm for Health {
    const NAME: &'static str = "health request";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let fix = "write a method and a path, such as \"GET /healthz\"";
        let wrong = || Wrong::new(format!("{text:?} is not a {}", Self::NAME), fix);
        let (method, path) = text.split_once(' ').ok_or_else(wrong)?;
        let Method(method) = Method::parse(method)?;
        // CONNECT names a host where others have a path (RFC 9110, section 9.3.6), and a fragment
        // stays with the client (RFC 3986, section 3.5).
        let origin_form = method != "CONNECT" && path.starts_with('/') && !path.contains('#');
        if !origin_form || path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(wrong());
        }
        Ok(Self {
            method,
            path: path.to_owned(),
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[A-Z-]+ /[^#\s]*$" })
    }
}

/// The host that a route's requests name.
#[derive(Debug, Clone)]
pub(crate) struct HostName(pub String);

impl TextForm for HostName {
    const NAME: &'static str = "host";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(host) = canonical_host(text) {
            return Ok(Self(host));
        }
        let what = format!("{text:?} is not a host");
        let fix = match text.rsplit_once(':') {
            Some((host, _)) if canonical_host(host).is_some() => {
                format!("leave the port out: write {host:?}")
            }
            _ => "write a host name alone, such as \"www.example.com\"".to_owned(),
        };
        Err(Wrong::new(what, fix))
    }
}

/// `text` as a host in the form in which hosts are compared: a lower-case DNS name, an IPv4 address,
/// or an IPv6 address in brackets. `None` where it is none of these.
pub(super) fn canonical_host(text: &str) -> Option<String> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: std::net::Ipv6Addr = inner.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // 253 is the longest name whose wire form fits 255 bytes (RFC 1035, section 2.3.4).
    (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}

const ACCESSES: [(&str, Access); 2] = [("read", Access::Read), ("read-write", Access::ReadWrite)];
const GENERATED: [(&str, Generate); 1] = [("hmac-sha256", Generate::HmacSha256)];
const PREEMPTIONS: [(&str, Preemption); 2] = [
    ("epoch", Preemption::Epoch),
    ("host-calls", Preemption::HostCalls),
];

macro_rules! choice_form {
    ($type:ty, $name:literal, $choices:ident) => {
        impl TextForm for $type {
            const NAME: &'static str = $name;

            fn parse(text: &str) -> Result<Self, Wrong> {
                one_of(text, &$choices)
            }

            fn schema() -> Schema {
                one_of_schema(&$choices)
            }
        }
    };
}

choice_form!(Access, "access", ACCESSES);
choice_form!(Generate, "generated secret", GENERATED);
choice_form!(Preemption, "preemption", PREEMPTIONS);
