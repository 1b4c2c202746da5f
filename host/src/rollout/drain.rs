//! Draining: a revision that gets no new work finishes what it has, and is released.
//!
//! ```text
//! no new work -> finishes within its limits -> what is left is cancelled -> retired -> released
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::live::Live;
use super::model::Step;
use crate::manifest::model::Drain;
use crate::name::ComponentName;
use crate::revision::{Registry, Revision};
use crate::runtime::WorkKind;

/// How often it is told what still drains.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Finishes a revision. It returns once the revision owes nothing and nobody finds it any more; its
/// instances, memory and code go with the last reference, which is the caller's.
///
/// A component that computes without calling the host cannot be cancelled; it is waited for.
pub async fn drain(
    registry: &Registry,
    component: &ComponentName,
    revision: &Arc<Revision>,
    limits: &Drain,
    live: Option<&Live>,
) {
    let context = revision.loaded().instances.context();
    let finished = async {
        loop {
            tokio::join!(
                finish(component, revision, WorkKind::Request, limits.requests),
                finish(component, revision, WorkKind::Delivery, limits.deliveries),
            );
            if registry.retire(component, revision) {
                // Instances that idle end now, not when their time comes.
                context.over.of(WorkKind::Request).cancel();
                context.over.of(WorkKind::Delivery).cancel();
                return;
            }
        }
    };
    tokio::pin!(finished);
    loop {
        tokio::select! {
            biased;
            () = &mut finished => return,
            () = tokio::time::sleep(PROGRESS_EVERY) => {
                if let Some(live) = live {
                    live.progress(Step::Drain, owed(revision));
                }
            }
        }
    }
}

fn owed(revision: &Revision) -> String {
    let (requests, deliveries) = (
        revision.leases(WorkKind::Request),
        revision.leases(WorkKind::Delivery),
    );
    format!(
        "revision {} still works: {requests} requests, {deliveries} deliveries",
        revision.id()
    )
}

async fn finish(
    component: &ComponentName,
    revision: &Arc<Revision>,
    kind: WorkKind,
    limit: Duration,
) {
    if tokio::time::timeout(limit, revision.drained(kind))
        .await
        .is_ok()
    {
        return;
    }
    tracing::warn!(
        %component,
        revision = %revision.id(),
        left = revision.leases(kind),
        kind = ?kind,
        "work was still in flight when the drain's limit ended; it is cancelled"
    );
    let context = revision.loaded().instances.context();
    context.over.of(kind).cancel();
    revision.drained(kind).await;
}
