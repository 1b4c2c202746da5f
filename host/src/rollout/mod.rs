//! Rollouts: moving a component's traffic from one revision to another.

mod error;
pub mod model;
pub mod store;

use std::sync::Arc;

use futures::stream::BoxStream;

pub use error::RolloutError;
use model::{
    ApplyPlan, ApplyRequest, Cause, ComponentStatus, Plan, RevisionSummary, RollbackRequest,
    Rollout, RolloutEvent, StoredArtifact, SwapRequest,
};

use crate::name::{ComponentName, Digest, RolloutId};

/// All rollouts of a host.
pub struct Rollouts {}

impl Rollouts {
    /// What serves and what drains, by component.
    pub fn status(&self) -> Vec<ComponentStatus> {
        todo!()
    }

    /// The revisions of a component that are kept, the newest first.
    pub async fn revisions(
        &self,
        component: &ComponentName,
    ) -> Result<Vec<RevisionSummary>, RolloutError> {
        todo!("{component}")
    }

    /// Takes an artifact into the store.
    pub async fn store_artifact(
        &self,
        bytes: Vec<u8>,
        expected: Option<Digest>,
    ) -> Result<StoredArtifact, RolloutError> {
        todo!("{bytes:?} {expected:?}")
    }

    /// What a swap would do.
    pub async fn plan(
        &self,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Plan, RolloutError> {
        todo!("{component} {request:?}")
    }

    /// Begins a swap, or queues it.
    pub async fn swap(
        self: &Arc<Self>,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Rollout, RolloutError> {
        todo!("{component} {request:?}")
    }

    /// The same for another cause than an operator's.
    pub async fn swap_for(
        self: &Arc<Self>,
        cause: Cause,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Rollout, RolloutError> {
        todo!("{cause:?} {component} {request:?}")
    }

    /// Begins a rollback, or queues it.
    pub async fn roll_back(
        self: &Arc<Self>,
        component: &ComponentName,
        request: RollbackRequest,
    ) -> Result<Rollout, RolloutError> {
        todo!("{component} {request:?}")
    }

    /// Ends a rollout that has not switched yet.
    pub async fn cancel(&self, rollout: RolloutId) -> Result<Rollout, RolloutError> {
        todo!("{rollout}")
    }

    /// The history, the newest first: of one component or all, at most `limit` entries.
    pub async fn history(
        &self,
        component: Option<&ComponentName>,
        limit: usize,
    ) -> Result<Vec<Rollout>, RolloutError> {
        todo!("{component:?} {limit}")
    }

    /// One rollout.
    pub async fn rollout(&self, rollout: RolloutId) -> Result<Rollout, RolloutError> {
        todo!("{rollout}")
    }

    /// What happens in a rollout, from its beginning; ends after its final state. One that ended
    /// before this host started gives only what its record says.
    pub async fn events(
        &self,
        rollout: RolloutId,
    ) -> Result<BoxStream<'static, RolloutEvent>, RolloutError> {
        todo!("{rollout}")
    }

    /// Makes a manifest true, component by component.
    pub async fn apply(self: &Arc<Self>, request: ApplyRequest) -> Result<ApplyPlan, RolloutError> {
        todo!("{request:?}")
    }
}
