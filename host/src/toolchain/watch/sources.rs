//! Whose file a file is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::freshness::{Inputs, SKIPPED, stamp_path};
use super::super::resolved::resolve;
use crate::manifest::model::{Application, Component, MountSource};
use crate::name::ComponentName;

/// The sources of an application's components.
#[derive(Debug, Default)]
pub(super) struct Sources {
    sources: Vec<Source>,
    /// Files that components see.
    mounted: BTreeSet<PathBuf>,
}

/// What one component is made from.
#[derive(Debug)]
struct Source {
    component: ComponentName,
    inputs: Inputs,
    /// What its build makes, where that lies among its inputs.
    made: [PathBuf; 2],
}

impl Sources {
    /// Looks where they are. What cannot be found has no sources: its build reports that.
    pub(super) fn of(application: &Application) -> Self {
        let components = application.components.values();
        Self {
            sources: components.clone().filter_map(source).collect(),
            mounted: components.flat_map(mounted).collect(),
        }
    }

    /// Every component that has any.
    pub(super) fn components(&self) -> impl Iterator<Item = ComponentName> {
        self.sources.iter().map(|source| source.component.clone())
    }

    /// The components that a change of `path` may concern.
    pub(super) fn owners(&self, path: &Path) -> Vec<ComponentName> {
        let owners = self.sources.iter().filter(|source| source.has(path));
        owners.map(|source| source.component.clone()).collect()
    }

    /// Whether `path` is a file that a component sees by its manifest.
    pub(super) fn is_mounted(&self, path: &Path) -> bool {
        self.mounted.contains(path)
    }

    /// The directories to watch, each for itself: at most `limit` for each that was named.
    pub(super) fn directories(&self, limit: usize) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::new();
        let parents = self.mounted.iter().filter_map(|file| file.parent());
        directories.extend(parents.map(Path::to_owned));
        for Source { inputs, .. } in &self.sources {
            let parents = inputs.files.iter().filter_map(|file| file.parent());
            directories.extend(parents.map(Path::to_owned));
            for directory in &inputs.directories {
                directories.extend(directories_below(directory, limit));
            }
        }
        directories
    }
}

/// The single files that a component sees, where they lie.
fn mounted(component: &Component) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for mount in &component.mounts {
        if let MountSource::Files(files) = &mount.source {
            let canonical = |path: &PathBuf| {
                let directory = std::path::absolute(path).ok()?.parent()?.canonicalize();
                Some(directory.ok()?.join(path.file_name()?))
            };
            found.extend(files.values().filter_map(canonical));
        }
    }
    found
}

/// `None` where a component's directory is not there.
fn source(component: &Component) -> Option<Source> {
    let Some(build) = &component.build else {
        // Somebody else makes it, and every change of it counts.
        let artifact = std::path::absolute(component.artifact.built()).ok()?;
        let directory = artifact.parent()?.canonicalize().ok()?;
        let inputs = Inputs {
            files: BTreeSet::from([directory.join(artifact.file_name()?)]),
            directories: BTreeSet::new(),
        };
        return Some(Source {
            component: component.name.clone(),
            inputs,
            made: Default::default(),
        });
    };
    let (resolved, build) = resolve(component, build).ok()?;
    let artifact = resolved.artifact.path.clone();
    Some(Source {
        component: component.name.clone(),
        inputs: Inputs::of(&resolved, &build),
        made: [stamp_path(&artifact), artifact],
    })
}

impl Source {
    fn has(&self, path: &Path) -> bool {
        if self.inputs.files.contains(path) {
            return true;
        }
        let within = |directory: &PathBuf| {
            path.strip_prefix(directory)
                .is_ok_and(|rest| !rest.iter().any(|name| is_skipped(&name.to_string_lossy())))
        };
        !self.made.iter().any(|made| made == path)
            && !is_temporary(path)
            && self.inputs.directories.iter().any(within)
    }
}

fn is_skipped(name: &str) -> bool {
    SKIPPED.contains(&name)
}

/// What editors write beside the file that is edited: vim's swap files and its probe `4913`, backups,
/// Emacs's locks and autosaves, and whatever else is hidden.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '#'])
        || name.ends_with(['~', '#'])
        || name == "4913"
        || [".swp", ".swx", ".tmp", ".bak"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// `directory` and those below it that may hold sources, at most `limit`.
pub(super) fn directories_below(directory: &Path, limit: usize) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() && found.len() < limit {
        // One that is gone, or may not be read, has nothing to tell.
        let entries = std::fs::read_dir(&found[next])
            .into_iter()
            .flatten()
            .flatten();
        let directories = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                !is_skipped(&name) && !name.starts_with('.')
            });
        found.extend(directories.map(|entry| entry.path()));
        next += 1;
    }
    found
}
