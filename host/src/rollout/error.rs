//! Why an operator's command is not carried out.

use crate::name::{ComponentName, Digest, RevisionId, RolloutId};

/// Why a command on rollouts is refused. What becomes of a rollout that was begun is in its record.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The application has no such component.
    #[error("the application has no component {0}")]
    UnknownComponent(ComponentName),
    /// No such revision of this component is kept.
    #[error(
        "component {component} has no revision {revision} that is kept: see `wharf revisions {component}`"
    )]
    UnknownRevision {
        /// Whose.
        component: ComponentName,
        /// Which.
        revision: RevisionId,
    },
    /// Nothing was current before.
    #[error("component {0} has no earlier revision to go back to")]
    NoEarlierRevision(ComponentName),
    /// No such rollout.
    #[error("there is no rollout {0}")]
    UnknownRollout(RolloutId),
    /// The artifact was not uploaded, or is no longer kept.
    #[error("no artifact with the digest {0} is stored: upload it first")]
    UnknownArtifact(Digest),
    /// The uploaded bytes are not what was said.
    #[error("the uploaded bytes have the digest {found}, and {expected} was asked for")]
    WrongDigest {
        /// What they have.
        found: Digest,
        /// What they should have.
        expected: Digest,
    },
    /// The request makes no sense, for this reason.
    #[error("{0}")]
    Invalid(String),
    /// As many rollouts of the component wait as may.
    #[error(
        "{waiting} rollouts of component {component} wait already: try again when some have ended"
    )]
    QueueFull {
        /// Whose.
        component: ComponentName,
        /// How many wait.
        waiting: usize,
    },
    /// The rollout has switched, or ended: it can be rolled back, not cancelled.
    #[error("rollout {0} can no longer be cancelled: roll the component back instead")]
    TooLateToCancel(RolloutId),
    /// The host shuts down.
    #[error("the host shuts down")]
    ShuttingDown,
    /// The log or the artifacts cannot be read or written.
    #[error("the rollout log or the artifact store failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}
