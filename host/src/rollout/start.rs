//! What a host starts with.
//!
//! ```text
//! manifest says what it said last time -> the revision that was current last, swapped in or not
//! manifest says something new          -> the manifest's, as a new revision
//! ```
//!
//! So a crash, at any moment, brings up what was announced last; and a manifest that was edited holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::candidate::{CandidateError, Maker};
use super::live::now_ms;
use super::model::{Cause, RolloutState};
use super::store::{
    ArtifactStore, NewRevision, NewRollout, RevisionRecord, RolloutLog, StoreError, fingerprint,
};
use super::{Bind, Rollouts, gate, status};
use crate::config::model::RolloutConfig;
use crate::manifest::model::Application;
use crate::name::{ComponentName, Digest};
use crate::revision::{Registry, Revision, Traffic};
use crate::runtime::{Artifact, Background, Compiled, Exports, LoadError, Loaded};
use crate::telemetry::in_words;

/// Why an application does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    /// Components that are not ready, all of them.
    #[error("{}", lines(.0))]
    Components(Vec<CandidateError>),
    /// The log or the artifacts cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The threads for compiling cannot be started.
    #[error("the threads for compiling cannot be started")]
    Threads(#[source] std::io::Error),
}

fn lines(problems: &[CandidateError]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| in_words(problem)).collect();
    lines.join("\n")
}

/// What the rollouts of a host need.
pub struct Parts {
    /// Where revisions become current. Nothing is, yet.
    pub registry: Arc<Registry>,
    /// Makes revisions.
    pub maker: Maker,
    /// The durable half.
    pub log: RolloutLog,
    /// The same.
    pub artifacts: ArtifactStore,
    /// How much of it is kept.
    pub config: RolloutConfig,
    /// Makes routes and subscriptions hold.
    pub bind: Bind,
}

/// A component at its start.
struct Starting {
    record: RevisionRecord,
    artifact: Artifact,
    /// It was not current before.
    new: bool,
}

/// Brings up an application's components and makes them current.
///
/// # Errors
///
/// See [`StartProblem`]; everything that is wrong with the components is reported at once.
pub async fn start(application: Application, parts: Parts) -> Result<Arc<Rollouts>, StartProblem> {
    let interrupted = parts.log.interrupt_unfinished().await?;
    for rollout in interrupted {
        let (component, rollout) = (&rollout.component, rollout.id);
        tracing::warn!(%component, %rollout, "the host had ended during this rollout");
    }
    let background = Background::start().map_err(StartProblem::Threads)?;
    let artifacts = read_all(&application).await?;
    let declared = declarations(&application, &artifacts)?;
    let mut starting = BTreeMap::new();
    let known = (parts.log.declared().await?, parts.log.current().await?);
    for (name, artifact) in artifacts {
        let same = known.0.get(&name) == declared.get(&name);
        let current = known.1.get(&name).filter(|_| same);
        let kept = match current {
            Some(current) => kept(&parts, *current, &artifact).await?,
            None => None,
        };
        let ready = match kept {
            Some(kept) => kept,
            None => new(&parts, &application, &name, artifact).await?,
        };
        starting.insert(name, ready);
    }
    let maker = Arc::new(parts.maker);
    let loaded = load_all(&application, &maker, &starting).await?;
    let rollouts = Arc::new(Rollouts {
        registry: parts.registry,
        maker,
        log: parts.log,
        artifacts: parts.artifacts,
        background,
        current: Mutex::default(),
        application: ArcSwap::from_pointee(application),
        bind: parts.bind,
        lines: Default::default(),
        live: Mutex::default(),
        switching: Semaphore::new(1),
        drains: TaskTracker::new(),
        rates: Default::default(),
        revisions_kept: parts.config.revisions_kept,
    });
    for (name, loaded) in loaded {
        let starting = starting.remove(&name).expect("what is loaded was starting");
        rollouts.bring_up(&name, starting, loaded).await?;
    }
    for gone in known
        .1
        .into_keys()
        .filter(|name| rollouts.current(name).is_none())
    {
        rollouts.forget(&gone).await?;
    }
    rollouts.log.declare(declared).await?;
    rollouts.sweep().await?;
    tokio::spawn(status::keep_rates(Arc::downgrade(&rollouts)));
    Ok(rollouts)
}

impl Rollouts {
    async fn bring_up(
        &self,
        name: &ComponentName,
        starting: Starting,
        loaded: Loaded,
    ) -> Result<(), StoreError> {
        if starting.new {
            let from = self.log.current().await?.get(name).copied();
            let begun = self.log.begin(NewRollout {
                component: name.clone(),
                cause: Cause::Start,
                by: starting.record.by.clone(),
                from,
                to: Some(starting.record.revision),
                digest: starting.record.digest,
            });
            let mut rollout = begun.await?;
            rollout.state = RolloutState::Completed;
            rollout.ended_at_ms = Some(now_ms());
            let to = Some(starting.record.revision);
            self.log.switch(name, to, &rollout).await?;
        }
        let revision = Revision::new(loaded);
        self.registry.switch(name, Some(Traffic::to(revision)));
        self.set_current(name, Some(starting.record));
        Ok(())
    }

    /// Removes artifacts that were uploaded and never came to a revision.
    async fn sweep(&self) -> Result<(), StoreError> {
        let (artifacts, used) = (self.artifacts.clone(), self.log.digests().await?);
        let sweep = move || artifacts.sweep(&used, UPLOAD_KEPT);
        tokio::task::spawn_blocking(sweep).await??;
        Ok(())
    }

    /// A component that the manifest has no more is current no more.
    async fn forget(&self, name: &ComponentName) -> Result<(), StoreError> {
        let current = self.log.current().await?.get(name).copied();
        let record = match current {
            Some(current) => self.log.revision(current).await?,
            None => None,
        };
        match record {
            Some(record) => self.record_end(&record, Cause::Start, BY_HOST).await,
            None => Ok(()),
        }
    }
}

/// How long an artifact is kept that no revision uses: an operator may upload it now and swap later.
const UPLOAD_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Who asks for what a start does.
const BY_HOST: &str = "the host's start";

async fn read_all(
    application: &Application,
) -> Result<BTreeMap<ComponentName, Artifact>, StartProblem> {
    let mut reading = Vec::new();
    for component in application.components.values().cloned() {
        reading.push(tokio::task::spawn_blocking(move || {
            let name = component.name;
            let artifact = Artifact::read(&name, &component.artifact);
            artifact.map(|artifact| (name, artifact))
        }));
    }
    collect(reading).await
}

/// What all the tasks gave, or all that is wrong.
async fn collect<T>(
    tasks: Vec<tokio::task::JoinHandle<Result<(ComponentName, T), LoadError>>>,
) -> Result<BTreeMap<ComponentName, T>, StartProblem> {
    let mut done = BTreeMap::new();
    let mut problems = Vec::new();
    for task in tasks {
        match task.await.map_err(StoreError::Task)? {
            Ok((name, value)) => {
                done.insert(name, value);
            }
            Err(problem) => problems.push(problem.into()),
        }
    }
    if problems.is_empty() {
        Ok(done)
    } else {
        Err(StartProblem::Components(problems))
    }
}

/// What the manifest says of each component, in a form that can be compared.
pub(super) fn declarations(
    application: &Application,
    artifacts: &BTreeMap<ComponentName, Artifact>,
) -> Result<BTreeMap<ComponentName, String>, StoreError> {
    let of = |(name, artifact): (&ComponentName, &Artifact)| {
        let settings = &application.components[name];
        Ok((name.clone(), fingerprint(settings, &artifact.digest)?))
    };
    artifacts.iter().map(of).collect()
}

/// The revision that was current last, where it is still kept.
async fn kept(
    parts: &Parts,
    current: crate::name::RevisionId,
    of_manifest: &Artifact,
) -> Result<Option<Starting>, StoreError> {
    let Some(record) = parts.log.revision(current).await? else {
        return Ok(None);
    };
    let artifact = if record.digest == of_manifest.digest {
        of_manifest.clone()
    } else {
        let (artifacts, digest) = (parts.artifacts.clone(), record.digest);
        let bytes = tokio::task::spawn_blocking(move || artifacts.get(&digest)).await??;
        let Some(bytes) = bytes else {
            tracing::error!(component = %record.component, revision = %current, digest = %record.digest, "the artifact of the revision that was current is gone; the manifest's is started");
            return Ok(None);
        };
        tracing::info!(
            component = %record.component,
            revision = %current,
            digest = %record.digest.short(),
            manifest_digest = %of_manifest.digest.short(),
            "component starts with the revision that was swapped in last; `wharf apply` goes back to the manifest's"
        );
        Artifact {
            digest: record.digest,
            bytes,
        }
    };
    Ok(Some(Starting {
        record,
        artifact,
        new: false,
    }))
}

async fn new(
    parts: &Parts,
    application: &Application,
    name: &ComponentName,
    artifact: Artifact,
) -> Result<Starting, StoreError> {
    let (artifacts, bytes) = (parts.artifacts.clone(), artifact.bytes.clone());
    tokio::task::spawn_blocking(move || artifacts.put(&bytes)).await??;
    let record = parts.log.add_revision(NewRevision {
        settings: application.components[name].clone(),
        digest: artifact.digest,
        cause: Cause::Start,
        by: BY_HOST.to_owned(),
    });
    Ok(Starting {
        record: record.await?,
        artifact,
        new: true,
    })
}

/// Compiles all components, in parallel and at full speed since there is no traffic yet, and links
/// them.
async fn load_all(
    application: &Application,
    maker: &Arc<Maker>,
    starting: &BTreeMap<ComponentName, Starting>,
) -> Result<BTreeMap<ComponentName, Loaded>, StartProblem> {
    let compiled = compile_all(maker, starting).await?;
    let mut exports = Exports::default();
    for (name, compiled) in &compiled {
        compiled.add_exports(name, &mut exports);
    }
    let mut loaded = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, compiled) in &compiled {
        let record = &starting[name].record;
        match maker.link(record, compiled, &exports).await {
            Ok(ready) => {
                problems.extend(gate::check_bindings(application, &record.settings, &ready));
                loaded.insert(name.clone(), ready);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(StartProblem::Components(problems))
    }
}

async fn compile_all(
    maker: &Arc<Maker>,
    starting: &BTreeMap<ComponentName, Starting>,
) -> Result<BTreeMap<ComponentName, Compiled>, StartProblem> {
    let mut compiling = Vec::new();
    for (name, starting) in starting {
        let (maker, name) = (maker.clone(), name.clone());
        let (record, artifact) = (starting.record.clone(), starting.artifact.clone());
        compiling.push(tokio::task::spawn_blocking(move || {
            let compiled = maker.compile(&record.settings, &artifact)?;
            log_compiled(&record, artifact.digest, &compiled);
            Ok((name, compiled))
        }));
    }
    collect(compiling).await
}

fn log_compiled(record: &RevisionRecord, digest: Digest, compiled: &Compiled) {
    tracing::info!(
        component = %record.component,
        revision = %record.revision,
        digest = %digest.short(),
        origin = ?compiled.origin,
        "component compiled"
    );
}
