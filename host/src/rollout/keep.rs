//! What rollouts keep: artifacts by digest, and as much of the past as can be rolled back to.

use std::collections::BTreeSet;

use super::model::StoredArtifact;
use super::store::StoreError;
use super::{RolloutError, Rollouts};
use crate::name::{Digest, RevisionId};
use crate::runtime::Artifact;
use crate::telemetry::in_words;

impl Rollouts {
    /// Takes an artifact into the store, durably.
    ///
    /// # Errors
    ///
    /// [`RolloutError::WrongDigest`] when it is not the expected one; nothing is stored then.
    pub async fn store_artifact(
        &self,
        bytes: Vec<u8>,
        expected: Option<Digest>,
    ) -> Result<StoredArtifact, RolloutError> {
        let store = self.artifacts.clone();
        blocking(move || {
            let found = Digest::of(&bytes);
            match expected {
                Some(expected) if expected != found => {
                    Err(RolloutError::WrongDigest { found, expected })
                }
                Some(_) | None => Ok(store.put(&bytes)?),
            }
        })
        .await
    }

    /// Forgets what is kept no longer: revisions, their artifacts, their compiled code.
    pub(super) async fn prune(&self) {
        let components = self.registry.components();
        let living = components
            .iter()
            .flat_map(|component| self.registry.living(component));
        let living: BTreeSet<RevisionId> = living.map(|revision| revision.id()).collect();
        let pruned = match self.log.prune(self.revisions_kept, &living).await {
            Ok(unused) => self.remove(unused).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = pruned {
            tracing::warn!(error = %in_words(&error), "old revisions could not be removed");
        }
    }

    async fn remove(&self, mut digests: BTreeSet<Digest>) -> Result<(), RolloutError> {
        // Rollouts that wait have no revision yet that would keep theirs.
        for live in self.lock_live().values() {
            let record = live.record();
            if !record.state.is_final() {
                digests.remove(&record.digest);
            }
        }
        if digests.is_empty() {
            return Ok(());
        }
        let (artifacts, maker) = (self.artifacts.clone(), self.maker.clone());
        blocking(move || {
            for digest in digests {
                artifacts.remove(&digest)?;
                maker.runtime.forget(digest);
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn artifact(&self, digest: Digest) -> Result<Option<Artifact>, StoreError> {
        let artifacts = self.artifacts.clone();
        let bytes = tokio::task::spawn_blocking(move || artifacts.get(&digest)).await??;
        Ok(bytes.map(|bytes| Artifact { digest, bytes }))
    }

    pub(super) async fn stored(&self, digest: Digest) -> Result<Artifact, RolloutError> {
        let artifact = self.artifact(digest).await?;
        artifact.ok_or(RolloutError::UnknownArtifact(digest))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RolloutError> + Send + 'static,
) -> Result<T, RolloutError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RolloutError::Storage(Box::new(error)))?
}
