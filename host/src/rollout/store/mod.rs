//! What outlives the host: artifacts as files, and the rollout log in the embedded store.
//!
//! ```text
//! upload --> ArtifactStore.put     candidate --> RolloutLog.add_revision
//! rollout --> begin --> update ... --> switch (the durable point) --> update (final)
//! start   --> interrupt_unfinished, declared, current, revision --> ArtifactStore.get
//! ```
//!
//! A rollout is decided where its switch is durable: before it a restart brings up the earlier
//! revision, after it the new one. Nothing here knows what a revision does or who decides a rollout.

mod artifacts;
mod error;
mod fingerprint;
mod log;
mod prune;
mod record;
mod tables;

#[cfg(test)]
mod tests;

pub use artifacts::ArtifactStore;
pub use error::StoreError;
pub use fingerprint::fingerprint;
pub use log::RolloutLog;
pub use record::{NewRevision, NewRollout, RevisionRecord};
