//! The files that a component sees: all in one directory at `/`, as `spin up` copies them.
//!
//! A glob keeps the paths that its files have below the manifest's directory; a placement puts a file
//! or a directory's content elsewhere. What the manifest excludes is left out of both.

use std::collections::BTreeMap;
use std::path::{Component as Part, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::raw::{Component, OrTable, Placement};
use crate::document::{At, Located, Report};
use crate::manifest::model::{Mount, MountSource};
use crate::name::Digest;

/// Files of one component: what is more is a directory that was not meant, such as a home.
const FILES_MAX: usize = 100_000;

/// The mount of the component `raw`, if it sees files. `directory` is the manifest's.
pub(super) fn mount(raw: &Component, directory: &Path, report: &mut Report) -> Option<Mount> {
    let files = raw.files.as_ref()?;
    let excluded = raw.exclude_files.iter().flat_map(|list| &list.value);
    let excluded = excluded.filter_map(|entry| pattern(directory, entry, report));
    let mut seen = Seen {
        directory,
        excluded: excluded.collect(),
        files: BTreeMap::new(),
    };
    for entry in &files.value {
        match &entry.value {
            OrTable::Text(glob) => seen.glob(glob, &entry.at, report),
            OrTable::Table(placement) => seen.place(placement, &entry.at, report),
        }
    }
    if seen.files.len() > FILES_MAX {
        let what = format!("matches more than {FILES_MAX} files");
        report.problem(&files.at, what, "name fewer, or exclude what is not needed");
        return None;
    }
    Some(Mount {
        guest: "/".to_owned(),
        digest: digest(&seen.files, &files.at, report),
        source: MountSource::Files(seen.files),
        writable: false,
    })
}

/// A digest of the names and the content of files.
fn digest(files: &BTreeMap<String, PathBuf>, at: &At, report: &mut Report) -> Option<Digest> {
    let mut lines = String::new();
    for (name, path) in files {
        match std::fs::read(path) {
            Ok(bytes) => lines += &format!("{} {name}\n", Digest::of(&bytes)),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", path.display());
                report.problem(at, what, "let it be read, or exclude it");
                return None;
            }
        }
    }
    Some(Digest::of(lines.as_bytes()))
}

/// The files that were found, by where the component sees them.
struct Seen<'a> {
    directory: &'a Path,
    excluded: Vec<Pattern>,
    files: BTreeMap<String, PathBuf>,
}

impl Seen<'_> {
    fn glob(&mut self, glob: &str, at: &At, report: &mut Report) {
        let Some(inner) = below(glob, at, report) else {
            return;
        };
        let mut whole = inner.to_owned();
        if self.directory.join(inner).is_dir() {
            whole = format!("{}/**/*", inner.trim_end_matches('/'));
        }
        let (base, directory) = (PathBuf::new(), self.directory.to_owned());
        let found = self.matching(&directory, &whole, &base, at, report);
        if found == 0 {
            let what = format!("{glob:?} matches no file");
            report.warning(at, what, "correct it, or build what makes the files");
        }
    }

    fn place(&mut self, placement: &Placement, at: &At, report: &mut Report) {
        let (Some(source), Some(destination)) = (&placement.source, &placement.destination) else {
            return;
        };
        if !destination.value.starts_with('/') {
            let what = format!("{:?} is not an absolute path", destination.value);
            let fix = format!("write \"/{}\"", destination.value);
            report.problem(&destination.at, what, fix);
            return;
        }
        let destination = destination.value.trim_start_matches('/');
        let Some(destination) = below(destination, at, report).map(PathBuf::from) else {
            return;
        };
        let from = self.directory.join(&source.value);
        if from.is_dir() {
            self.matching(&from, "**/*", &destination, at, report);
        } else if from.is_file() {
            if !self.is_excluded(&from) {
                self.add(&destination, from, at, report);
            }
        } else {
            let what = format!("there is no file or directory {}", from.display());
            report.problem(&source.at, what, "correct the path, or build what makes it");
        }
    }

    /// Adds the files below `root` that match `glob`, and counts them.
    fn matching(
        &mut self,
        root: &Path,
        glob: &str,
        destination: &Path,
        at: &At,
        report: &mut Report,
    ) -> usize {
        let written = format!("{}/{glob}", escaped(root));
        let paths = match glob::glob_with(&written, MatchOptions::default()) {
            Ok(paths) => paths,
            Err(error) => {
                let what = format!("{glob:?} is not a pattern of files: {}", error.msg);
                report.problem(at, what, "write a glob, such as \"assets/**/*\"");
                return 1;
            }
        };
        let mut found = 0;
        for path in paths.take(FILES_MAX + 1) {
            let path = match path {
                Ok(path) if path.is_dir() => continue,
                Ok(path) => path,
                Err(error) => {
                    let what = format!(
                        "{} cannot be read: {}",
                        error.path().display(),
                        error.error()
                    );
                    report.problem(at, what, "let it be read, or exclude it");
                    continue;
                }
            };
            found += 1;
            // Both were written with the same root.
            let inner = path.strip_prefix(root).unwrap_or(&path).to_owned();
            if !self.is_excluded(&path) {
                self.add(&destination.join(inner), path, at, report);
            }
        }
        found
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let mut excluded = self.excluded.iter();
        excluded.any(|pattern| pattern.matches_path(path))
    }

    fn add(&mut self, seen: &Path, path: PathBuf, at: &At, report: &mut Report) {
        match (seen.to_str(), path.to_str()) {
            (Some(seen), Some(_)) => {
                self.files.insert(seen.to_owned(), path);
            }
            _ => {
                let what = format!("the name of {} is not Unicode", path.display());
                report.problem(at, what, "rename it, or exclude it");
            }
        }
    }
}

/// A pattern of excluded files.
fn pattern(directory: &Path, entry: &Located<String>, report: &mut Report) -> Option<Pattern> {
    let glob = entry.value.strip_prefix("./").unwrap_or(&entry.value);
    match Pattern::new(&format!("{}/{glob}", escaped(directory))) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let what = format!("{glob:?} is not a pattern of files: {}", error.msg);
            report.problem(&entry.at, what, "write a glob, such as \"assets/*.tmp\"");
            None
        }
    }
}

/// A directory in a pattern: whatever its name has, it means itself.
fn escaped(directory: &Path) -> String {
    Pattern::escape(&directory.to_string_lossy())
}

/// A path or glob that stays below its directory.
fn below<'a>(written: &'a str, at: &At, report: &mut Report) -> Option<&'a str> {
    let parts = Path::new(written).components();
    let mut parts = parts.filter(|part| !matches!(part, Part::CurDir));
    if parts.all(|part| matches!(part, Part::Normal(_))) {
        return Some(written.strip_prefix("./").unwrap_or(written));
    }
    let what = format!("{written:?} leads out of its directory");
    let fix = "write a path below it; for files from elsewhere, { source = \"...\", destination = \"/...\" }";
    report.problem(at, what, fix);
    None
}
