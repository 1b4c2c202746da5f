//! YAML documents, as the same tree that TOML is read into: every value knows its line.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned as Node;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, Read, Report};

/// A value as YAML has it. Scalars that are no text are kept by their place only: they are read anew,
/// as TOML writes them.
enum Yaml {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node<Yaml>>),
    Map(Vec<(Node<String>, Node<Yaml>)>),
}

/// One document of a file.
pub(crate) type Document<'a> = Spanned<DeValue<'a>>;

impl Report {
    /// The documents of `text`, without the empty ones. The report holds what is wrong where there are
    /// none: after a mistake in the syntax the rest may be misread.
    pub fn yaml_documents<'a>(&mut self, text: &'a str) -> Option<Vec<Document<'a>>> {
        match serde_saphyr::from_multiple::<Node<Yaml>>(text) {
            Ok(documents) => {
                let convert = |document: &Node<Yaml>| converted(document, text);
                Some(documents.iter().filter_map(convert).collect())
            }
            Err(error) => {
                let line = error.location().map(|location| location.line());
                let at = At {
                    key: String::new(),
                    line: line.and_then(|line| usize::try_from(line).ok()),
                };
                let message = error.without_snippet().to_string();
                let message = message.lines().next().unwrap_or_default();
                let what = format!("not valid YAML: {message}");
                self.problem(&at, what, "correct the syntax of this line");
                None
            }
        }
    }

    /// Reads a document, or a part of one that is at `at`.
    pub fn read_yaml<T: Read>(&mut self, document: &Document<'_>, at: &At) -> Option<T> {
        T::read(document, at, self)
    }
}

/// The value as TOML has it. What is null is not there, as Kubernetes understands it.
fn converted<'a>(node: &Node<Yaml>, text: &'a str) -> Option<Document<'a>> {
    let span = span(node);
    let value = match &node.value {
        Yaml::Null => return None,
        Yaml::Bool(flag) => DeValue::Boolean(*flag),
        Yaml::Text(text) => DeValue::String(Cow::Owned(text.clone())),
        Yaml::Number => number(text.get(span.clone()).unwrap_or_default()),
        Yaml::List(nodes) => {
            let nodes = nodes.iter().filter_map(|node| converted(node, text));
            DeValue::Array(nodes.collect())
        }
        Yaml::Map(entries) => {
            let mut table = DeTable::new();
            for (key, value) in entries {
                if let Some(value) = converted(value, text) {
                    let name = Cow::Owned(key.value.clone());
                    table.insert(Spanned::new(self::span(key), name), value);
                }
            }
            DeValue::Table(table)
        }
    };
    Some(Spanned::new(span, value))
}

/// The number that is written as `text`; the text itself where TOML does not write numbers so.
fn number(text: &str) -> DeValue<'_> {
    match DeValue::parse(text) {
        Ok(value) => value.into_inner(),
        Err(_) => DeValue::String(Cow::Borrowed(text)),
    }
}

/// The bytes of a node in the file.
fn span<T>(node: &Node<T>) -> Range<usize> {
    let span = node.referenced.span();
    let place = |bytes: Option<u64>| usize::try_from(bytes.unwrap_or_default()).unwrap_or_default();
    let start = place(span.byte_offset());
    start..start + place(span.byte_len())
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Yaml, E> {
        Ok(Yaml::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Yaml, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Yaml::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Yaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> (Option<Vec<Document<'_>>>, Report) {
        let mut report = Report::new(Path::new("x.yaml"), text);
        (report.yaml_documents(text), report)
    }

    #[test]
    fn documents_keep_their_lines_and_kinds() {
        let text = "a: 1\nb: [x, true]\n---\n# only a comment\n---\nc:\n  - d: null\n    e: \"2\"\n    f: 1.5\n";
        let (documents, report) = parse(text);
        let documents = documents.unwrap();
        assert_eq!(documents.len(), 2);
        let first = documents[0].get_ref().as_table().unwrap();
        let (key, a) = first.get_key_value("a").unwrap();
        assert_eq!(report.line_of(&key.span()), 1);
        assert_eq!(a.get_ref().as_integer().unwrap().as_str(), "1");
        let (key, b) = first.get_key_value("b").unwrap();
        assert_eq!(report.line_of(&key.span()), 2);
        assert_eq!(b.get_ref().as_array().unwrap().len(), 2);
        let second = documents[1].get_ref().as_table().unwrap();
        let list = second.get("c").unwrap().get_ref().as_array().unwrap();
        let entry = list.iter().next().unwrap().get_ref().as_table().unwrap();
        assert!(!entry.contains_key("d"), "null is not there");
        let (key, e) = entry.get_key_value("e").unwrap();
        assert_eq!(report.line_of(&key.span()), 8);
        assert_eq!(e.get_ref().as_str(), Some("2"));
        assert!(entry.get("f").unwrap().get_ref().is_float());
    }

    #[test]
    fn mistakes_in_the_syntax_have_their_line() {
        for (text, line) in [("a: 1\nb: [\n", 3), ("a: 1\na: 2\n", 2), ("a: \"x\n", 2)] {
            let (documents, report) = parse(text);
            assert!(documents.is_none(), "{text:?}");
            let problems = report.finish(None::<()>).unwrap_err();
            let problem = problems.iter().next().unwrap();
            assert!(problem.what.starts_with("not valid YAML"), "{problem}");
            let near = problem.line.unwrap();
            assert!(near.abs_diff(line) <= 1, "{problem}");
        }
    }
}
