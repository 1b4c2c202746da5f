//! Reads a configuration file so that everything wrong with it is known at once.
//!
//! Serde stops at the first error. Here a TOML or YAML document, whose every value knows its place,
//! is walked into raw structs of optional, located fields: what cannot be read is reported and left
//! absent, and reading goes on. Resolving the raw structs reports what it finds into the same
//! [`Report`], which then is either a value or all the [`Problems`].
//!
//! ```text
//! text --parse--> TOML tree --read--> raw structs --resolve--> model
//!                     \                  |                      /
//!                      `---------> Report (file, line, key, what, fix)
//! ```
//!
//! It knows nothing of what a manifest or a host configuration contains.

#[cfg(test)]
mod fresh;
mod nearest;
mod problem;
mod quantity;
mod read;
mod report;
mod schema;
mod short;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use fresh::assert_schema_is_fresh;
pub use problem::{Problem, Problems};
pub(crate) use quantity::SPAN_MIN;
pub(crate) use read::{Located, Map, NonEmpty, Read, TableReader, key_of, raw_table, wrong_type};
pub(crate) use report::{At, Report};
pub(crate) use schema::schema_of;
pub(crate) use short::{Short, Shorthand};
pub(crate) use text::{Size, Span, Text, TextForm, Wrong, one_of, one_of_schema};
pub(crate) use yaml::Document;

use std::path::Path;

/// The content of the file at `path`; a failure names it.
pub(crate) fn text_of(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| {
        Problems::from(Problem {
            file: path.to_owned(),
            line: None,
            key: String::new(),
            what: format!("cannot be read: {error}"),
            fix: "name a readable text file".to_owned(),
        })
    })
}
