//! What serves, what drains, and how fast: the figures of `wharf ps`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Rollouts;
use super::model::{ComponentStatus, RevisionStatus, Role};
use crate::name::ComponentName;
use crate::revision::{Revision, Traffic};
use crate::runtime::{Sample, WorkKind};

/// How often samples are taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Samples that are kept: rates are of the last ten seconds.
const SAMPLES_KEPT: usize = 11;

/// Samples of every living revision over the last seconds.
#[derive(Default)]
pub(super) struct Rates(Mutex<BTreeMap<usize, VecDeque<(Instant, Sample)>>>);

/// Tells living revisions apart: after a rollback to one that still drains, two have one number.
fn key(revision: &Revision) -> usize {
    std::ptr::from_ref(revision).addr()
}

impl Rates {
    fn take(&self, living: &[Arc<Revision>]) {
        let mut rates = self.0.lock().expect("no holder of this lock panics");
        rates.retain(|known, _| living.iter().any(|revision| key(revision) == *known));
        for revision in living {
            let samples = rates.entry(key(revision)).or_default();
            if samples.len() >= SAMPLES_KEPT {
                samples.pop_front();
            }
            samples.push_back((Instant::now(), sample(revision)));
        }
    }

    /// What came since the oldest sample, and how long ago that was taken.
    fn recent(&self, revision: &Revision) -> (Sample, Duration) {
        let rates = self.0.lock().expect("no holder of this lock panics");
        let oldest = rates.get(&key(revision)).and_then(VecDeque::front);
        match oldest {
            Some((taken, before)) => (sample(revision).since(before), taken.elapsed()),
            None => (sample(revision), SAMPLE_EVERY),
        }
    }
}

fn sample(revision: &Revision) -> Sample {
    revision.loaded().instances.context().stats.sample()
}

/// Takes samples for as long as the rollouts are there.
pub(super) async fn keep_rates(rollouts: Weak<Rollouts>) {
    loop {
        tokio::time::sleep(SAMPLE_EVERY).await;
        let Some(rollouts) = rollouts.upgrade() else {
            return;
        };
        let components = rollouts.registry.components();
        let living: Vec<_> = components
            .iter()
            .flat_map(|component| rollouts.registry.living(component))
            .collect();
        rollouts.rates.take(&living);
    }
}

impl Rollouts {
    /// What serves and what drains, by component.
    pub fn status(&self) -> Vec<ComponentStatus> {
        let components = self.registry.components();
        components
            .iter()
            .map(|component| self.status_of(component))
            .collect()
    }

    fn status_of(&self, component: &ComponentName) -> ComponentStatus {
        let traffic = self.registry.traffic(component);
        let living = self.registry.living(component);
        let status = |revision: &Arc<Revision>| self.revision_status(revision, traffic.as_deref());
        let mut revisions: Vec<_> = living.iter().map(status).collect();
        revisions.sort_by_key(|status| match status.role {
            Role::Active => 0,
            Role::Candidate => 1,
            Role::Draining => 2,
        });
        ComponentStatus {
            component: component.clone(),
            revisions,
            rollout: self.lines.working(component).map(|live| live.record().id),
        }
    }

    fn revision_status(
        &self,
        revision: &Arc<Revision>,
        traffic: Option<&Traffic>,
    ) -> RevisionStatus {
        let (role, share) = role(revision, traffic);
        let (recent, over) = self.rates.recent(revision);
        RevisionStatus {
            revision: revision.id(),
            digest: revision.loaded().instances.context().digest,
            role,
            share: share * 100.0,
            requests: revision.leases(WorkKind::Request) as u64,
            deliveries: revision.leases(WorkKind::Delivery) as u64,
            rate: recent.ended() as f64 / over.as_secs_f64(),
            error_ratio: recent.error_ratio(),
            p99_ms: recent.p99().map(|p99| p99.as_secs_f64() * 1e3),
        }
    }
}

/// What a revision is to new work, and its share of it as a fraction of 1.
fn role(revision: &Arc<Revision>, traffic: Option<&Traffic>) -> (Role, f64) {
    let Some(traffic) = traffic else {
        return (Role::Draining, 0.0);
    };
    let candidate = traffic.candidate.as_ref();
    let share = candidate.map_or(0.0, |(_, share)| *share);
    if Arc::ptr_eq(&traffic.active, revision) {
        (Role::Active, 1.0 - share)
    } else if candidate.is_some_and(|(candidate, _)| Arc::ptr_eq(candidate, revision)) {
        (Role::Candidate, share)
    } else {
        (Role::Draining, 0.0)
    }
}
