//! The application's variables: their values, and the templates that refer to them.
//!
//! A value is looked for in what is supplied, and then in the manifest. Whatever a secret value is part
//! of is secret.

use std::collections::BTreeMap;

use super::raw::{Manifest, Variable};
use crate::document::{At, Located, Report};
use crate::manifest::supplied::Supplied;

/// A text, and whether it must not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The text.
    pub text: String,
    /// Whether it must not be shown.
    pub secret: bool,
}

/// The values of the application's variables. One that has none was reported.
pub(super) struct Values(BTreeMap<String, Option<Value>>);

impl Values {
    /// The values that `raw` and what is `supplied` give. Whatever is wrong is reported.
    pub fn of(raw: &Manifest, supplied: &Supplied, report: &mut Report) -> Self {
        let mut values = BTreeMap::new();
        for (name, variable) in raw.variables.iter().flat_map(|table| &table.value.0) {
            check_name(&name.value, &name.at, report);
            let value = variable
                .as_ref()
                .and_then(|variable| value(name, variable, supplied, report));
            values.insert(name.value.clone(), value);
        }
        let at = At {
            key: "variables".to_owned(),
            line: raw.variables.as_ref().and_then(|table| table.at.line),
        };
        for name in supplied.named.keys() {
            if !values.contains_key(name) {
                let known: Vec<&str> = values.keys().map(String::as_str).collect();
                let what = format!("there is no variable {name:?}, and it was given a value");
                report.unknown(&at, what, name, &known);
            }
        }
        Self(values)
    }

    /// `template` with `{{ name }}` replaced by the variable's value. Whatever is wrong is reported;
    /// `None` where there is no text then.
    pub fn fill(&self, template: &str, at: &At, report: &mut Report) -> Option<Value> {
        let mut filled = Some(Value {
            text: String::new(),
            secret: false,
        });
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                let what = format!("{template:?} opens a template and does not close it");
                report.problem(at, what, "write {{ name }}");
                return None;
            };
            let value = self.value(name.trim(), at, report);
            filled = filled.zip(value).map(|(mut filled, value)| {
                filled.text += literal;
                filled.text += &value.text;
                filled.secret |= value.secret;
                filled
            });
            rest = after;
        }
        filled.map(|filled| Value {
            text: filled.text + rest,
            ..filled
        })
    }

    fn value(&self, name: &str, at: &At, report: &mut Report) -> Option<Value> {
        match self.0.get(name) {
            Some(value) => value.clone(),
            None => {
                let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                let what = format!("there is no variable {name:?} in [variables]");
                report.unknown(at, what, name, &known);
                None
            }
        }
    }
}

fn value(
    name: &Located<String>,
    variable: &Variable,
    supplied: &Supplied,
    report: &mut Report,
) -> Option<Value> {
    let Located { value: name, at } = name;
    let secret = variable.secret.as_ref().is_some_and(|flag| flag.value);
    let required = variable.required.as_ref().is_some_and(|flag| flag.value);
    let default = variable
        .default
        .as_ref()
        .map(|default| default.value.as_str());
    if !required && default.is_none() {
        let what = "has neither a default nor required = true";
        report.problem(at, what, "add one of the two");
        return None;
    }
    let text = supplied.value(name).or(default);
    let text = text.or(supplied.unused.then_some(""));
    if text.is_none() {
        let variable = format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase());
        let fix = format!(
            "give --variable {name}=VALUE, set {variable} in the environment or in .env, or name a \
             file with a [[variables_provider]] by --runtime-config-file; or write a default"
        );
        report.problem(at, "is required and has no value", fix);
    }
    Some(Value {
        text: text?.to_owned(),
        secret,
    })
}

/// Reports a name that is not of the form of Spin's variables.
pub(super) fn check_name(name: &str, at: &At, report: &mut Report) {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let first = name.bytes().next();
    if !first.is_some_and(|first| first.is_ascii_lowercase()) || !name.split('_').all(word) {
        let what = format!("{name:?} is not a variable's name");
        let fix = "use lower-case letters and digits, in words joined by single underscores";
        report.problem(at, what, fix);
    }
}
