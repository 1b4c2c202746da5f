//! From a TOML tree to raw structs, going on past what is wrong.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, Report, Text, TextForm};

/// What can be read from a TOML value.
pub(crate) trait Read: Sized {
    /// Reads `value`, which is at `at`; whatever makes it `None` is reported.
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self>;
}

/// A value that knows where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub at: At,
}

impl<T: Read> Read for Located<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let at = At {
            line: Some(report.line_of(&value.span())),
            key: at.key.clone(),
        };
        let value = T::read(value, &at, report)?;
        Some(Self { value, at })
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Reports that `value` is not what is `wanted`.
pub(crate) fn wrong_type(value: &DeValue<'_>, wanted: &str, at: &At, report: &mut Report) {
    let fix = match value {
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
            if wanted == "a string" =>
        {
            "put it in quotes".to_owned()
        }
        _ => format!("write {wanted}"),
    };
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    report.problem(at, format!("must be {wanted}, but is {found}"), fix);
}

impl Read for String {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            wrong_type(value.get_ref(), "a string", at, report);
        }
        text.map(str::to_owned)
    }
}

impl Read for bool {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(value.get_ref(), "true or false", at, report);
        }
        flag
    }
}

impl Read for u64 {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(value.get_ref(), "a whole number", at, report);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            report.problem(
                at,
                format!("{integer} is out of range"),
                "write a number from 0 up",
            );
        }
        number
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let Some(elements) = value.get_ref().as_array() else {
            wrong_type(value.get_ref(), "an array", at, report);
            return None;
        };
        let read = |(index, element)| T::read(element, &at.index(index), report);
        Some(elements.iter().enumerate().filter_map(read).collect())
    }
}

/// An array that has at least one element, of which those that could not be read are left out.
#[derive(Debug, Clone)]
pub(crate) struct NonEmpty<T>(pub Vec<T>);

impl<T: Read> Read for NonEmpty<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        if value
            .get_ref()
            .as_array()
            .is_some_and(|elements| elements.is_empty())
        {
            report.problem(
                at,
                "is empty",
                "write at least one element, or leave it out",
            );
        }
        Vec::read(value, at, report).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for NonEmpty<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NonEmpty_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "array", "minItems": 1, "items": items })
    }
}

/// A table whose keys the author chooses. A value that could not be read is absent, and its key is
/// there nonetheless, so that references to it still resolve.
#[derive(Debug, Clone)]
pub(crate) struct Map<K, T>(pub Vec<(Located<K>, Option<T>)>);

impl<K: TextForm, T: Read> Read for Map<K, T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            wrong_type(value.get_ref(), "a table", at, report);
            return None;
        };
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let line = Some(report.line_of(&key.span()));
            let at = At {
                line,
                ..at.key(key.get_ref())
            };
            let name = Text::<K>::checked(key.get_ref(), &at, report);
            let value = T::read(value, &at, report);
            if let Some(Text(name)) = name {
                entries.push((Located { value: name, at }, value));
            }
        }
        Some(Self(entries))
    }
}

impl<K: TextForm, T: JsonSchema> JsonSchema for Map<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}_to_{}", K::NAME, T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": K::schema(),
            "additionalProperties": values,
        })
    }
}

/// Takes the known keys out of one table; what is left was not known.
pub(crate) struct TableReader<'a> {
    table: &'a DeTable<'a>,
    at: At,
    report: &'a mut Report,
}

impl<'a> TableReader<'a> {
    /// Opens `value`, which must be a table.
    pub fn open(value: &'a Spanned<DeValue<'a>>, at: &At, report: &'a mut Report) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            wrong_type(value.get_ref(), "a table", at, report);
            return None;
        };
        Some(Self {
            table,
            at: at.clone(),
            report,
        })
    }

    /// The value of `key`, which may be left out.
    pub fn optional<T: Read>(&mut self, key: &str) -> Option<Located<T>> {
        let (written, value) = self.table.get_key_value(key)?;
        let line = Some(self.report.line_of(&written.span()));
        let at = At {
            line,
            ..self.at.key(key)
        };
        let value = T::read(value, &at, self.report)?;
        Some(Located { value, at })
    }

    /// The value of `key`, which must be there.
    pub fn required<T: Read>(&mut self, key: &str) -> Option<Located<T>> {
        if !self.table.contains_key(key) {
            let fix = format!("add {key}");
            self.report.problem(&self.at.key(key), "missing", fix);
        }
        self.optional(key)
    }

    /// Reports every key that is not among the `known` ones.
    pub fn close(self, known: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let line = Some(self.report.line_of(&key.span()));
                let at = At {
                    line,
                    ..self.at.key(name)
                };
                self.report.unknown(&at, "unknown key", name, known);
            }
        }
    }
}

/// The key of a field, whose name may have to be written as `r#type`.
pub(crate) fn key_of(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Declares a raw struct: every field is optional and located once it is read, `required` ones are
/// reported where they are missing, and the JSON schema is derived from the same declaration.
macro_rules! raw_table {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            required { $($(#[$required_doc:meta])* $required:ident: $required_type:ty,)* }
            optional { $($(#[$optional_doc:meta])* $optional:ident: $optional_type:ty,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                $(#[$required_doc])*
                #[schemars(required)]
                pub $required: Option<$crate::document::Located<$required_type>>,
            )*
            $(
                $(#[$optional_doc])*
                pub $optional: Option<$crate::document::Located<$optional_type>>,
            )*
        }

        impl $crate::document::Read for $name {
            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                at: &$crate::document::At,
                report: &mut $crate::document::Report,
            ) -> Option<Self> {
                let mut table = $crate::document::TableReader::open(value, at, report)?;
                let read = Self {
                    $($required: table.required($crate::document::key_of(stringify!($required))),)*
                    $($optional: table.optional($crate::document::key_of(stringify!($optional))),)*
                };
                table.close(&[
                    $($crate::document::key_of(stringify!($required)),)*
                    $($crate::document::key_of(stringify!($optional)),)*
                ]);
                Some(read)
            }
        }
    };
}
pub(crate) use raw_table;
