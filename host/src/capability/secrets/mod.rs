//! Secrets: one file each in a directory that only this user may read.
//!
//! A secret that the manifest lets the host generate is a key ring: the newest key signs, and the
//! older ones verify until whatever they signed has expired. Hosts that share Redis share the rings,
//! too: the first one puts its ring there, the others take it, and each keeps a copy in its file for
//! when Redis is away. Values reach components as environment variables and nothing else; they are
//! never logged.

mod ring;
mod shared;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::RedisError;

use crate::capability::redis::Redis;
use crate::manifest::model::{Generate, ProvidedSecret, Secret};
use crate::name::SecretName;
use ring::Ring;
use shared::SharedRings;

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
    #[error("secret {name} in {} is not a key ring that a host wrote", path.display())]
    NotAKeyRing {
        /// Which.
        name: SecretName,
        /// The file, or the key in Redis.
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
    /// Redis has the ring, and no copy of it is here.
    #[error("the key ring {name} is in Redis, which cannot be asked")]
    Shared {
        /// Which.
        name: SecretName,
        /// What Redis, or the connection to it, said.
        source: RedisError,
    },
    /// Others changed the ring each time that this host wanted to.
    #[error("the key ring {name} is being changed by others: try again")]
    Contended {
        /// Which.
        name: SecretName,
    },
}

/// The provider that keeps secrets in files, and generated ones in Redis where hosts share it.
#[derive(Debug, Clone)]
pub struct Secrets {
    dir: PathBuf,
    shared: Option<SharedRings>,
    /// What the manifest brought with it.
    provided: Arc<RwLock<BTreeMap<SecretName, ProvidedSecret>>>,
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
            shared: None,
            provided: Arc::default(),
        })
    }

    /// Answers these secrets from now on as well, before its own, and those that were provided before no
    /// longer.
    pub fn provide(&self, secrets: BTreeMap<SecretName, ProvidedSecret>) {
        *self
            .provided
            .write()
            .unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    /// The same, with generated key rings in Redis. A ring that is here already goes there, unless
    /// one is there.
    pub fn sharing_rings(self, redis: Redis) -> Self {
        Self {
            shared: Some(SharedRings::new(redis)),
            ..self
        }
    }

    /// A secret that somebody wrote to its file, or that came with the manifest.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn plain(&self, name: &SecretName) -> Result<String, SecretError> {
        let provided = self.provided.read();
        if let Some(ProvidedSecret(value)) =
            provided.unwrap_or_else(PoisonError::into_inner).get(name)
        {
            return Ok(value.clone());
        }
        let text = self.read(name)?;
        text.map(|text| text.trim_end_matches('\n').to_owned())
            .ok_or_else(|| SecretError::Missing {
                name: name.clone(),
                path: self.path(name),
            })
    }

    /// The secret's value as a component sees it; generated first where it is missing and may be.
    /// While Redis is away, a shared ring is what it was when this host last saw it: keys that were
    /// added since are unknown here until a later call.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub async fn value(&self, secret: &Secret) -> Result<String, SecretError> {
        let name = &secret.name;
        let Some(Generate::HmacSha256) = secret.generate else {
            return self.plain(name);
        };
        let kept = self.ring(name)?;
        let ring = match (&self.shared, &kept) {
            (None, Some(kept)) => kept.clone(),
            (None, None) => Ring::default().with_new_key(Duration::MAX),
            (Some(shared), _) => {
                let own = kept.clone();
                let own = own.unwrap_or_else(|| Ring::default().with_new_key(Duration::MAX));
                match (shared.agree(name, own).await, &kept) {
                    (Err(SecretError::Shared { source, .. }), Some(kept)) => {
                        tracing::warn!(secret = %name, error = %source, "Redis is away; its key ring is taken as this host last saw it");
                        kept.clone()
                    }
                    (agreed, _) => agreed?,
                }
            }
        };
        if kept.as_ref() != Some(&ring) {
            self.store(name, &ring)?;
        }
        Ok(ring.value())
    }

    /// Whether [`value`](Self::value) needs Redis for this one: it is shared, and was never seen here.
    pub fn needs_redis(&self, secret: &Secret) -> bool {
        self.shared.is_some() && secret.generate.is_some() && !self.path(&secret.name).exists()
    }

    /// Puts a new key in front of a generated secret's ring. Keys that were retired longer than
    /// `keep` ago are removed. Returns how many keys the ring has now.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub async fn rotate(&self, name: &SecretName, keep: Duration) -> Result<usize, SecretError> {
        let kept = self.ring(name)?.unwrap_or_default();
        let ring = match &self.shared {
            Some(shared) => shared.rotate(name, kept, keep).await?,
            None => kept.with_new_key(keep),
        };
        self.store(name, &ring)?;
        Ok(ring.len())
    }

    fn ring(&self, name: &SecretName) -> Result<Option<Ring>, SecretError> {
        let Some(text) = self.read(name)? else {
            return Ok(None);
        };
        let ring = Ring::parse(&text).map_err(|source| SecretError::NotAKeyRing {
            name: name.clone(),
            path: self.path(name),
            source,
        })?;
        Ok((ring.len() > 0).then_some(ring))
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
    fn store(&self, name: &SecretName, ring: &Ring) -> Result<(), SecretError> {
        let path = self.path(name);
        let written = (|| {
            let beside = self.dir.join(format!(".{name}.new"));
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(ring.text().as_bytes())?;
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
