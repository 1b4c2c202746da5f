//! Artifacts as files, `<state directory>/artifacts/<sha256>.wasm`.
//!
//! A file appears whole or not at all, and is durable when [`ArtifactStore::put`] returns. What is
//! read is checked against its digest. Every function here blocks: call them where that is allowed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::StoreError;
use crate::name::Digest;
use crate::rollout::model::StoredArtifact;

/// The directory in the state directory.
const DIR_NAME: &str = "artifacts";

/// What the names of artifacts end in.
const EXTENSION: &str = "wasm";

/// What the names of unfinished files begin with.
const UNFINISHED_PREFIX: &str = ".unfinished-";

/// The stored artifacts of a host. It has the directory for itself.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    dir: PathBuf,
}

impl ArtifactStore {
    /// Opens the store below `state_dir`, which is created where it is missing, and removes what a
    /// killed host did not finish. Blocks.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let dir = state_dir.join(DIR_NAME);
        let opened = || {
            fs::create_dir_all(&dir)?;
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_string_lossy().starts_with(UNFINISHED_PREFIX) {
                    fs::remove_file(entry.path())?;
                }
            }
            sync_dir(state_dir)
        };
        opened().map_err(|source| failed(&dir, source))?;
        Ok(Self { dir })
    }

    /// Keeps `bytes`, durably. A file that has them already is not written again; one that should
    /// have them and is damaged is replaced. Blocks.
    pub fn put(&self, bytes: &[u8]) -> Result<StoredArtifact, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        let written = || {
            if read(&path)?.is_none_or(|present| present != bytes) {
                let mut file = tempfile::Builder::new()
                    .prefix(UNFINISHED_PREFIX)
                    .tempfile_in(&self.dir)?;
                file.write_all(bytes)?;
                file.as_file().sync_all()?;
                file.persist(&path)?;
            } else {
                renew(&path)?;
            }
            // Also for a file that is there: who wrote it may have been killed before this.
            sync_dir(&self.dir)
        };
        written().map_err(|source| failed(&path, source))?;
        Ok(StoredArtifact {
            digest,
            bytes: bytes.len() as u64,
        })
    }

    /// The bytes of an artifact; `None` where it is not stored. Blocks.
    ///
    /// Fails where the file has other bytes than its name says.
    pub fn get(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, StoreError> {
        let path = self.path(digest);
        let Some(bytes) = read(&path).map_err(|source| failed(&path, source))? else {
            return Ok(None);
        };
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(StoreError::DamagedArtifact { path, found });
        }
        renew(&path).map_err(|source| failed(&path, source))?;
        Ok(Some(bytes.into()))
    }

    /// Removes an artifact; says whether it was there. Blocks.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// Everything that is stored, by digest; other files are not looked at. Blocks.
    pub fn list(&self) -> Result<Vec<StoredArtifact>, StoreError> {
        let mut found: Vec<StoredArtifact> = self
            .files()?
            .into_iter()
            .map(|(digest, data)| StoredArtifact {
                digest,
                bytes: data.len(),
            })
            .collect();
        found.sort_by_key(|artifact| artifact.digest);
        Ok(found)
    }

    /// Removes what is not among `used` and was neither put nor read for `unused_for`, which leaves
    /// the time from an upload to its rollout. Gives what it removed. Blocks.
    pub fn sweep(
        &self,
        used: &BTreeSet<Digest>,
        unused_for: Duration,
    ) -> Result<Vec<Digest>, StoreError> {
        let now = SystemTime::now();
        let mut removed = Vec::new();
        for (digest, data) in self.files()? {
            let renewed = data.modified();
            let renewed = renewed.map_err(|source| failed(&self.path(&digest), source))?;
            let old = now
                .duration_since(renewed)
                .is_ok_and(|age| age >= unused_for);
            if old && !used.contains(&digest) && self.remove(&digest)? {
                removed.push(digest);
            }
        }
        removed.sort();
        Ok(removed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.{EXTENSION}"))
    }

    fn files(&self) -> Result<Vec<(Digest, fs::Metadata)>, StoreError> {
        let listed = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                let path = entry.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                let digest = stem.and_then(|stem| stem.parse::<Digest>().ok());
                if let Some(digest) = digest
                    && path == self.path(&digest)
                {
                    found.push((digest, entry.metadata()?));
                }
            }
            Ok(found)
        };
        listed().map_err(|source| failed(&self.dir, source))
    }
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::Artifact {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says in the file's time that it was of use now.
fn renew(path: &Path) -> io::Result<()> {
    File::options()
        .append(true)
        .open(path)?
        .set_modified(SystemTime::now())
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ArtifactStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(dir.path()).unwrap();
        (dir, store)
    }

    fn age(path: &Path, by: Duration) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }

    #[test]
    fn an_artifact_is_kept_until_it_is_removed() {
        let (dir, store) = store();
        let stored = store.put(b"one").unwrap();
        assert_eq!((stored.digest, stored.bytes), (Digest::of(b"one"), 3));
        drop(store);
        let store = ArtifactStore::open(dir.path()).unwrap();
        assert_eq!(store.get(&stored.digest).unwrap().unwrap().as_ref(), b"one");
        assert_eq!(store.list().unwrap(), [stored]);
        assert!(store.remove(&stored.digest).unwrap());
        assert!(!store.remove(&stored.digest).unwrap());
        assert_eq!(store.get(&stored.digest).unwrap(), None);
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn a_present_artifact_is_not_written_again() {
        use std::os::unix::fs::MetadataExt as _;
        let (_dir, store) = store();
        let path = store.path(&store.put(b"one").unwrap().digest);
        let inode = fs::metadata(&path).unwrap().ino();
        store.put(b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn a_damaged_artifact_is_an_error_that_an_upload_mends() {
        let (_dir, store) = store();
        let digest = store.put(b"a component").unwrap().digest;
        for damaged in [&b"a compo"[..], b"", b"A component"] {
            fs::write(store.path(&digest), damaged).unwrap();
            let error = store.get(&digest).unwrap_err();
            let found = Digest::of(damaged);
            assert!(
                matches!(&error, StoreError::DamagedArtifact { found: f, .. } if *f == found),
                "{error:?}"
            );
            store.put(b"a component").unwrap();
            assert!(store.get(&digest).unwrap().is_some());
        }
    }

    #[test]
    fn what_a_killed_host_did_not_finish_is_removed_and_other_files_are_left() {
        let (dir, store) = store();
        let unfinished = store.dir.join(format!("{UNFINISHED_PREFIX}x"));
        let other = store.dir.join("README");
        fs::write(&unfinished, "half").unwrap();
        fs::write(&other, "text").unwrap();
        let store = ArtifactStore::open(dir.path()).unwrap();
        assert!(!unfinished.exists() && other.exists());
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn a_sweep_leaves_what_is_used_and_what_is_new() {
        let (_dir, store) = store();
        let put = |bytes: &[u8]| store.put(bytes).unwrap().digest;
        let [used, new, read, put_again, old] =
            [b"1", b"2", b"3", b"4", b"5"].map(|bytes| put(bytes));
        let hour = Duration::from_secs(3600);
        for digest in [used, read, put_again, old] {
            age(&store.path(&digest), 2 * hour);
        }
        store.get(&read).unwrap();
        put(b"4");
        let removed = store.sweep(&BTreeSet::from([used]), hour).unwrap();
        assert_eq!(removed, [old]);
        for digest in [used, new, read, put_again] {
            assert!(store.get(&digest).unwrap().is_some());
        }
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DIR_NAME), "a file").unwrap();
        let error = ArtifactStore::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(DIR_NAME), "{error}");
    }
}
