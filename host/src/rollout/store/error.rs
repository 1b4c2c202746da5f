//! Why the durable half of rollouts did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::capability::embedded::{EmbeddedError, Failure};
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};
use crate::rollout::RolloutError;
use crate::rollout::model::RolloutState;

/// Why something could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory of the artifact store cannot be read or written.
    #[error("cannot use {} of the artifact store", path.display())]
    Artifact {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stored artifact is not what was stored.
    #[error("the artifact {} is damaged: its bytes have the digest {found}; upload it again", path.display())]
    DamagedArtifact {
        /// The file.
        path: PathBuf,
        /// What its bytes have.
        found: Digest,
    },
    /// A record of the log cannot be written as JSON, or not be read back.
    #[error("the rollout log's record of {record} cannot be read or written")]
    Record {
        /// Which: `revision 3`, `rollout 5`.
        record: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The component has no such revision in the log.
    #[error("the rollout log has no revision {revision} of component {component}")]
    UnknownRevision {
        /// Whose.
        component: ComponentName,
        /// Which.
        revision: RevisionId,
    },
    /// The log has no such rollout.
    #[error("the rollout log has no rollout {0}")]
    UnknownRollout(RolloutId),
    /// A rollout's state can only change in the order that [`RolloutState`] says.
    #[error("rollout {rollout} is {from:?} and cannot become {to:?}")]
    WrongOrder {
        /// Which.
        rollout: RolloutId,
        /// Its state in the log.
        from: RolloutState,
        /// The state that it was to have.
        to: RolloutState,
    },
    /// The embedded store failed.
    #[error("the rollout log's store failed")]
    Embedded(#[from] EmbeddedError),
    /// The thread that read the log ended before it answered.
    #[error("reading the rollout log was given up")]
    Task(#[from] tokio::task::JoinError),
}

impl From<Failure<StoreError>> for StoreError {
    fn from(failure: Failure<StoreError>) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Storage(error) => Self::Embedded(EmbeddedError::Storage(Arc::new(error))),
        }
    }
}

impl From<StoreError> for RolloutError {
    fn from(error: StoreError) -> Self {
        Self::Storage(Box::new(error))
    }
}
