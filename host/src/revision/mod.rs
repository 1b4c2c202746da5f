//! Revisions and leases: which code is current, and who still works on what was.
//!
//! ```text
//! switch: current pointer -> new revision (one atomic swap)
//! lease:  current pointer -> revision, counted until dropped
//! drain:  old revision -> no leases left
//! ```
//!
//! Both traffic flows, and calls between components, take a lease for as long as an instance works
//! for them. Nothing else decides which revision serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::name::ComponentName;
use crate::runtime::Loaded;

/// One artifact plus its configuration, ready to work. It never changes.
pub struct Revision {
    loaded: Loaded,
    leases: AtomicUsize,
    released: Notify,
}

impl Revision {
    /// A revision that nobody has leased yet.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        Arc::new(Self {
            loaded,
            leases: AtomicUsize::new(0),
            released: Notify::new(),
        })
    }

    /// What it runs.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Pieces of work that it has accepted and not finished.
    pub fn leases(&self) -> usize {
        self.leases.load(Ordering::SeqCst)
    }

    /// Waits until it owes no work. Call it after it was switched away from: a current revision is
    /// leased again at any time.
    pub async fn drained(&self) {
        loop {
            let released = self.released.notified();
            if self.leases() == 0 {
                return;
            }
            released.await;
        }
    }
}

/// One piece of accepted work on a revision.
pub struct Lease(Arc<Revision>);

impl Lease {
    fn on(revision: Arc<Revision>) -> Self {
        revision.leases.fetch_add(1, Ordering::SeqCst);
        Self(revision)
    }

    /// The revision.
    pub fn revision(&self) -> &Arc<Revision> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.leases.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.released.notify_waiters();
        }
    }
}

/// The current revision of each component.
pub struct Registry {
    components: BTreeMap<ComponentName, ArcSwapOption<Revision>>,
}

impl Registry {
    /// A registry of these components, none of which has a revision yet.
    pub fn new(components: impl IntoIterator<Item = ComponentName>) -> Self {
        let empty = |name| (name, ArcSwapOption::empty());
        Self {
            components: components.into_iter().map(empty).collect(),
        }
    }

    /// Leases the component's current revision. `None` when there is no such component, or it has no
    /// revision: before it starts, and once it is shut down.
    pub fn lease(&self, component: &str) -> Option<Lease> {
        let slot = self.components.get(component)?;
        loop {
            let current = slot.load_full()?;
            let lease = Lease::on(current);
            // A switch between the two steps may have found the revision drained already.
            let now = slot.load();
            if now
                .as_ref()
                .is_some_and(|now| Arc::ptr_eq(now, lease.revision()))
            {
                return Some(lease);
            }
        }
    }

    /// Makes `revision` current, or none. All later leases are on it; the earlier revision is given
    /// back, to be drained..
    pub fn switch(
        &self,
        component: &ComponentName,
        revision: Option<Arc<Revision>>,
    ) -> Option<Arc<Revision>> {
        self.components.get(component)?.swap(revision)
    }

    /// The components' names.
    pub fn components(&self) -> impl Iterator<Item = &ComponentName> {
        self.components.keys()
    }

    /// Whether every component has a revision.
    pub fn is_complete(&self) -> bool {
        self.components.values().all(|slot| slot.load().is_some())
    }
}
