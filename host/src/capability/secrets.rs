//! Secrets: one file each in a directory that only this user may read.
//!
//! A secret that the manifest lets the host generate is a key ring: the newest key signs, and the
//! older ones verify until whatever they signed has expired. Values reach components as environment
//! variables and nothing else; they are never logged.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::manifest::model::{Generate, Secret};
use crate::name::SecretName;

/// Bytes of a generated key: what HMAC-SHA-256 takes whole (RFC 2104, section 3).
const KEY_BYTES: usize = 32;

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The provider does not have it, and the manifest does not let the host make it.
    #[error("there is no secret {name}: write its value to {}, with mode 0600, or give it `generate` in the manifest", path.display())]
    Missing {
        /// Which.
        name: SecretName,
        /// Where it would be.
        path: PathBuf,
    },
    /// Others than this user may read it.
    #[error("secret {name} in {} can be read by others: run chmod 600", path.display())]
    TooOpen {
        /// Which.
        name: SecretName,
        /// Where it is.
        path: PathBuf,
    },
    /// What is there is not a key ring.
    #[error("secret {name} in {} is not a key ring that this host wrote", path.display())]
    NotAKeyRing {
        /// Which.
        name: SecretName,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It cannot be read or written.
    #[error("secret {name} in {} cannot be read or written", path.display())]
    Io {
        /// Which.
        name: SecretName,
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// One key of a ring, as it is kept.
#[derive(Serialize, Deserialize)]
struct Key {
    kid: String,
    /// base64url, without padding.
    key: String,
    /// When a newer key took its place, in seconds since the Unix epoch.
    retired_at: Option<u64>,
}

/// The provider that keeps secrets in files.
#[derive(Debug, Clone)]
pub struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// The secrets in `dir`, which is created with mode 0700.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The secret's value as a component sees it; generated first where it is missing and may be.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn value(&self, secret: &Secret) -> Result<String, SecretError> {
        let Some(Generate::HmacSha256) = secret.generate else {
            let text = self.read(&secret.name)?;
            return text
                .map(|text| text.trim_end_matches('\n').to_owned())
                .ok_or_else(|| SecretError::Missing {
                    name: secret.name.clone(),
                    path: self.path(&secret.name),
                });
        };
        let mut ring = self.ring(&secret.name)?;
        if ring.is_empty() {
            ring.push(new_key());
            self.store(&secret.name, &ring)?;
        }
        let mut value = String::new();
        for key in &ring {
            let comma = if value.is_empty() { "" } else { "," };
            write!(value, "{comma}{}:{}", key.kid, key.key).expect("a string takes everything");
        }
        Ok(value)
    }

    /// Puts a new key in front of a generated secret's ring. Keys that were retired longer than
    /// `keep` ago are removed. Returns how many keys the ring has now.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn rotate(&self, name: &SecretName, keep: Duration) -> Result<usize, SecretError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut ring = self.ring(name)?;
        if let Some(newest) = ring.first_mut() {
            newest.retired_at = Some(now);
        }
        ring.retain(|key| {
            key.retired_at
                .is_none_or(|retired| now.saturating_sub(retired) <= keep.as_secs())
        });
        ring.insert(0, new_key());
        self.store(name, &ring)?;
        Ok(ring.len())
    }

    fn ring(&self, name: &SecretName) -> Result<Vec<Key>, SecretError> {
        let Some(text) = self.read(name)? else {
            return Ok(Vec::new());
        };
        serde_json::from_str(&text).map_err(|source| SecretError::NotAKeyRing {
            name: name.clone(),
            path: self.path(name),
            source,
        })
    }

    fn read(&self, name: &SecretName) -> Result<Option<String>, SecretError> {
        let path = self.path(name);
        let io = |source| SecretError::Io {
            name: name.clone(),
            path: path.clone(),
            source,
        };
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::TooOpen {
                name: name.clone(),
                path,
            });
        }
        fs::read_to_string(&path).map(Some).map_err(io)
    }

    /// Replaces the file in one step, so that a crash leaves the old ring or the new one.
    fn store(&self, name: &SecretName, ring: &[Key]) -> Result<(), SecretError> {
        let path = self.path(name);
        let written = (|| {
            let mut text = serde_json::to_string_pretty(ring)?;
            text.push('\n');
            let beside = self.dir.join(format!(".{name}.new"));
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        })();
        written.map_err(|source| SecretError::Io {
            name: name.clone(),
            path,
            source,
        })
    }

    fn path(&self, name: &SecretName) -> PathBuf {
        self.dir.join(name.as_str())
    }
}

fn new_key() -> Key {
    let kid: [u8; 8] = rand::random();
    let key: [u8; KEY_BYTES] = rand::random();
    Key {
        kid: hex(&kid),
        key: base64url(&key),
        retired_at: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> (tempfile::TempDir, Secrets) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::open(&dir.path().join("secrets")).expect("a provider");
        (dir, secrets)
    }

    fn secret(generate: Option<Generate>) -> Secret {
        Secret {
            name: "keys".parse().expect("a name"),
            generate,
        }
    }

    #[test]
    fn a_generated_ring_stays_and_rotates() {
        let (_dir, secrets) = secrets();
        let generated = secret(Some(Generate::HmacSha256));
        let first = secrets.value(&generated).expect("a value");
        assert_eq!(secrets.value(&generated).expect("a value"), first);
        let hour = Duration::from_secs(3600);
        assert_eq!(secrets.rotate(&generated.name, hour).expect("rotates"), 2);
        let second = secrets.value(&generated).expect("a value");
        assert!(second.ends_with(&format!(",{first}")), "{second}");
        assert_eq!(
            secrets
                .path(&generated.name)
                .metadata()
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }

    #[test]
    fn a_secret_that_is_missing_too_open_or_damaged_is_an_error() {
        let (_dir, secrets) = secrets();
        let plain = secret(None);
        assert!(matches!(
            secrets.value(&plain),
            Err(SecretError::Missing { .. })
        ));
        let path = secrets.path(&plain.name);
        fs::write(&path, "value\n").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(
            secrets.value(&plain),
            Err(SecretError::TooOpen { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(secrets.value(&plain).expect("a value"), "value");
        let generated = secret(Some(Generate::HmacSha256));
        assert!(matches!(
            secrets.value(&generated),
            Err(SecretError::NotAKeyRing { .. })
        ));
    }
}
