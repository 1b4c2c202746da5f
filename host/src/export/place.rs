//! Paths as they are seen from where the files are written.

use std::path::{Component, Path, PathBuf};

/// An output directory and the manifest, both absolute.
#[derive(Debug, Clone)]
pub struct Place {
    out: PathBuf,
    manifest: PathBuf,
}

impl Place {
    /// Files go to `out`; the application's manifest is `manifest`.
    ///
    /// # Errors
    ///
    /// The current directory cannot be told.
    pub fn new(out: &Path, manifest: &Path) -> std::io::Result<Self> {
        Ok(Self {
            out: normal(&std::path::absolute(out)?),
            manifest: normal(&std::path::absolute(manifest)?),
        })
    }

    /// The manifest, from the output directory.
    pub(super) fn manifest(&self) -> String {
        self.seen(&self.manifest)
    }

    /// `path` from the output directory, with slashes.
    pub(super) fn seen(&self, path: &Path) -> String {
        relative(&self.out, path)
    }

    /// The directory that the manifest and all `paths` are below, and the manifest from there.
    pub(super) fn root(&self, paths: &[&Path]) -> Root {
        let mut root = self.manifest.parent().unwrap_or(Path::new("/")).to_owned();
        for path in paths {
            let path = whole(path);
            while !path.starts_with(&root) && root.pop() {}
        }
        Root { root }
    }

    /// A root from the output directory.
    pub(super) fn seen_root(&self, root: &Root) -> String {
        self.seen(&root.root)
    }

    pub(super) fn manifest_path(&self) -> &Path {
        &self.manifest
    }
}

/// A directory that everything of an application is below.
pub(super) struct Root {
    root: PathBuf,
}

impl Root {
    /// `path` from this directory, with slashes.
    pub(super) fn seen(&self, path: &Path) -> String {
        relative(&self.root, path)
    }
}

fn whole(path: &Path) -> PathBuf {
    normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// Without `.` and `..`. Symbolic links are not followed: what is written is read by name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => normal.push(part),
        }
    }
    normal
}

fn relative(from: &Path, to: &Path) -> String {
    let to = whole(to);
    let mut up = 0;
    let mut base = from;
    while !to.starts_with(base) {
        up += 1;
        base = base.parent().unwrap_or(Path::new("/"));
    }
    let rest = to.strip_prefix(base).unwrap_or(&to);
    let parts = std::iter::repeat_n("..".to_owned(), up).chain(
        rest.components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned()),
    );
    let seen = parts.collect::<Vec<_>>().join("/");
    match seen.is_empty() {
        true => ".".to_owned(),
        false => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_output_directory() {
        let place = Place::new(Path::new("/a/config/spin"), Path::new("/a/config/m.toml")).unwrap();
        assert_eq!(place.manifest(), "../m.toml");
        let artifact = Path::new("/a/config/../target/x.wasm");
        assert_eq!(place.seen(artifact), "../../target/x.wasm");
        assert_eq!(place.seen(Path::new("/a/config/spin/b")), "b");
        assert_eq!(place.seen(Path::new("/a/config/spin")), ".");
        let root = place.root(&[artifact]);
        assert_eq!(root.seen(artifact), "target/x.wasm");
        assert_eq!(root.seen(place.manifest_path()), "config/m.toml");
    }
}
