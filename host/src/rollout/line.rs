//! Each component's line of rollouts: one is at work, the others wait in their order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::RolloutError;
use super::live::{Live, WantedEnd};
use super::model::{CanaryRequest, RolloutState};
use crate::manifest::model::{Application, Component};
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};

/// Rollouts of one component that wait. An operator who is that far ahead is a script in a loop.
const WAITING_MAX: usize = 16;

/// What a rollout is to bring about.
pub struct Job {
    /// Its record and events.
    pub live: Arc<Live>,
    /// The candidate.
    pub wanted: Wanted,
    /// How the candidate proves itself; at once where it does not have to.
    pub canary: Option<CanaryRequest>,
    /// The application whose routes and subscriptions hold once the candidate serves.
    pub bind: Option<Arc<Application>>,
}

/// The candidate of a rollout. What is left open is decided when its turn comes.
pub enum Wanted {
    /// The current revision with another artifact, or other environment variables, or both.
    Change {
        /// The artifact, where it changes.
        artifact: Option<Digest>,
        /// Variables to set.
        environment: BTreeMap<String, String>,
    },
    /// These settings.
    Settings {
        /// What the manifest says.
        settings: Box<Component>,
        /// The artifact.
        artifact: Digest,
    },
    /// A revision that was current before.
    Revision(RevisionId),
}

/// The lines of all components.
#[derive(Default)]
pub struct Lines(Mutex<BTreeMap<ComponentName, Line>>);

#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    working: Option<Arc<Live>>,
}

/// Whether somebody has to begin working on a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// Nobody works on it: the caller does, from here on.
    First,
    /// Its turn will come.
    Waits,
}

impl Lines {
    /// Puts a job at the end of its component's line. A canary that is at work ends for it.
    ///
    /// # Errors
    ///
    /// [`RolloutError::QueueFull`].
    pub fn join(&self, component: &ComponentName, job: Job) -> Result<Joined, RolloutError> {
        let mut lines = self.0.lock().expect("no holder of this lock panics");
        let line = lines.entry(component.clone()).or_default();
        if line.waiting.len() >= WAITING_MAX {
            return Err(RolloutError::QueueFull {
                component: component.clone(),
                waiting: line.waiting.len(),
            });
        }
        let joining = job.live.record().id;
        line.waiting.push_back(job);
        match &line.working {
            Some(working) => {
                working.supersede(superseded_by(joining));
                Ok(Joined::Waits)
            }
            None => {
                line.working = line.waiting.back().map(|job| job.live.clone());
                Ok(Joined::First)
            }
        }
    }

    /// The next job of a line; `None` ends the work on it.
    pub fn next(&self, component: &ComponentName) -> Option<Job> {
        let mut lines = self.0.lock().expect("no holder of this lock panics");
        let line = lines.get_mut(component)?;
        match line.waiting.pop_front() {
            Some(job) => {
                line.working = Some(job.live.clone());
                Some(job)
            }
            None => {
                lines.remove(component);
                None
            }
        }
    }

    /// The rollout at work on a component.
    pub fn working(&self, component: &ComponentName) -> Option<Arc<Live>> {
        let lines = self.0.lock().expect("no holder of this lock panics");
        lines.get(component)?.working.clone()
    }

    /// A canary begins. It ends at once where another rollout waits already.
    pub fn begin_baking(&self, component: &ComponentName, live: &Live) {
        live.set_baking(true);
        let lines = self.0.lock().expect("no holder of this lock panics");
        let next = lines.get(component).and_then(|line| line.waiting.front());
        if let Some(next) = next {
            live.supersede(superseded_by(next.live.record().id));
        }
    }
}

fn superseded_by(rollout: RolloutId) -> WantedEnd {
    WantedEnd {
        state: RolloutState::Superseded,
        reason: format!("rollout {rollout} of the same component took its place"),
    }
}
