//! A component's migration hook: `wharf:lifecycle/migration@0.1.0`.
//!
//! A candidate's hook runs after the candidate was instantiated and before it gets any work. Whoever
//! calls it decides what becomes of the candidate.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::lifecycle::MigratingIndices;
use super::bindings::lifecycle::exports::wharf::lifecycle::migration::Revision;
use super::error::InvokeError;
use super::instance::{Instance, Instances};
use super::work::Work;
use crate::name::{Digest, RevisionId};

/// How long a hook may take. Rollouts of the component wait for it, and the earlier revision serves
/// meanwhile: time enough to rewrite what a key-value store holds for a component, and not so much
/// that an operator gives up on a hook that hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a candidate's migration did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The hook said no, in these words.
    #[error("it refused: {0}")]
    Refused(String),
    /// The hook did not end in time.
    #[error("it did not end within {}", humantime::format_duration(*.0))]
    Deadline(Duration),
    /// The hook trapped, or could not be called.
    #[error("it failed")]
    Failed(#[source] InvokeError),
}

/// The migration hook of a revision of a component.
pub struct Migration {
    instances: Arc<Instances>,
    indices: Arc<MigratingIndices>,
    deadline: Duration,
}

impl Migration {
    /// The hook of `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: MigratingIndices) -> Self {
        Self {
            instances,
            indices: Arc::new(indices),
            deadline: DEADLINE,
        }
    }

    /// Runs the hook in an instance of its own, which is dropped afterwards. `from` is the revision
    /// that serves, if one does. Cancelling it ends the instance at its next yield; what it has
    /// written by then stays.
    ///
    /// # Errors
    ///
    /// See [`MigrationError`].
    pub async fn migrate(
        &self,
        from: Option<(RevisionId, Digest)>,
        work: Work,
    ) -> Result<(), MigrationError> {
        let instances = self.instances.clone();
        let indices = self.indices.clone();
        // On the threads where the component belongs: it may be one that keeps its thread.
        let task = AbortOnDrop(self.instances.spawn(async move {
            let instance = instances.take(work).await;
            call(instance.map_err(MigrationError::Failed)?, &indices, from).await
        }));
        match tokio::time::timeout(self.deadline, task.join(&self.instances)).await {
            Ok(migrated) => migrated,
            Err(_) => Err(MigrationError::Deadline(self.deadline)),
        }
    }
}

async fn call(
    mut instance: Instance,
    indices: &MigratingIndices,
    from: Option<(RevisionId, Digest)>,
) -> Result<(), MigrationError> {
    let store = &mut instance.store;
    let exports = indices
        .load(&mut *store, &instance.instance)
        .map_err(|source| {
            let component = store.data().context.component.clone();
            MigrationError::Failed(InvokeError::Host { component, source })
        })?;
    let from = from.map(|(revision, digest)| Revision {
        number: revision.0,
        sha256: digest.to_string(),
    });
    let hook = exports.wharf_lifecycle_migration();
    match hook.call_migrate(&mut *store, from.as_ref()).await {
        Ok(migrated) => migrated.map_err(MigrationError::Refused),
        Err(source) => Err(MigrationError::Failed(InvokeError::of_call(store, source))),
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), MigrationError>>);

impl AbortOnDrop {
    async fn join(mut self, instances: &Instances) -> Result<(), MigrationError> {
        let component = || instances.context().component.clone();
        match (&mut self.0).await {
            Ok(migrated) => migrated,
            Err(error) if error.is_panic() => Err(MigrationError::Failed(InvokeError::Panic {
                component: component(),
            })),
            // The threads are gone: the host shuts down.
            Err(_) => Err(MigrationError::Failed(InvokeError::NotRunning {
                component: component(),
            })),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
