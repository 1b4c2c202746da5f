//! YAML, block by block: only as much of it as is written here.

use std::fmt::Write as _;

/// A document being written.
#[derive(Default)]
pub(super) struct Yaml {
    text: String,
    indent: usize,
    /// The next line begins an element of a list.
    dash: bool,
}

impl Yaml {
    /// `key: value`, where the value is quoted if it needs to be.
    pub fn pair(&mut self, key: &str, value: impl AsRef<str>) -> &mut Self {
        self.line(&format!("{}: {}", scalar(key), scalar(value.as_ref())))
    }

    /// `key: value`, as it is: a number, a flag, a list in brackets.
    pub fn plain(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        self.line(&format!("{}: {value}", scalar(key)))
    }

    /// A comment.
    pub fn comment(&mut self, text: &str) -> &mut Self {
        self.line(&format!("# {text}"))
    }

    /// `key:` with a block below it.
    pub fn block(&mut self, key: &str, inner: impl FnOnce(&mut Self)) -> &mut Self {
        self.line(&format!("{}:", scalar(key)));
        self.indent += 1;
        inner(self);
        self.indent -= 1;
        self
    }

    /// An element of the list that this block is, which is a map.
    pub fn element(&mut self, inner: impl FnOnce(&mut Self)) -> &mut Self {
        self.begin();
        inner(self);
        self.end();
        self
    }

    /// Begins such an element, for what is written in several steps.
    pub fn begin(&mut self) {
        self.dash = true;
        self.indent += 1;
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.indent -= 1;
        self.dash = false;
    }

    /// An element that is text.
    pub fn item(&mut self, value: impl AsRef<str>) -> &mut Self {
        let line = format!("- {}", scalar(value.as_ref()));
        self.line(&line)
    }

    /// `key: |` with text below it.
    pub fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.line(&format!("{}: |", scalar(key)));
        self.indent += 1;
        for line in text.trim_end_matches('\n').lines() {
            match line.is_empty() {
                true => self.text.push('\n'),
                false => {
                    self.line(line);
                }
            }
        }
        self.indent -= 1;
        self
    }

    /// What begins another document.
    pub fn document(&mut self) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push_str("---\n");
        }
        self
    }

    /// Everything that was written.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: &str) -> &mut Self {
        let indent = self.indent.saturating_sub(usize::from(self.dash));
        let dash = if self.dash { "- " } else { "" };
        self.dash = false;
        writeln!(self.text, "{}{dash}{line}", "  ".repeat(indent)).expect("text can be written to");
        self
    }
}

/// Text as a scalar: plain where nobody can take it for anything else, otherwise in quotes, where YAML
/// escapes as JSON does.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    let safe =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    // A colon within a word is an image's tag.
    let image = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| plain(c) || c == ':')
        && !text.ends_with(':');
    if !word && (safe || image) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut yaml = Yaml::default();
        yaml.pair("a", "true").plain("b", 3).block("c", |yaml| {
            yaml.element(|yaml| {
                yaml.pair("d", "x:1").block("e", |yaml| {
                    yaml.item("*.example.com").item("plain");
                });
            });
            yaml.element(|yaml| {
                yaml.text("f", "one\n\n  two: \"3\"\n");
            });
        });
        let text = yaml.finish();
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let wanted = serde_json::json!({
            "a": "true",
            "b": 3,
            "c": [
                { "d": "x:1", "e": ["*.example.com", "plain"] },
                { "f": "one\n\n  two: \"3\"\n" },
            ],
        });
        assert_eq!(read, wanted, "{text}");
    }
}
