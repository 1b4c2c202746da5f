//! A component's build with absolute paths free of `..` and links, as compilers and cargo write them
//! down, so that the names that are mapped and compared are the names that occur.

use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::model::{Artifact, Build, Component};

/// Resolves the paths of `component` and of its `build`, whose file is the artifact then. It need not
/// be there yet.
///
/// # Errors
///
/// The directory of the build is not there.
pub(super) fn resolve(component: &Component, build: &Build) -> io::Result<(Component, Build)> {
    let build = Build {
        workdir: build.workdir.canonicalize()?,
        ..build.clone()
    };
    let mut resolved = component.clone();
    let artifact = std::path::absolute(component.artifact.built())?;
    resolved.artifact = Artifact::file(canonical_as_far_as_it_exists(&artifact)?);
    Ok((resolved, build))
}

/// Before the first build there is not even the artifact's directory.
fn canonical_as_far_as_it_exists(path: &Path) -> io::Result<PathBuf> {
    // The root always exists, so that something is found.
    let existing = path
        .ancestors()
        .skip(1)
        .find(|ancestor| ancestor.exists())
        .unwrap_or(path);
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    Ok(existing.canonicalize()?.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_that_is_not_there_yet_has_a_path_without_detours() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("config")).unwrap();
        let path = root.join("config/../target/wasm32-wasip2/release/auth.wasm");
        let resolved = canonical_as_far_as_it_exists(&path).unwrap();
        assert_eq!(
            resolved,
            root.join("target/wasm32-wasip2/release/auth.wasm")
        );
    }
}
