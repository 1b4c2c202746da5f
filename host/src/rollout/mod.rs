//! Rollouts: moving a component's traffic from one revision to another.
//!
//! ```text
//! command -> line of the component -> run: verify -> compile -> prewarm -> migrate -> (canary)
//!                                          -> switch (durable, then current) -> drain -> retire
//! ```
//!
//! Rollouts of one component wait for each other; those of different components run side by side. A
//! rollout that joins the line of a canary ends it. `start` brings up what was current last.

mod apply;
mod canary;
mod candidate;
mod drain;
mod error;
mod gate;
mod judge;
mod keep;
mod line;
mod live;
pub mod model;
mod run;
mod start;
mod status;
pub mod store;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use candidate::{CandidateError, Maker};
pub use error::RolloutError;
use line::{Job, Joined, Lines, Wanted};
use live::{Live, WantedEnd};
use model::{
    Cause, Plan, RevisionSummary, RollbackRequest, Rollout, RolloutEvent, RolloutState, Share,
    SwapRequest,
};
use run::Run;
pub use start::{Parts, StartProblem, start};
use status::Rates;
use store::{ArtifactStore, NewRollout, RevisionRecord, RolloutLog};

use crate::manifest::model::{Application, Drain};
use crate::name::{ComponentName, RolloutId};
use crate::revision::Registry;
use crate::runtime::{Background, Work, WorkKind};
use crate::telemetry::in_words;

/// Rollouts that ended and whose events are still in memory: some minutes of a busy operator.
const ENDED_KEPT: usize = 64;

/// Steps of one canary. More than that is a script, not a plan.
const CANARY_STEPS_MAX: usize = 20;

/// The host's own work on a candidate: the gate's requests.
const TRIAL: Work = Work {
    id: 0,
    depth: 0,
    kind: WorkKind::Request,
    pin: None,
    trace: None,
};

/// Longest that one step of a canary is watched: who wants longer wants another tool.
const BAKE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes an application's routes and subscriptions hold, in place of the earlier ones.
pub type Bind =
    Box<dyn Fn(Arc<Application>) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// All rollouts of a host.
pub struct Rollouts {
    registry: Arc<Registry>,
    maker: Arc<Maker>,
    log: RolloutLog,
    artifacts: ArtifactStore,
    background: Background,
    /// What is current, as the log has it.
    current: Mutex<BTreeMap<ComponentName, RevisionRecord>>,
    /// Whose routes and subscriptions hold.
    application: ArcSwap<Application>,
    bind: Bind,
    lines: Lines,
    live: Mutex<BTreeMap<RolloutId, Arc<Live>>>,
    /// Switches happen one at a time.
    switching: Semaphore,
    /// Lines and drains at work.
    drains: TaskTracker,
    rates: Rates,
    revisions_kept: usize,
}

impl Rollouts {
    /// The revisions of a component that are kept, the newest first.
    ///
    /// # Errors
    ///
    /// [`RolloutError::UnknownComponent`] where none is kept.
    pub async fn revisions(
        &self,
        component: &ComponentName,
    ) -> Result<Vec<RevisionSummary>, RolloutError> {
        let records = self.log.revisions(component).await?;
        let current = self.current(component).map(|record| record.revision);
        if records.is_empty() {
            return Err(RolloutError::UnknownComponent(component.clone()));
        }
        let summary = |record: &RevisionRecord| record.summary(Some(record.revision) == current);
        Ok(records.iter().map(summary).collect())
    }

    /// What a swap would do. The candidate is compiled, beside traffic, and linked; it gets no work.
    ///
    /// # Errors
    ///
    /// The component or the artifact is not there. What is wrong with the candidate is in the plan.
    pub async fn plan(
        self: &Arc<Self>,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Plan, RolloutError> {
        let current = self.check(component, &request)?;
        let digest = request.artifact.unwrap_or(current.digest);
        let artifact = self.stored(digest).await?;
        let steps = request.canary.as_ref().map(|canary| canary.steps.clone());
        let mut steps = steps.unwrap_or_default();
        steps.retain(|share| *share < Share::ALL);
        steps.push(Share::ALL);
        let settings = run::changed(current.settings.clone(), &request.config);
        let is_changed = |(name, value): &(&String, &String)| {
            current.settings.environment.get(*name) != Some(*value)
        };
        let config_changes = request.config.iter().filter(is_changed);
        let config_changes = config_changes.map(|(name, _)| name.clone()).collect();
        let (wit_diff, problems) = run::examine(self, &current, settings, &artifact).await?;
        Ok(Plan {
            component: component.clone(),
            from: Some(current.revision),
            from_digest: Some(current.digest),
            digest,
            bytes: artifact.bytes.len() as u64,
            wit_diff,
            config_changes,
            problems,
            steps,
        })
    }

    /// Begins a swap, or queues it.
    ///
    /// # Errors
    ///
    /// The request makes no sense, or the line is full. What becomes of the swap is in its record.
    pub async fn swap(
        self: &Arc<Self>,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Rollout, RolloutError> {
        self.swap_for(Cause::Swap, component, request).await
    }

    /// The same for another cause than an operator's.
    ///
    /// # Errors
    ///
    /// As [`Rollouts::swap`].
    pub async fn swap_for(
        self: &Arc<Self>,
        cause: Cause,
        component: &ComponentName,
        request: SwapRequest,
    ) -> Result<Rollout, RolloutError> {
        let current = self.check(component, &request)?;
        let digest = request.artifact.unwrap_or(current.digest);
        // Also renews it, so that it is kept until the rollout's turn comes.
        self.stored(digest).await?;
        let live = self
            .begin(NewRollout {
                component: component.clone(),
                cause,
                by: request.by,
                from: Some(current.revision),
                to: None,
                digest,
            })
            .await?;
        let job = Job {
            live,
            wanted: Wanted::Change {
                artifact: request.artifact,
                environment: request.config,
            },
            canary: request.canary,
            bind: None,
        };
        self.join(component, job).await
    }

    /// Begins a rollback, or queues it. The revision that comes back passes the gate like any other.
    ///
    /// # Errors
    ///
    /// There is no such revision, or the line is full.
    pub async fn roll_back(
        self: &Arc<Self>,
        component: &ComponentName,
        request: RollbackRequest,
    ) -> Result<Rollout, RolloutError> {
        let current = self
            .current(component)
            .ok_or_else(|| RolloutError::UnknownComponent(component.clone()))?;
        let to = match request.to {
            Some(to) => to,
            None => {
                let previous = self.log.previous(component).await?;
                previous.ok_or_else(|| RolloutError::NoEarlierRevision(component.clone()))?
            }
        };
        let record = self.log.revision(to).await?;
        let record = record.filter(|record| record.component == *component);
        let record = record.ok_or_else(|| RolloutError::UnknownRevision {
            component: component.clone(),
            revision: to,
        })?;
        let live = self
            .begin(NewRollout {
                component: component.clone(),
                cause: Cause::Rollback,
                by: request.by,
                from: Some(current.revision),
                to: Some(to),
                digest: record.digest,
            })
            .await?;
        let job = Job {
            live,
            wanted: Wanted::Revision(to),
            canary: None,
            bind: None,
        };
        self.join(component, job).await
    }

    /// Ends a rollout that has not switched yet.
    ///
    /// # Errors
    ///
    /// [`RolloutError::TooLateToCancel`], [`RolloutError::UnknownRollout`].
    pub async fn cancel(&self, rollout: RolloutId) -> Result<Rollout, RolloutError> {
        let Some(live) = self.live(rollout) else {
            self.rollout(rollout).await?;
            return Err(RolloutError::TooLateToCancel(rollout));
        };
        let wanted = WantedEnd {
            state: RolloutState::Cancelled,
            reason: "an operator cancelled it".to_owned(),
        };
        if live.end(wanted) {
            Ok(live.record())
        } else {
            Err(RolloutError::TooLateToCancel(rollout))
        }
    }

    /// The history, the newest first: of one component or all, at most `limit` entries.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Storage`].
    pub async fn history(
        &self,
        component: Option<&ComponentName>,
        limit: usize,
    ) -> Result<Vec<Rollout>, RolloutError> {
        let mut found = self.log.history(component, limit).await?;
        for rollout in &mut found {
            if let Some(live) = self.live(rollout.id) {
                *rollout = live.record();
            }
        }
        Ok(found)
    }

    /// One rollout.
    ///
    /// # Errors
    ///
    /// [`RolloutError::UnknownRollout`].
    pub async fn rollout(&self, rollout: RolloutId) -> Result<Rollout, RolloutError> {
        if let Some(live) = self.live(rollout) {
            return Ok(live.record());
        }
        let found = self.log.rollout(rollout).await?;
        found.ok_or(RolloutError::UnknownRollout(rollout))
    }

    /// What happens in a rollout, from its beginning; ends after its final state. One that ended long
    /// ago, or before this host started, gives only what its record says.
    ///
    /// # Errors
    ///
    /// [`RolloutError::UnknownRollout`].
    pub async fn events(
        &self,
        rollout: RolloutId,
    ) -> Result<BoxStream<'static, RolloutEvent>, RolloutError> {
        match self.live(rollout) {
            Some(live) => Ok(live.events()),
            None => Ok(live::events_of(self.rollout(rollout).await?)),
        }
    }

    /// Refuses every later command, ends what has not switched, and waits for lines and drains. Whoever
    /// calls it bounds the wait.
    pub async fn shut_down(&self) {
        let living: Vec<_> = self.lock_live().values().cloned().collect();
        self.drains.close();
        for live in living {
            live.end(WantedEnd {
                state: RolloutState::Interrupted,
                reason: "the host was shut down".to_owned(),
            });
        }
        self.drains.wait().await;
    }

    /// Checks what can be checked before a rollout begins.
    fn check(
        &self,
        component: &ComponentName,
        request: &SwapRequest,
    ) -> Result<RevisionRecord, RolloutError> {
        let current = self
            .current(component)
            .ok_or_else(|| RolloutError::UnknownComponent(component.clone()))?;
        if request.artifact.is_none() && request.config.is_empty() {
            let what = "a swap needs another artifact, or configuration that changes";
            return Err(RolloutError::Invalid(what.to_owned()));
        }
        if request
            .config
            .keys()
            .any(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            let what = "a configuration key is empty, or has a `=` in it";
            return Err(RolloutError::Invalid(what.to_owned()));
        }
        if let Some(canary) = &request.canary {
            let rising = canary.steps.windows(2).all(|pair| pair[0] < pair[1]);
            if canary.steps.is_empty() || canary.steps.len() > CANARY_STEPS_MAX || !rising {
                return Err(RolloutError::Invalid(format!(
                    "a canary has 1 to {CANARY_STEPS_MAX} steps, each a larger share than the one before"
                )));
            }
            let bake = Duration::from_millis(canary.bake_ms);
            if bake.is_zero() || bake > BAKE_MAX {
                let what = "a canary's bake is longer than nothing and at most 24 hours";
                return Err(RolloutError::Invalid(what.to_owned()));
            }
        }
        Ok(current)
    }

    async fn begin(&self, new: NewRollout) -> Result<Arc<Live>, RolloutError> {
        if self.drains.is_closed() {
            return Err(RolloutError::ShuttingDown);
        }
        let record = self.log.begin(new).await?;
        let live = Live::new(record.clone());
        let mut all = self.lock_live();
        all.insert(record.id, live.clone());
        let ended = all
            .iter()
            .filter(|(_, live)| live.record().state.is_final());
        let ended: Vec<_> = ended.map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_KEPT)) {
            all.remove(id);
        }
        Ok(live)
    }

    async fn join(
        self: &Arc<Self>,
        component: &ComponentName,
        job: Job,
    ) -> Result<Rollout, RolloutError> {
        let live = job.live.clone();
        match self.lines.join(component, job) {
            Ok(Joined::First) => {
                let (rollouts, component) = (self.clone(), component.clone());
                self.drains.spawn(async move {
                    while let Some(job) = rollouts.lines.next(&component) {
                        rollouts.carry_out(job).await;
                    }
                });
            }
            Ok(Joined::Waits) => {
                live.wait_in_line();
            }
            Err(full) => {
                live.turn(RolloutState::Refused, Some(full.to_string()));
                self.log.update(&live.record()).await?;
                return Err(full);
            }
        }
        Ok(live.record())
    }

    /// Carries out one rollout up to its switch. A panic, of the compiler say, ends it and not the line.
    async fn carry_out(self: &Arc<Self>, job: Job) {
        let live = job.live.clone();
        let run = AssertUnwindSafe(Run::new(self, job).carry_out());
        if run.catch_unwind().await.is_ok() {
            return;
        }
        let record = live.record();
        if record.state != RolloutState::Running {
            return;
        }
        self.withdraw(&record.component, &Drain::default());
        let reason = "the host panicked while it was at work; see its log".to_owned();
        live.turn(RolloutState::Refused, Some(reason));
        self.record(&live.record()).await;
    }

    /// Keeps how a rollout ended. Nothing but the history depends on it.
    async fn record(&self, rollout: &Rollout) {
        if let Err(error) = self.log.update(rollout).await {
            tracing::error!(error = %in_words(&error), "rollout could not be recorded");
        }
    }

    /// A rollout has drained.
    async fn complete(&self, live: &Live) {
        live.turn(RolloutState::Completed, None);
        self.record(&live.record()).await;
        self.prune().await;
    }

    fn lock_live(&self) -> std::sync::MutexGuard<'_, BTreeMap<RolloutId, Arc<Live>>> {
        self.live.lock().expect("no holder of this lock panics")
    }

    fn live(&self, rollout: RolloutId) -> Option<Arc<Live>> {
        self.lock_live().get(&rollout).cloned()
    }

    fn current(&self, component: &ComponentName) -> Option<RevisionRecord> {
        let current = self.current.lock().expect("no holder of this lock panics");
        current.get(component.as_str()).cloned()
    }

    fn set_current(&self, component: &ComponentName, record: Option<RevisionRecord>) {
        let mut current = self.current.lock().expect("no holder of this lock panics");
        match record {
            Some(record) => current.insert(component.clone(), record),
            None => current.remove(component.as_str()),
        };
    }

    fn application(&self) -> Arc<Application> {
        self.application.load_full()
    }
}
