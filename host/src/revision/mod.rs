//! Revisions and leases: which code is current, and who still works on what was.
//!
//! ```text
//! switch: traffic pointer -> active revision [+ candidate with its share]   (one atomic swap)
//! lease:  traffic pointer -> revision, counted until dropped
//! drain:  old revision -> no leases left -> retired
//! ```
//!
//! Both traffic flows, and calls between components, take a lease for as long as an instance works
//! for them. Nothing else decides which revision serves.

mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::name::{ComponentName, RevisionId};
use crate::runtime::{Loaded, Work, WorkKind};
use slot::Slot;
pub use slot::Traffic;

/// One artifact plus its configuration, ready to work. It never changes.
pub struct Revision {
    loaded: Loaded,
    requests: AtomicUsize,
    deliveries: AtomicUsize,
    released: Notify,
}

impl Revision {
    /// A revision that nobody has leased yet.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        Arc::new(Self {
            loaded,
            requests: AtomicUsize::new(0),
            deliveries: AtomicUsize::new(0),
            released: Notify::new(),
        })
    }

    /// Its number.
    pub fn id(&self) -> RevisionId {
        self.loaded.instances.context().revision
    }

    /// What it runs.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Pieces of work of one kind that it has accepted and not finished.
    pub fn leases(&self, kind: WorkKind) -> usize {
        self.count(kind).load(Ordering::SeqCst)
    }

    fn count(&self, kind: WorkKind) -> &AtomicUsize {
        match kind {
            WorkKind::Request => &self.requests,
            WorkKind::Delivery => &self.deliveries,
        }
    }

    fn is_idle(&self) -> bool {
        self.leases(WorkKind::Request) == 0 && self.leases(WorkKind::Delivery) == 0
    }

    /// Waits until it owes no work of this kind. Call it after it was switched away from: what is
    /// current is leased again at any time.
    pub async fn drained(&self, kind: WorkKind) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Registered before the count is read, so that no release is missed.
            released.as_mut().enable();
            if self.leases(kind) == 0 {
                return;
            }
            released.await;
        }
    }
}

/// One piece of accepted work on a revision.
pub struct Lease {
    revision: Arc<Revision>,
    kind: WorkKind,
}

impl Lease {
    fn on(revision: Arc<Revision>, kind: WorkKind) -> Self {
        revision.count(kind).fetch_add(1, Ordering::SeqCst);
        Self { revision, kind }
    }

    /// The revision.
    pub fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self
            .revision
            .count(self.kind)
            .fetch_sub(1, Ordering::SeqCst);
        if before == 1 {
            self.revision.released.notify_waiters();
        }
    }
}

/// The revisions of each component.
#[derive(Default)]
pub struct Registry {
    slots: ArcSwap<BTreeMap<ComponentName, Arc<Slot>>>,
}

impl Registry {
    /// Leases the component's revision for `work`: the one that it is pinned to, else the active one
    /// or the candidate. `None` when there is no such component, or it has no revision: before it
    /// starts, and once it is shut down.
    pub fn lease(&self, component: &str, work: &Work) -> Option<Lease> {
        self.slots.load().get(component)?.lease(work)
    }

    /// What new work of the component goes to.
    pub fn traffic(&self, component: &ComponentName) -> Option<Arc<Traffic>> {
        self.slots.load().get(component.as_str())?.traffic()
    }

    /// Sends all later work of the component where `traffic` says, or nowhere. A component that is
    /// not there is added. The earlier revisions go on living until they are retired.
    pub fn switch(&self, component: &ComponentName, traffic: Option<Traffic>) {
        let slot = self.slots.load().get(component.as_str()).cloned();
        let slot = slot.unwrap_or_else(|| self.add(component));
        slot.switch(traffic);
    }

    fn add(&self, component: &ComponentName) -> Arc<Slot> {
        let added = Arc::new(Slot::default());
        self.slots.rcu(|slots| {
            let mut slots = BTreeMap::clone(slots);
            slots
                .entry(component.clone())
                .or_insert_with(|| added.clone());
            slots
        });
        self.slots.load()[component.as_str()].clone()
    }

    /// Takes a component out. Its revisions are drained and retired by whoever holds them.
    pub fn remove(&self, component: &ComponentName) {
        self.slots.rcu(|slots| {
            let mut slots = BTreeMap::clone(slots);
            slots.remove(component.as_str());
            slots
        });
    }

    /// Forgets a drained revision: from here on not even work that is pinned to it finds it. False
    /// when it has work again, which only a pin can give it.
    pub fn retire(&self, component: &ComponentName, revision: &Arc<Revision>) -> bool {
        match self.slots.load().get(component.as_str()) {
            Some(slot) => slot.retire(revision),
            None => revision.is_idle(),
        }
    }

    /// The revisions of a component that live, in the order in which they came.
    pub fn living(&self, component: &ComponentName) -> Vec<Arc<Revision>> {
        let slots = self.slots.load();
        slots
            .get(component.as_str())
            .map(|slot| slot.living())
            .unwrap_or_default()
    }

    /// Whether any component has this revision.
    pub fn is_living(&self, revision: RevisionId) -> bool {
        let slots = self.slots.load();
        slots
            .values()
            .any(|slot| slot.living().iter().any(|living| living.id() == revision))
    }

    /// The components' names.
    pub fn components(&self) -> Vec<ComponentName> {
        self.slots.load().keys().cloned().collect()
    }
}
