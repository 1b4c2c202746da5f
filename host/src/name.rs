//! Names as types, so that a subject is never handed over where a component was meant.
//!
//! Every name is checked once, where it enters (manifest, command line, WIT call); from there on it
//! is cheap to clone and known to be valid.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest name of any kind, in bytes. Names become keys, file names, metric labels and host names
/// (`<component>.internal`), and a DNS label is at most 63 bytes (RFC 1035, section 2.3.4).
pub const NAME_BYTES_MAX: usize = 63;

/// Longest subject, in bytes: several labels joined by dots.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// A name that does not have the form its kind asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {rule}")]
pub struct NameError {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                if $check(value) {
                    Ok(Self(Arc::from(value)))
                } else {
                    Err(NameError { kind: $kind, value: value.to_owned(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.to_string()
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $rule })
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn is_label(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= NAME_BYTES_MAX
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-')
}

fn is_subject(value: &str) -> bool {
    value.len() <= SUBJECT_BYTES_MAX
        && value.split('.').all(|token| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

name!(
    /// A component of an application; also its host name before `.internal`.
    ComponentName,
    "component name",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// A host among those that run one application together.
    HostId,
    "host name",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// A key-value store as the manifest labels it. `default` is each component's own.
    StoreLabel,
    "key-value label",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// A SQLite database as the manifest names it. `default` is each component's own.
    DatabaseName,
    "database name",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// A blob container as the manifest names it.
    ContainerName,
    "container name",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// Subjects by pattern: `*` stands for one token, `>` at the end for one or more.
    SubjectPattern,
    "subject pattern",
    is_subject_pattern,
    "use a subject in which '*' may stand for a token and '>' for all from the last one on"
);
name!(
    /// A secret as the host configuration's provider knows it.
    SecretName,
    "secret name",
    is_label,
    "use 1 to 63 lower-case letters, digits and inner hyphens"
);
name!(
    /// What messages are published to: dot-separated tokens, such as `media.uploaded`.
    Subject,
    "subject",
    is_subject,
    "use letters, digits, '-' and '_' in tokens separated by single dots, 255 bytes at most"
);

fn is_subject_pattern(value: &str) -> bool {
    let (tokens, rest) = match value.strip_suffix('>') {
        Some("") => return true,
        Some(tokens) => (tokens.strip_suffix('.').unwrap_or("?"), ".x"),
        None => (value, ""),
    };
    let of = |token| if token == "*" { "x" } else { token };
    let tokens: Vec<&str> = tokens.split('.').map(of).collect();
    is_subject(&(tokens.join(".") + rest))
}

impl SubjectPattern {
    /// Whether `subject` is one of those that are meant.
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut tokens = subject.as_str().split('.');
        for wanted in self.as_str().split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                (_, Some(_) | None) => return false,
            }
        }
        tokens.next().is_none()
    }

    /// The one subject that it means, where it has no wildcard.
    pub fn subject(&self) -> Option<Subject> {
        self.as_str().parse().ok()
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                value.parse().map(Self).map_err(|_| NameError {
                    kind: $kind,
                    value: value.to_owned(),
                    rule: "use a whole number, as `wharf revisions` and `wharf rollouts` print it",
                })
            }
        }
    };
}

number!(
    /// Names one revision. Counted up from 1 over all components of a state directory, and never
    /// used again.
    RevisionId,
    "revision"
);
number!(
    /// Names one rollout. Counted up from 1 in a state directory.
    RolloutId,
    "rollout"
);

/// The SHA-256 of an artifact's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The first 12 hexadecimal digits: enough for a person to tell revisions apart.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NameError;

    /// Reads 64 hexadecimal digits, with or without a leading `sha256:`.
    fn from_str(value: &str) -> Result<Self, NameError> {
        let error = || NameError {
            kind: "digest",
            value: value.to_owned(),
            rule: "use the 64 hexadecimal digits that `sha256sum` prints",
        };
        let hex = value.strip_prefix("sha256:").unwrap_or(value);
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$" })
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;

    fn try_from(value: String) -> Result<Self, NameError> {
        value.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert!("gateway-2".parse::<ComponentName>().is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "../x", &"a".repeat(64)] {
            assert!(bad.parse::<ComponentName>().is_err(), "{bad:?}");
        }
        assert!("media.uploaded".parse::<Subject>().is_ok());
        for bad in ["", ".", "a..b", "a.", "a b", "a.*"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_by_whole_tokens() {
        let pattern = |text: &str| text.parse::<SubjectPattern>().unwrap();
        let matches = |text: &str, subject: &str| pattern(text).matches(&subject.parse().unwrap());
        assert!(matches("a.b", "a.b"));
        assert!(matches("a.*", "a.b"));
        assert!(matches("*.b", "a.b"));
        assert!(matches("a.>", "a.b"));
        assert!(matches("a.>", "a.b.c"));
        assert!(matches(">", "a"));
        assert!(matches("*.*.c", "a.b.c"));
        assert!(!matches("a.*", "a.b.c"));
        assert!(!matches("a.*", "a"));
        assert!(!matches("a.>", "a"));
        assert!(!matches("a.b", "a.b.c"));
        assert!(!matches("a.*", "ab.c"));
        for bad in ["", "a.>.b", ">.a", "a*", "a.*b", "a>", "a..*", "*.", ".>"] {
            assert!(bad.parse::<SubjectPattern>().is_err(), "{bad:?}");
        }
        assert_eq!(pattern("a.b").subject(), "a.b".parse().ok());
        assert_eq!(pattern("a.*").subject(), None);
    }

    #[test]
    fn a_digest_reads_back_as_it_prints() {
        let digest = Digest::of(b"wharf");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert_eq!(format!("sha256:{digest}").parse::<Digest>(), Ok(digest));
        assert!("sha256:12".parse::<Digest>().is_err());
    }
}
