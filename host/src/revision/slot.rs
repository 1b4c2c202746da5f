//! One component's place in the registry.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;

use super::{Lease, Revision};
use crate::name::RevisionId;
use crate::runtime::Work;

/// What a component's new work goes to.
pub struct Traffic {
    /// What serves what the candidate does not.
    pub active: Arc<Revision>,
    /// What has to prove itself, and its share of new work as a fraction of 1.
    pub candidate: Option<(Arc<Revision>, f64)>,
}

impl Traffic {
    /// All of it to one revision.
    pub fn to(active: Arc<Revision>) -> Self {
        Self {
            active,
            candidate: None,
        }
    }

    /// The same request meets the same side wherever it comes by.
    fn choose(&self, work: &Work) -> &Arc<Revision> {
        match &self.candidate {
            Some((candidate, share)) if lot(work.id) < *share => candidate,
            Some(_) | None => &self.active,
        }
    }
}

/// A number from 0 to 1 that looks random and depends on the work's identifier alone (the finaliser
/// of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
fn lot(id: u64) -> f64 {
    let mut mixed = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // 53 bits are what a double holds.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// The revisions of one component.
#[derive(Default)]
pub(super) struct Slot {
    traffic: ArcSwapOption<Traffic>,
    /// All that are not retired: active, candidate, draining.
    living: Mutex<Vec<Arc<Revision>>>,
}

impl Slot {
    pub(super) fn traffic(&self) -> Option<Arc<Traffic>> {
        self.traffic.load_full()
    }

    pub(super) fn lease(&self, work: &Work) -> Option<Lease> {
        if let Some(lease) = work.pin.and_then(|pin| self.lease_pinned(pin, work)) {
            return Some(lease);
        }
        loop {
            let traffic = self.traffic.load();
            let traffic = traffic.as_ref()?;
            let lease = Lease::on(traffic.choose(work).clone(), work.kind);
            // A switch between the two steps may have found the revision drained already.
            let now = self.traffic.load();
            if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, traffic)) {
                return Some(lease);
            }
        }
    }

    fn lease_pinned(&self, pin: RevisionId, work: &Work) -> Option<Lease> {
        let living = self.living.lock().expect("no holder of this lock panics");
        let revision = living.iter().find(|revision| revision.id() == pin)?;
        Some(Lease::on(revision.clone(), work.kind))
    }

    pub(super) fn switch(&self, traffic: Option<Traffic>) {
        if let Some(traffic) = &traffic {
            let mut living = self.living.lock().expect("no holder of this lock panics");
            let candidate = traffic.candidate.as_ref().map(|(candidate, _)| candidate);
            for revision in std::iter::once(&traffic.active).chain(candidate) {
                if !living.iter().any(|known| Arc::ptr_eq(known, revision)) {
                    living.push(revision.clone());
                }
            }
        }
        self.traffic.store(traffic.map(Arc::new));
    }

    pub(super) fn retire(&self, revision: &Arc<Revision>) -> bool {
        let mut living = self.living.lock().expect("no holder of this lock panics");
        if !revision.is_idle() {
            return false;
        }
        living.retain(|known| !Arc::ptr_eq(known, revision));
        true
    }

    pub(super) fn living(&self) -> Vec<Arc<Revision>> {
        self.living
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::lot;

    #[test]
    fn lots_are_even() {
        for share in [0.01, 0.1, 0.5] {
            let drawn = (7_000_000..7_100_000).filter(|id| lot(*id) < share).count() as f64;
            let ratio = drawn / 100_000.0 / share;
            assert!((0.9..1.1).contains(&ratio), "{share}: {ratio}");
        }
    }
}
