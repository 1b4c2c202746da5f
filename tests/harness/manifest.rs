//! Application manifests that a test writes, and the directories that it writes them to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::artifacts;

/// A directory that goes when its last user is gone.
pub type Scratch = Arc<TempDir>;

/// A new empty directory within the target directory.
pub fn scratch() -> Scratch {
    let dir = tempfile::Builder::new()
        .prefix("wharf-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target directory can be written");
    Arc::new(dir)
}

/// A manifest on disk.
#[derive(Clone)]
pub struct Manifest {
    dir: Scratch,
    path: PathBuf,
}

impl Manifest {
    /// Writes `text`; `{name.wasm}` in it stands for the artifact of the guest `name`. The
    /// `[application]` table is added.
    pub fn new(text: &str) -> Self {
        Self::raw(&format!(
            "[application]\nname = \"tested\"\n{}",
            with_guests(text)
        ))
    }

    /// Writes a `spin.toml`, whose version is added where it says none; guests in it as in
    /// [`new`](Self::new).
    pub fn spin(text: &str) -> Self {
        const VERSION: &str = "spin_manifest_version";
        let version = if text.contains(VERSION) {
            String::new()
        } else {
            format!("{VERSION} = 2\n")
        };
        Self::named("spin.toml", &format!("{version}{}", with_guests(text)))
    }

    /// Writes exactly `text`.
    pub fn raw(text: &str) -> Self {
        Self::named("application.toml", text)
    }

    /// Writes `text` to a file of this name.
    pub fn named(name: &str, text: &str) -> Self {
        let dir = scratch();
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("the scratch directory can be written");
        Self { dir, path }
    }

    /// One guest on every path, with more of its tables in `more`.
    pub fn serving(name: &str, more: &str) -> Self {
        Self::new(&format!(
            "[component.{name}]\nartifact = \"{{{name}.wasm}}\"\n{more}\n\
             [[route]]\npath = \"/...\"\ncomponent = \"{name}\"\n"
        ))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The first line that has `text` in it, counted from 1.
    pub fn line_of(&self, text: &str) -> usize {
        let content = std::fs::read_to_string(&self.path).expect("it was written");
        let index = content.lines().position(|line| line.contains(text));
        1 + index.unwrap_or_else(|| panic!("no line with {text:?} in:\n{content}"))
    }
}

fn with_guests(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(end) = rest.find(".wasm}") {
        let start = rest[..end].rfind('{').expect("a brace opens the name");
        let path = artifacts::guest(&rest[start + 1..end]);
        out.push_str(&rest[..start]);
        out.push_str(&path.display().to_string());
        rest = &rest[end + ".wasm}".len()..];
    }
    out.push_str(rest);
    out
}
