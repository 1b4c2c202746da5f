//! Where a component's bytes are, and what they are made from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use crate::name::Digest;

/// Where a component's bytes are, and what they must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The file; resolved against the manifest's directory.
    #[serde(serialize_with = "path_for_people")]
    pub path: PathBuf,
    /// The digest that the bytes must have, where the manifest pins it.
    pub sha256: Option<Digest>,
    /// What the file is made from, where it is not the manifest's own: then it lies in a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Artifact {
    /// The file at `path`.
    pub fn file(path: PathBuf) -> Self {
        Self {
            path,
            sha256: None,
            origin: None,
        }
    }
}

/// What a component's file is made from: its source fetched, made a component if it is a core module,
/// and composed with its dependencies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The component itself.
    pub source: Source,
    /// The digest that the source's bytes must have.
    pub sha256: Option<Digest>,
    /// Components that satisfy its imports, each an instance of its own.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// Where the bytes of a component or module are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file; resolved against the manifest's directory.
    Path(#[serde(serialize_with = "path_for_people")] PathBuf),
    /// An `http` or `https` URL.
    Url(String),
    /// An OCI reference without scheme: `ghcr.io/owner/name:tag`, `name@sha256:...`.
    Oci(String),
}

/// A component that satisfies imports of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    /// The import, or the package whose interfaces are meant: `a:b/c@1.0.0`, `a:b/c`, `a:b`.
    pub import: String,
    /// Who satisfies it.
    pub source: Source,
    /// The digest that its bytes must have.
    pub sha256: Option<Digest>,
    /// The export that does, where it is not named like the import.
    pub export: Option<String>,
}

/// How a component is built from source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// A shell command.
    pub command: String,
    /// Where it runs; resolved against the manifest's directory.
    #[serde(serialize_with = "path_for_people")]
    pub workdir: PathBuf,
    /// It compiles C for wasm, so clang and a WASI sysroot must be there.
    pub c_toolchain: bool,
}

/// Writes a path that is kept to be shown, not to be opened, so that one that is not Unicode can be
/// kept as well.
pub(super) fn path_for_people<S: Serializer>(
    path: &Path,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}
