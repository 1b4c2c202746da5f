//! Values that are written as text and mean more than text: names, sizes, spans of time.

use std::borrow::Cow;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::read::wrong_type;
use super::{At, Read, Report};

/// Longest span of time, a year: past it lies a slip of the pen, and clocks that overflow.
pub(crate) const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a text does not have its form, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong with it.
    pub what: String,
    /// What would fix it.
    pub fix: String,
}

impl Wrong {
    /// Says what is wrong and what would fix it.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// A type that is written as a string.
pub(crate) trait TextForm: Sized {
    /// What it is, in a word, for the schema.
    const NAME: &'static str;

    /// Reads it.
    fn parse(text: &str) -> Result<Self, Wrong>;

    /// The JSON schema of its text.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl TextForm for String {
    const NAME: &'static str = "string";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }
}

/// The one of `choices` that `text` names.
pub(crate) fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("{name:?}"))
            .collect();
        Wrong::new(
            format!("{text:?} is not one of the values that it can have"),
            format!("write {}", names.join(" or ")),
        )
    })
}

/// The JSON schema of a string that is one of `choices`.
pub(crate) fn one_of_schema<T>(choices: &[(&str, T)]) -> Schema {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// Something that is written as a string.
#[derive(Debug, Clone)]
pub(crate) struct Text<T>(pub T);

impl<T: TextForm> Text<T> {
    /// Reads `text`, which is at `at`; whatever is wrong is reported.
    pub fn checked(text: &str, at: &At, report: &mut Report) -> Option<Self> {
        match T::parse(text) {
            Ok(value) => Some(Self(value)),
            Err(Wrong { what, fix }) => {
                report.problem(at, what, fix);
                None
            }
        }
    }
}

impl<T: TextForm> Read for Text<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let text = String::read(value, at, report)?;
        Self::checked(&text, at, report)
    }
}

impl<T: TextForm> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// A number of bytes: an integer, or text such as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl Read for Size {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => u64::read(value, at, report).map(Self),
            DeValue::String(text) => {
                let size = text.parse::<ByteSize>().ok();
                if size.is_none() {
                    let fix = "write bytes as a number, or a number with a unit, such as \"64MiB\"";
                    report.problem(at, format!("{text:?} is not a size"), fix);
                }
                size.map(|size| Self(size.as_u64()))
            }
            other => {
                wrong_type(other, "a size, such as \"64MiB\"", at, report);
                None
            }
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: a number, or text with a unit, such as \"64MiB\".",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*[A-Za-z]*$" },
            ],
        })
    }
}

/// A span of time, such as `30s` or `1h 30m`; a year at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

impl Read for Span {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            wrong_type(
                value.get_ref(),
                "a time with its unit, such as \"30s\"",
                at,
                report,
            );
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(span) if span <= SPAN_MAX => Some(Self(span)),
            Ok(_) => {
                report.problem(at, format!("{text:?} is too long"), "write a year at most");
                None
            }
            Err(_) => {
                let fix = "write a number with a unit, such as \"500ms\", \"30s\" or \"6h\"";
                report.problem(at, format!("{text:?} is not a time"), fix);
                None
            }
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time with its unit, such as \"30s\" or \"1h 30m\".",
            "type": "string",
            "pattern": r"^\s*[0-9].*$",
        })
    }
}
