//! Tables that may be written as one string, where only their main key is given.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::read::wrong_type;
use super::{At, Read, Report};

/// A table that has a short form.
pub(crate) trait Shorthand: Read {
    /// What the short form is, for messages: `a path or a table`.
    const WANTED: &'static str;

    /// Reads the short form; `value` is a string.
    fn short(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self>;

    /// The JSON schema of the short form.
    fn short_schema() -> Schema;
}

/// A table, or its short form.
#[derive(Debug, Clone)]
pub(crate) struct Short<T>(pub T);

impl<T: Shorthand> Read for Short<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => T::short(value, at, report).map(Self),
            DeValue::Table(_) => T::read(value, at, report).map(Self),
            other => {
                wrong_type(other, T::WANTED, at, report);
                None
            }
        }
    }
}

impl<T: Shorthand + JsonSchema> JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Short_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        json_schema!({ "oneOf": [T::short_schema(), table] })
    }
}
