//! Key rings that hosts share through Redis, one text for each.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{RedisError, Script};

use super::SecretError;
use super::ring::Ring;
use crate::capability::redis::Redis;
use crate::name::SecretName;

static REPLACE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("replace.lua")));

/// How often a rotation starts over because another one came between: rotations are rare, and made by
/// people.
const ROTATION_ATTEMPTS: u32 = 10;

/// The hash tag of the rings' keys.
const SLOT: &str = "secrets";

/// The rings in Redis.
#[derive(Debug, Clone)]
pub(super) struct SharedRings {
    redis: Redis,
}

impl SharedRings {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The ring that is there; `own`, and from now on for all hosts, if there is none.
    pub(super) async fn agree(&self, name: &SecretName, own: Ring) -> Result<Ring, SecretError> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(name)).arg(own.text()).arg("NX").arg("GET");
        let there: Option<String> = set
            .query_async(&mut self.redis.clone())
            .await
            .map_err(|source| failed(name, source))?;
        there.map_or(Ok(own), |text| self.parse(name, &text))
    }

    /// Puts a new key in front of the ring that is there, or of `own` if there is none.
    pub(super) async fn rotate(
        &self,
        name: &SecretName,
        own: Ring,
        keep: Duration,
    ) -> Result<Ring, SecretError> {
        for _ in 0..ROTATION_ATTEMPTS {
            let there: Option<String> = redis::cmd("GET")
                .arg(self.key(name))
                .query_async(&mut self.redis.clone())
                .await
                .map_err(|source| failed(name, source))?;
            let ring = match &there {
                Some(text) => self.parse(name, text)?,
                None => own.clone(),
            };
            let ring = ring.with_new_key(keep);
            let replaced: bool = REPLACE
                .key(self.key(name))
                .arg(there.unwrap_or_default())
                .arg(ring.text())
                .invoke_async(&mut self.redis.clone())
                .await
                .map_err(|source| failed(name, source))?;
            if replaced {
                return Ok(ring);
            }
        }
        Err(SecretError::Contended { name: name.clone() })
    }

    fn parse(&self, name: &SecretName, text: &str) -> Result<Ring, SecretError> {
        Ring::parse(text).map_err(|source| SecretError::NotAKeyRing {
            name: name.clone(),
            path: PathBuf::from(self.key(name)),
            source,
        })
    }

    fn key(&self, name: &SecretName) -> String {
        self.redis.key(SLOT, name.as_str())
    }
}

fn failed(name: &SecretName, source: RedisError) -> SecretError {
    SecretError::Shared {
        name: name.clone(),
        source,
    }
}
