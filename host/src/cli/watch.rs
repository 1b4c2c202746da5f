//! `wharf up --watch`: what is saved is built and swapped in.
//!
//! ```text
//! saved source   -> build -> store -> swap   -> it serves | the earlier revision still does, and why
//! saved manifest -> check -> build -> apply  -> the same for each component that it changes
//! ```
//!
//! One thread does one thing after the other, so that whatever is saved during a build makes one more
//! build. It stands beside a host that serves, and can only ask it for rollouts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::watch_screen::Screen;
use crate::manifest::supplied::Supplied;
use crate::manifest::{self, model::Application};
use crate::name::{ComponentName, Digest, RevisionId, RolloutId};
use crate::rollout::model::{
    ApplyRequest, Cause, ComponentStatus, Role, RolloutEvent, StepDone, SwapRequest,
};
use crate::rollout::{RolloutError, Rollouts};
use crate::telemetry::in_words;
use crate::toolchain::{self, Access, Changes, Silent, WatchError, Watcher};

/// Who asks for the rollouts, in the history.
const BY: &str = "wharf up --watch";

/// What is to be watched.
pub(super) struct Watch {
    /// The manifest.
    pub(super) manifest: PathBuf,
    /// What it said when the host started.
    pub(super) application: Application,
    /// How sources that are elsewhere may be asked.
    pub(super) access: Access,
    /// What the manifest is given.
    pub(super) supplied: Supplied,
}

/// The host is shutting down.
struct Stopped;

/// Why something that was saved does not serve.
enum Failure {
    /// The host is shutting down.
    Stopped,
    /// In words.
    Because(String),
}

impl From<Stopped> for Failure {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Because(in_words(&error))
    }
}

impl Watch {
    /// Begins to watch, on a thread of its own, for as long as the host serves. Call it within the
    /// runtime. The thread ends after `stop`; a build that runs then is left to the end of the
    /// process.
    ///
    /// # Errors
    ///
    /// The directories cannot be watched, or there is no thread.
    pub(super) fn start(
        self,
        rollouts: Arc<Rollouts>,
        stop: CancellationToken,
    ) -> Result<(), StartError> {
        let watcher = Watcher::start(&self.manifest, &self.application)?;
        let stopper = watcher.stopper();
        let watching = Watching {
            manifest: self.manifest,
            application: self.application,
            access: self.access,
            supplied: self.supplied,
            watcher,
            rollouts,
            runtime: Handle::current(),
            stop: stop.clone(),
            screen: Screen::stderr(),
        };
        std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || watching.run())
            .map_err(StartError::Thread)?;
        tokio::spawn(async move {
            stop.cancelled().await;
            stopper.stop();
        });
        Ok(())
    }
}

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The directories cannot be watched.
    #[error("the sources cannot be watched")]
    Watch(#[from] WatchError),
    /// The system gives no thread.
    #[error("the thread that watches the sources cannot be started")]
    Thread(#[source] std::io::Error),
}

struct Watching {
    manifest: PathBuf,
    application: Application,
    access: Access,
    supplied: Supplied,
    watcher: Watcher,
    rollouts: Arc<Rollouts>,
    runtime: Handle,
    stop: CancellationToken,
    screen: Screen,
}

impl Watching {
    fn run(mut self) {
        self.screen.watching(self.application.components.len());
        // What was saved while the host started.
        let mut changes = Changes {
            since: Instant::now(),
            manifest: false,
            components: self.stale(),
        };
        loop {
            if self.follow(changes).is_err() || self.stop.is_cancelled() {
                return;
            }
            match self.watcher.next_changes() {
                Some(next) => changes = next,
                None => return,
            }
        }
    }

    fn stale(&self) -> BTreeMap<ComponentName, Option<PathBuf>> {
        let components = self.application.components.values();
        let stale = components.filter(|component| toolchain::needs_build(component));
        stale
            .map(|component| (component.name.clone(), None))
            .collect()
    }

    fn follow(&mut self, changes: Changes) -> Result<(), Stopped> {
        if changes.manifest {
            let manifest = self.manifest.clone();
            self.screen.changed("manifest", Some(&manifest), "applying");
            match self.apply(changes.since) {
                Ok(()) => {}
                Err(Failure::Stopped) => return Err(Stopped),
                Err(Failure::Because(reason)) => {
                    self.screen.failed("manifest", &reason, "nothing changes");
                }
            }
        }
        for (component, file) in changes.components {
            match self.renew(&component, file.as_deref(), changes.since) {
                Ok(()) => {}
                Err(Failure::Stopped) => return Err(Stopped),
                Err(Failure::Because(reason)) => {
                    let serving = match self.serving(&component) {
                        Some((revision, _)) => format!("revision {revision} still serves"),
                        None => "nothing of it serves".to_owned(),
                    };
                    self.screen.failed(component.as_str(), &reason, &serving);
                }
            }
        }
        if let Err(error) = self.watcher.follow(&self.application) {
            let reason = in_words(&error);
            self.screen
                .failed("watch", &reason, "some sources are not watched");
        }
        Ok(())
    }

    /// Builds one component, if that is needed, and swaps in what is new.
    fn renew(
        &self,
        name: &ComponentName,
        file: Option<&Path>,
        since: Instant,
    ) -> Result<(), Failure> {
        let Some(component) = self.application.components.get(name) else {
            // The manifest that was just applied has removed it.
            return Ok(());
        };
        let mut built = None;
        if component.build.is_some() {
            if !toolchain::needs_build(component) {
                return Ok(());
            }
            self.screen.changed(name.as_str(), file, "building");
            let began = Instant::now();
            toolchain::build(&self.application, Some(name), &mut Silent)?;
            built = Some(began.elapsed());
        }
        for warning in toolchain::provide_one(component, self.access, &mut Silent)? {
            tracing::warn!("{warning}");
        }
        let bytes = std::fs::read(&component.artifact.path)?;
        let digest = Digest::of(&bytes);
        if self
            .serving(name)
            .is_some_and(|(_, serving)| serving == digest)
        {
            if let Some(took) = built {
                self.screen.unchanged(name.as_str(), took);
            }
            return Ok(());
        }
        if built.is_none() {
            self.screen.changed(name.as_str(), file, "swapping it in");
        }
        self.wait(self.rollouts.store_artifact(bytes, Some(digest)))??;
        let request = SwapRequest {
            artifact: Some(digest),
            config: BTreeMap::new(),
            canary: None,
            by: BY.to_owned(),
            dry_run: false,
        };
        let swap = self.rollouts.swap_for(Cause::Watch, name, request);
        let rollout = self.wait(swap)??;
        self.see_through(name, rollout.id, since, built)
    }

    /// Makes the manifest true as it now is.
    fn apply(&mut self, since: Instant) -> Result<(), Failure> {
        let text = manifest::text(&self.manifest)?;
        let loaded = manifest::resolve_with(&text, &self.manifest, &self.supplied)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let application = loaded.application;
        if application.components.values().any(toolchain::needs_build) {
            toolchain::build(&application, None, &mut Silent)?;
        }
        for warning in toolchain::provide(&application, self.access, &mut Silent)? {
            tracing::warn!("{warning}");
        }
        let mut artifacts = BTreeMap::new();
        for (name, component) in &application.components {
            let bytes = std::fs::read(&component.artifact.path).map_err(|error| {
                let path = component.artifact.path.display();
                Failure::Because(format!("component {name}: {path}: {error}"))
            })?;
            let stored = self.wait(self.rollouts.store_artifact(bytes, None))??;
            artifacts.insert(name.clone(), stored.digest);
        }
        let request = ApplyRequest {
            manifest: text,
            supplied: self.supplied.clone(),
            path: self.manifest.display().to_string(),
            artifacts,
            by: BY.to_owned(),
            dry_run: false,
        };
        let plan = self.wait(self.rollouts.apply(request))??;
        if !plan.problems.is_empty() {
            return Err(Failure::Because(plan.problems.join("\n")));
        }
        self.application = application;
        self.screen.applies(&plan);
        for id in &plan.rollouts {
            let rollout = self.wait(self.rollouts.rollout(*id))??;
            let name = rollout.component;
            match self.see_through(&name, *id, since, None) {
                // The others go on by themselves.
                Err(Failure::Because(reason)) => {
                    let what = format!("{name} stays as it was");
                    self.screen.failed(name.as_str(), &reason, &what);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Waits until a rollout's candidate serves, or does not. The earlier revision's drain is not
    /// waited for.
    fn see_through(
        &self,
        component: &ComponentName,
        id: RolloutId,
        since: Instant,
        built: Option<Duration>,
    ) -> Result<(), Failure> {
        let steps = self.wait(self.until_decided(id))??;
        let steps = match steps {
            Decided::Serves(steps) => steps,
            Decided::Not(reason) => return Err(Failure::Because(reason)),
        };
        let rollout = self.wait(self.rollouts.rollout(id))??;
        self.screen
            .serves(component, rollout.to, since.elapsed(), built, &steps);
        Ok(())
    }

    async fn until_decided(&self, id: RolloutId) -> Result<Decided, RolloutError> {
        let mut events = self.rollouts.events(id).await?;
        let mut steps = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                RolloutEvent::Began { .. } | RolloutEvent::Progress { .. } => {}
                RolloutEvent::Done(step) => steps.push(step),
                RolloutEvent::State { state, .. } if state.is_success() => {
                    return Ok(Decided::Serves(steps));
                }
                RolloutEvent::State { state, reason } if state.is_final() => {
                    let reason = reason.unwrap_or_else(|| format!("it ended as {state:?}"));
                    return Ok(Decided::Not(reason));
                }
                RolloutEvent::State { .. } => {}
            }
        }
        // The host ends its rollouts when it shuts down.
        Err(RolloutError::ShuttingDown)
    }

    /// The revision of a component that serves, and its artifact.
    fn serving(&self, component: &ComponentName) -> Option<(RevisionId, Digest)> {
        let status = self.rollouts.status();
        let status: Option<&ComponentStatus> = status.iter().find(|s| s.component == *component);
        let mut revisions = status?.revisions.iter();
        let active = revisions.find(|revision| revision.role == Role::Active)?;
        Some((active.revision, active.digest))
    }

    /// Waits for something of the host's, as long as the host serves.
    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        let stopped = self.stop.cancelled();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped => Err(Stopped),
                done = work => Ok(done),
            }
        })
    }
}

/// How a rollout came out.
enum Decided {
    /// The candidate serves; with the steps up to there.
    Serves(Vec<StepDone>),
    /// It does not, and why.
    Not(String),
}
