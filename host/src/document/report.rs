//! Where problems are collected while a file is read and resolved.

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::{Problem, Problems, Read};

/// A place in a file: a dotted key and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// The dotted key; empty for the whole file.
    pub key: String,
    /// The line, counted from 1; absent for what is not in the file.
    pub line: Option<usize>,
}

impl At {
    /// The place of something below this one.
    pub fn key(&self, name: &str) -> Self {
        let bare = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let name = if bare {
            name.to_owned()
        } else {
            format!("{name:?}")
        };
        let key = if self.key.is_empty() {
            name
        } else {
            format!("{}.{name}", self.key)
        };
        Self { key, ..*self }
    }

    /// The place of an element of this one, counted from 0.
    pub fn index(&self, index: usize) -> Self {
        Self {
            key: format!("{}[{index}]", self.key),
            ..*self
        }
    }
}

/// Collects the problems and warnings of one file.
pub(crate) struct Report {
    file: PathBuf,
    /// The offset at which each line but the first begins.
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// An empty report on `file`, whose content is `text`.
    pub fn new(file: &Path, text: &str) -> Self {
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self {
            file: file.to_owned(),
            line_starts,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Parses `text` and reads it as a `T`. The report then holds what was wrong; what could not be
    /// parsed is reported alone, because the rest of the file may be misread after it.
    pub fn read<T: Read>(&mut self, text: &str) -> Option<T> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let line = error.span().map(|span| self.line_of(&span));
                let at = At {
                    key: String::new(),
                    line,
                };
                let what = format!("not valid TOML: {}", error.message().trim_end());
                self.problem(&at, what, "correct the syntax of this line");
            }
            return None;
        }
        let span = table.span();
        let root = Spanned::new(span, DeValue::Table(table.into_inner()));
        self.read_root(&root)
    }

    fn read_root<T: Read>(&mut self, root: &Spanned<DeValue<'_>>) -> Option<T> {
        let at = At {
            key: String::new(),
            line: None,
        };
        T::read(root, &at, self)
    }

    /// The line that `span` begins in, counted from 1.
    pub fn line_of(&self, span: &Range<usize>) -> usize {
        1 + self
            .line_starts
            .partition_point(|start| *start <= span.start)
    }

    /// Records something that is wrong.
    pub fn problem(&mut self, at: &At, what: impl Display, fix: impl Display) {
        let problem = self.made(at, what, fix);
        self.problems.push(problem);
    }

    /// Records something that is allowed but looks unintended.
    pub fn warning(&mut self, at: &At, what: impl Display, fix: impl Display) {
        let warning = self.made(at, what, fix);
        self.warnings.push(warning);
    }

    /// Records a name that is not among the `known` ones, and proposes the nearest of them.
    pub fn unknown(&mut self, at: &At, what: impl Display, wrong: &str, known: &[&str]) {
        let listed = known.join(", ");
        let fix = match nearest(wrong, known) {
            Some(meant) => format!("did you mean {meant}? Known here: {listed}"),
            None if known.is_empty() => "remove it; nothing is known here".to_owned(),
            None => format!("use one of: {listed}"),
        };
        self.problem(at, what, fix);
    }

    fn made(&self, at: &At, what: impl Display, fix: impl Display) -> Problem {
        Problem {
            file: self.file.clone(),
            line: at.line,
            key: at.key.clone(),
            what: what.to_string(),
            fix: fix.to_string(),
        }
    }

    /// The value with its warnings where nothing was wrong, else everything that was.
    ///
    /// A `value` that is absent was reported when it could not be made.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Problem>), Problems> {
        if let Some(problems) = Problems::of(self.problems) {
            return Err(problems);
        }
        let value = value.expect("whatever leaves a value out reports why");
        Ok((value, self.warnings))
    }
}
