//! What was fetched, by digest, and what was made of it.
//!
//! ```text
//! artifacts/<sha256 of an origin>.wasm   what was made of it
//! artifacts/<sha256 of an origin>.made   of what: the digests of its inputs, then its own
//! artifacts/blobs/<sha256>               what was fetched
//! artifacts/applications/<sha256>/       applications, by their manifests in the registry
//! artifacts/latest/<sha256 of a source>  the digest of what was fetched from it last
//! ```
//!
//! Every file is written beside its place and renamed, so that processes may share it; what does not
//! have its digest is as good as absent.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::SourceError;
use crate::manifest::model::Source;
use crate::manifest::origin::artifacts_dir;
use crate::name::Digest;

/// What decides, beside the inputs, what is made of them.
const RECIPE: &str = concat!("wharf ", env!("CARGO_PKG_VERSION"));

pub(super) struct Store;

impl Store {
    /// The bytes of this digest, if they were fetched before.
    pub(super) fn blob(digest: Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(blob_path(digest)).ok()?;
        (Digest::of(&bytes) == digest).then_some(bytes)
    }

    pub(super) fn keep_blob(bytes: &[u8], digest: Digest) -> Result<(), SourceError> {
        match Self::blob(digest) {
            Some(_) => Ok(()),
            None => write(&blob_path(digest), bytes),
        }
    }

    /// What `source` gave when it was fetched last.
    pub(super) fn latest(source: &Source) -> Option<(Digest, Vec<u8>)> {
        let digest = Self::latest_digest(source)?;
        Some((digest, Self::blob(digest)?))
    }

    /// The digest of that; of an application that of its manifest in the registry.
    pub(super) fn latest_digest(source: &Source) -> Option<Digest> {
        let text = fs::read_to_string(latest_path(source)).ok()?;
        text.trim().parse().ok()
    }

    pub(super) fn keep_latest(source: &Source, digest: Digest) -> Result<(), SourceError> {
        write(&latest_path(source), digest.to_string().as_bytes())
    }

    /// Whether the file at `path` was made of these inputs, by this version, and is still what was
    /// made.
    pub(super) fn is_made_of(path: &Path, inputs: &[Digest]) -> bool {
        let Ok(bytes) = fs::read(path) else {
            return false;
        };
        let stamp = stamp(inputs, Digest::of(&bytes));
        fs::read_to_string(stamp_path(path)).is_ok_and(|there| there == stamp)
    }

    pub(super) fn keep_made(
        path: &Path,
        bytes: &[u8],
        inputs: &[Digest],
    ) -> Result<(), SourceError> {
        write(path, bytes)?;
        let stamp = stamp(inputs, Digest::of(bytes));
        write(&stamp_path(path), stamp.as_bytes())
    }
}

fn stamp(inputs: &[Digest], made: Digest) -> String {
    let inputs: Vec<String> = inputs.iter().map(Digest::to_string).collect();
    format!("{RECIPE}\n{}\n{made}\n", inputs.join("\n"))
}

fn stamp_path(path: &Path) -> PathBuf {
    path.with_extension("made")
}

fn blob_path(digest: Digest) -> PathBuf {
    artifacts_dir().join("blobs").join(digest.to_string())
}

fn latest_path(source: &Source) -> PathBuf {
    let name = Digest::of(source.to_string().as_bytes());
    artifacts_dir().join("latest").join(name.to_string())
}

/// Writes a file in one step, with the directories above it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    write_file(path, bytes).map_err(|source| SourceError::Cache {
        path: path.to_owned(),
        source,
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
