//! Whether an artifact is what its source would give now, decided without running anything.
//!
//! A build leaves a stamp beside its artifact: what was built how, and the size and time of every
//! file that went in. The artifact is fresh as long as all of that is as it was. For cargo the files
//! are those that its dependency file lists, the manifests and lock file above them, and the compiler;
//! for any other command, every file below its directory that the build did not make itself. Whatever
//! is unclear means that the command runs: cargo then finds out by itself that there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::c_compiler::CCompiler;
use super::environment::{Layout, cargo_home, fingerprint};
use super::resolved::resolve;
use super::rust::TARGET;
use super::system::on_path;
use crate::manifest::model::{Build, Component};

/// Files below the directory of a command that is not cargo. With more, looking would take longer
/// than is worth it, and the command always runs.
const FILES_MAX: usize = 20_000;

/// How far the time of a file may lag behind the clock: the coarsest file systems count in seconds.
/// A file that changed this shortly before a build may have changed during it.
const CLOCK_LAG: Duration = Duration::from_secs(1);

/// Directories that hold no source.
pub(super) const SKIPPED: [&str; 4] = [".git", ".wharf", "node_modules", "target"];

/// What makes a directory a package of cargo's.
const MANIFEST: &str = "Cargo.toml";

/// What configures cargo and the choice of the compiler, in any directory above the source.
const CONFIGURATION: [&str; 6] = [
    MANIFEST,
    "Cargo.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".cargo/config",
    ".cargo/config.toml",
];

/// Where a file stands: a different one means that it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    modified_ns: u64,
    bytes: u64,
}

impl FileState {
    /// `None` where there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        let modified = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            modified_ns: u64::try_from(modified.as_nanos()).ok()?,
            bytes: data.len(),
        })
    }
}

/// What the absence of a file is as much a part of as its presence.
type Files = BTreeMap<PathBuf, Option<FileState>>;

fn states(paths: impl IntoIterator<Item = PathBuf>) -> Files {
    paths
        .into_iter()
        .map(|path| (path.clone(), FileState::of(&path)))
        .collect()
}

/// What a build leaves beside its artifact.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    fingerprint: String,
    toolchain: String,
    artifact: FileState,
    inputs: Files,
    /// Files below the directory of a command that is not cargo which the build made itself.
    outputs: BTreeSet<PathBuf>,
}

pub(super) fn stamp_path(artifact: &Path) -> PathBuf {
    artifact.with_extension("wasm.stamp")
}

fn read_stamp(artifact: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(stamp_path(artifact)).ok()?).ok()
}

/// Whether `component` has to be built before its artifact may be used. A component without a build
/// command never has to.
pub fn needs_build(component: &Component) -> bool {
    let Some(build) = &component.build else {
        return false;
    };
    // A directory that cannot be resolved is for the build to report.
    resolve(component, build).map_or(true, |(component, build)| !is_fresh(&component, &build))
}

fn is_fresh(component: &Component, build: &Build) -> bool {
    let artifact = component.artifact.built();
    let Some(stamp) = read_stamp(artifact) else {
        return false;
    };
    stamp.fingerprint == fingerprint(build)
        && stamp.toolchain == toolchain_choice()
        && FileState::of(artifact) == Some(stamp.artifact)
        && stamp
            .inputs
            .iter()
            .all(|(path, state)| FileState::of(path) == *state)
        && has_no_new_inputs(artifact, build, &stamp)
}

/// A new file below cargo's directories matters once a known file mentions it; for other commands any
/// new file may.
fn has_no_new_inputs(artifact: &Path, build: &Build, stamp: &Stamp) -> bool {
    uses_cargo(build)
        || files_below(&build.workdir, artifact).is_some_and(|files| {
            files
                .iter()
                .all(|path| stamp.inputs.contains_key(path) || stamp.outputs.contains(path))
        })
}

/// The command runs cargo, so that cargo's own record of its inputs holds.
pub(super) fn uses_cargo(build: &Build) -> bool {
    let mut words = build.command.split_whitespace();
    words.any(|word| word == "cargo" || word.ends_with("/cargo"))
}

/// What has to be seen before a build, so that its stamp is true of what went in.
#[derive(Debug)]
pub(super) struct Before {
    started: SystemTime,
    files: Option<Files>,
}

impl Before {
    /// Looks, just before the build command starts.
    pub(super) fn look(component: &Component, build: &Build) -> Self {
        let files = if uses_cargo(build) {
            None
        } else {
            files_below(&build.workdir, component.artifact.built()).map(states)
        };
        Self {
            started: SystemTime::now(),
            files,
        }
    }

    /// Stamps the artifact after a build that succeeded. What changed while it ran may or may not
    /// have gone in: the artifact then gets no stamp and is built again next time.
    pub(super) fn stamp(self, component: &Component, build: &Build) -> io::Result<()> {
        let artifact = component.artifact.built();
        let inputs = if uses_cargo(build) {
            self.cargo_inputs(artifact, build)
                .map(|inputs| (inputs, BTreeSet::new()))
        } else {
            self.other_inputs(artifact, build)
        };
        let path = stamp_path(artifact);
        let (Some((mut inputs, outputs)), Some(state)) = (inputs, FileState::of(artifact)) else {
            return remove_if_present(&path);
        };
        inputs.extend(states(toolchain_files(build)));
        let stamp = Stamp {
            fingerprint: fingerprint(build),
            toolchain: toolchain_choice(),
            artifact: state,
            inputs,
            outputs,
        };
        fs::write(path, serde_json::to_vec(&stamp)?)
    }

    fn cargo_inputs(&self, artifact: &Path, build: &Build) -> Option<Files> {
        let sources = cargo_sources(artifact, build)?;
        let manifests = sources
            .iter()
            .filter_map(|source| Some(package_of(source)?.join(MANIFEST)));
        let above = build.workdir.ancestors();
        let configuration = above.flat_map(|dir| CONFIGURATION.map(|name| dir.join(name)));
        let all: BTreeSet<PathBuf> = manifests
            .chain(configuration)
            .chain(sources.iter().cloned())
            .collect();
        let inputs = states(all);
        let certain = self
            .started
            .duration_since(UNIX_EPOCH)
            .ok()?
            .checked_sub(CLOCK_LAG)?;
        let certain = u64::try_from(certain.as_nanos()).ok()?;
        let changed = inputs
            .values()
            .flatten()
            .any(|state| state.modified_ns >= certain);
        (!changed).then_some(inputs)
    }

    fn other_inputs(&self, artifact: &Path, build: &Build) -> Option<(Files, BTreeSet<PathBuf>)> {
        let before = self.files.as_ref()?;
        let known = read_stamp(artifact)
            .map(|stamp| stamp.outputs)
            .unwrap_or_default();
        let after = states(files_below(&build.workdir, artifact)?);
        let is_output = |path: &PathBuf| !before.contains_key(path) || known.contains(path);
        let outputs = after
            .keys()
            .filter(|path| is_output(path))
            .cloned()
            .collect();
        let inputs: Files = after
            .into_iter()
            .filter(|(path, _)| !is_output(path))
            .collect();
        let changed = inputs
            .iter()
            .any(|(path, state)| before.get(path) != Some(state));
        (!changed).then_some((inputs, outputs))
    }
}

/// The sources of the last build that succeeded, as cargo's dependency file lists them; `None` where
/// there is none.
fn cargo_sources(artifact: &Path, build: &Build) -> Option<BTreeSet<PathBuf>> {
    let target = Layout::of(artifact).cargo_target?;
    let text = fs::read_to_string(artifact.with_extension("d")).ok()?;
    // What build scripts generate lies below the target directory; it follows from the rest.
    let sources: BTreeSet<PathBuf> = dependency_file(&text)
        .into_iter()
        .map(|path| build.workdir.join(path))
        .filter(|path| !path.starts_with(&target))
        .collect();
    (!sources.is_empty()).then_some(sources)
}

/// The directory of the package, or of the workspace without one, that a source belongs to.
fn package_of(source: &Path) -> Option<&Path> {
    let mut above = source.ancestors().skip(1);
    above.find(|directory| directory.join(MANIFEST).is_file())
}

/// Whether the manifest in `directory` describes a package, not only a workspace.
fn is_package(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join(MANIFEST)).unwrap_or_default();
    text.lines().any(|line| line.trim() == "[package]")
}

/// Where a change may ask for a build. Whether it does is for [`needs_build`] to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Single files.
    pub(super) files: BTreeSet<PathBuf>,
    /// Directories in which any file counts, those that hold no source aside.
    pub(super) directories: BTreeSet<PathBuf>,
}

impl Inputs {
    /// Those of a component whose paths are resolved.
    pub(super) fn of(component: &Component, build: &Build) -> Self {
        let sources = if uses_cargo(build) {
            cargo_sources(component.artifact.built(), build)
        } else {
            None
        };
        let Some(sources) = sources else {
            return Self {
                files: BTreeSet::new(),
                directories: BTreeSet::from([build.workdir.clone()]),
            };
        };
        // The whole package, since a source may mention a file that is not there yet.
        let packages = sources.iter().filter_map(|source| package_of(source));
        let packages = packages.filter(|directory| is_package(directory));
        let directories = packages.map(Path::to_owned).collect();
        let above = build.workdir.ancestors();
        let configuration = above.flat_map(|dir| CONFIGURATION.map(|name| dir.join(name)));
        let configuration = configuration.filter(|file| file.is_file());
        Self {
            files: configuration.chain(sources.iter().cloned()).collect(),
            directories,
        }
    }
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The files that cargo's dependency file lists: `artifact: file file`, spaces within names escaped.
fn dependency_file(text: &str) -> Vec<PathBuf> {
    let first = text.lines().next().unwrap_or_default();
    let Some((_, files)) = first.split_once(": ") else {
        return Vec::new();
    };
    // No file name holds this character, so that it can stand for an escaped space meanwhile.
    let files = files.replace("\\ ", "\0");
    files
        .split_whitespace()
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .collect()
}

/// All files below `directory` but the artifact and its stamp; `None` where there are too many, or
/// one cannot be looked at.
fn files_below(directory: &Path, artifact: &Path) -> Option<BTreeSet<PathBuf>> {
    let stamp = stamp_path(artifact);
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).ok()? {
            let entry = entry.ok()?;
            let path = entry.path();
            if entry.file_type().ok()?.is_dir() {
                if !SKIPPED.contains(&&*entry.file_name().to_string_lossy()) {
                    open.push(path);
                }
            } else if path != artifact && path != stamp {
                found.insert(path);
            }
        }
        if found.len() + open.len() > FILES_MAX {
            return None;
        }
    }
    Some(found)
}

/// Which toolchain the environment chooses, as far as that is known without asking it.
fn toolchain_choice() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let toolchain = std::env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| default_toolchain());
    let rustc = on_path("rustc").unwrap_or_default();
    format!(
        "{toolchain} {} {}",
        rustc.display(),
        variable("WASI_SDK_PATH")
    )
}

fn rustup_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".rustup");
    std::env::var_os("RUSTUP_HOME").map_or_else(home, PathBuf::from)
}

/// rustup's default: what it tells the programs that it starts in `RUSTUP_TOOLCHAIN`, so that a start
/// through cargo and one without are the same.
fn default_toolchain() -> String {
    #[derive(Deserialize)]
    struct Settings {
        default_toolchain: Option<String>,
    }
    let text = fs::read_to_string(rustup_home().join("settings.toml")).unwrap_or_default();
    let settings = toml::from_str(&text).ok();
    settings
        .and_then(|settings: Settings| settings.default_toolchain)
        .unwrap_or_default()
}

/// Files that change when the compilers do.
fn toolchain_files(build: &Build) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if uses_cargo(build) {
        files.push(cargo_home().join("config.toml"));
        files.push(rustup_home().join("settings.toml"));
        files.extend(on_path("rustc"));
        let choice = std::env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| default_toolchain());
        let toolchain = rustup_home().join("toolchains").join(choice);
        files.push(toolchain.join("bin/rustc"));
        files.push(toolchain.join("lib/rustlib").join(TARGET).join("lib"));
    }
    if build.c_toolchain {
        for compiler in CCompiler::candidates() {
            files.push(compiler.clang);
            files.push(compiler.sysroot.join("lib/wasm32-wasi/libc.a"));
        }
    }
    files
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
