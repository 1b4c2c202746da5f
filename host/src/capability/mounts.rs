//! Directories that components see.
//!
//! What a manifest mounts as single files is copied when a revision is loaded, so that it sees what was
//! there then, and an earlier revision goes on seeing what it saw. Copies and ephemeral directories lie
//! below the state directory and are gone when the host starts again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::model::{Mount, MountSource};

/// Why a directory cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be mounted at {guest}", path.display())]
pub struct MountError {
    /// Where the component would see it.
    guest: String,
    /// What cannot be used.
    path: PathBuf,
    /// What the operating system said.
    source: io::Error,
}

/// A directory of the host's, ready to be seen by a component.
#[derive(Debug, Clone)]
pub struct MountedDirectory {
    /// Where it lies.
    pub host: PathBuf,
    /// Where the component sees it.
    pub guest: String,
    /// Whether it may change what is there.
    pub writable: bool,
    /// Removes a copy with the last revision that sees it.
    _copy: Option<Arc<tempfile::TempDir>>,
}

/// Makes the directories that components see.
#[derive(Debug, Clone)]
pub struct Mounts {
    dir: PathBuf,
}

impl Mounts {
    /// Those below `state_dir`, where what an earlier host left is removed.
    ///
    /// # Errors
    ///
    /// The directory cannot be emptied or made.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("mounts");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// The directories of one revision.
    ///
    /// # Errors
    ///
    /// A directory or file is not there, or cannot be read or copied.
    pub async fn prepare(&self, mounts: &[Mount]) -> Result<Vec<MountedDirectory>, MountError> {
        if mounts.is_empty() {
            return Ok(Vec::new());
        }
        let (dir, mounts) = (self.dir.clone(), mounts.to_vec());
        let prepared = tokio::task::spawn_blocking(move || {
            mounts.iter().map(|mount| prepare(&dir, mount)).collect()
        });
        prepared.await.unwrap_or_else(|error| {
            let (guest, path) = ("/".to_owned(), self.dir.clone());
            let source = io::Error::other(error);
            Err(MountError {
                guest,
                path,
                source,
            })
        })
    }
}

fn prepare(dir: &Path, mount: &Mount) -> Result<MountedDirectory, MountError> {
    let failed = |path: &Path, source| MountError {
        guest: mount.guest.clone(),
        path: path.to_owned(),
        source,
    };
    let (host, copy) = match &mount.source {
        MountSource::Directory(path) => {
            let metadata = fs::metadata(path).map_err(|source| failed(path, source))?;
            if !metadata.is_dir() {
                return Err(failed(path, io::ErrorKind::NotADirectory.into()));
            }
            (path.clone(), None)
        }
        MountSource::Ephemeral(name) => {
            let path = dir.join("ephemeral").join(name);
            fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
            (path, None)
        }
        MountSource::Files(files) => {
            let copy = copied(dir, files).map_err(|(path, source)| failed(&path, source))?;
            (copy.path().to_owned(), Some(Arc::new(copy)))
        }
    };
    Ok(MountedDirectory {
        host,
        guest: mount.guest.clone(),
        writable: mount.writable,
        _copy: copy,
    })
}

/// A directory with copies of `files`. A failure names the file.
fn copied(
    dir: &Path,
    files: &BTreeMap<String, PathBuf>,
) -> Result<tempfile::TempDir, (PathBuf, io::Error)> {
    let copy = tempfile::Builder::new().prefix("files-").tempdir_in(dir);
    let copy = copy.map_err(|source| (dir.to_owned(), source))?;
    for (name, from) in files {
        let to = copy.path().join(name);
        let copying = || {
            fs::create_dir_all(to.parent().unwrap_or(copy.path()))?;
            fs::copy(from, &to)
        };
        copying().map_err(|source| (from.clone(), source))?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: MountSource) -> Mount {
        Mount {
            guest: "/data".to_owned(),
            source,
            writable: false,
            digest: None,
        }
    }

    #[tokio::test]
    async fn files_are_copied_and_gone_with_whoever_saw_them() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("a.txt");
        fs::write(&file, "before").unwrap();
        let mounts = Mounts::open(state.path()).unwrap();
        let files = BTreeMap::from([("sub/b.txt".to_owned(), file.clone())]);
        let seen = mounts.prepare(&[mount(MountSource::Files(files))]).await;
        let seen = seen.unwrap();
        fs::write(&file, "after").unwrap();
        let copy = seen[0].host.join("sub/b.txt");
        assert_eq!(fs::read_to_string(&copy).unwrap(), "before");
        drop(seen);
        assert!(!copy.exists());
    }

    #[tokio::test]
    async fn ephemeral_directories_are_shared_by_name_and_empty_at_a_start() {
        let state = tempfile::tempdir().unwrap();
        let scratch = || [mount(MountSource::Ephemeral("scratch".to_owned()))];
        let mounts = Mounts::open(state.path()).unwrap();
        let one = mounts.prepare(&scratch()).await.unwrap();
        fs::write(one[0].host.join("a"), "").unwrap();
        let other = mounts.prepare(&scratch()).await.unwrap();
        assert!(other[0].host.join("a").exists());
        let mounts = Mounts::open(state.path()).unwrap();
        let later = mounts.prepare(&scratch()).await.unwrap();
        assert!(!later[0].host.join("a").exists());
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let state = tempfile::tempdir().unwrap();
        let mounts = Mounts::open(state.path()).unwrap();
        let missing = MountSource::Directory(state.path().join("missing"));
        let error = mounts.prepare(&[mount(missing)]).await.unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert!(error.to_string().contains("/data"), "{error}");
    }
}
