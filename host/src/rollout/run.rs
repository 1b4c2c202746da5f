//! One rollout, from its turn in the line to the end of its drain.
//!
//! ```text
//! verify -> compile -> prewarm -> migrate -> (canary) -> switch -> drain -> retire
//!    \---------\----------\----------\----------\-> refused, rolled back, superseded, cancelled
//! ```
//!
//! Everything before the switch can end at any moment: the candidate is dropped, or drained where it
//! had a share of the work, and the active revision never notices. The switch is durable first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::CandidateError;
use super::drain::drain;
use super::gate;
use super::line::{Job, Wanted};
use super::live::{Live, WantedEnd};
use super::model::{RolloutState, Step};
use super::store::{NewRevision, RevisionRecord, StoreError};
use super::{Rollouts, TRIAL};
use crate::manifest::model::{Application, Component};
use crate::name::{ComponentName, Digest};
use crate::revision::{Revision, Traffic};
use crate::runtime::{Artifact, Compiled, Loaded, check_artifact};
use crate::telemetry::in_words;

/// Why a rollout does not come to its switch.
pub(super) enum Ended {
    /// The candidate was refused.
    Refused(String),
    /// It was tried and is worse, or could not be judged.
    RolledBack(String),
    /// Somebody ended it.
    Wanted(WantedEnd),
}

impl From<CandidateError> for Ended {
    fn from(error: CandidateError) -> Self {
        Self::Refused(in_words(&error))
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Refused(in_words(&error))
    }
}

/// A candidate that is ready for work.
pub(super) struct Candidate {
    pub(super) record: RevisionRecord,
    pub(super) revision: Arc<Revision>,
    /// How its world differs from the active revision's.
    diff: String,
}

/// One rollout at work.
pub(super) struct Run<'a> {
    pub(super) rollouts: &'a Arc<Rollouts>,
    pub(super) component: ComponentName,
    pub(super) live: Arc<Live>,
    job: Job,
}

impl<'a> Run<'a> {
    pub(super) fn new(rollouts: &'a Arc<Rollouts>, job: Job) -> Self {
        Self {
            rollouts,
            component: job.live.record().component,
            live: job.live.clone(),
            job,
        }
    }

    /// Carries it out up to its switch, after which the line goes on; the drain goes on by itself.
    pub(super) async fn carry_out(self) {
        self.live.leave_line();
        let ended = match self.until_switched().await {
            Ok(()) => return,
            Err(ended) => ended,
        };
        let (state, reason) = match ended {
            Ended::Refused(reason) => (RolloutState::Refused, reason),
            Ended::RolledBack(reason) => (RolloutState::RolledBack, reason),
            Ended::Wanted(wanted) => (wanted.state, wanted.reason),
        };
        tracing::warn!(
            component = %self.component,
            rollout = %self.live.record().id,
            state = ?state,
            reason,
            "rollout ended without a switch"
        );
        self.live
            .amend(|record| record.reason = Some(reason.clone()));
        let mut record = self.live.record();
        record.state = state;
        record.ended_at_ms = Some(super::live::now_ms());
        self.rollouts.record(&record).await;
        self.live.turn(state, Some(reason));
        self.rollouts.prune().await;
    }

    async fn until_switched(&self) -> Result<(), Ended> {
        let candidate = self.unless_ended(self.prepare()).await?;
        if let Some(canary) = &self.job.canary {
            self.rollouts
                .lines
                .begin_baking(&self.component, &self.live);
            let proved = self.unless_ended(self.prove(&candidate, canary)).await;
            self.live.set_baking(false);
            if let Err(ended) = proved {
                self.withdraw(&candidate);
                return Err(ended);
            }
        }
        self.switch(candidate).await
    }

    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        tokio::select! {
            biased;
            wanted = self.live.ended_early() => Err(Ended::Wanted(wanted)),
            done = work => done,
        }
    }

    /// Everything up to a candidate that could take work.
    async fn prepare(&self) -> Result<Candidate, Ended> {
        let (settings, digest, known) = self.settle_on().await?;
        let current = self.rollouts.current(&self.component);
        self.live.amend(|record| {
            // Others of the same component may have switched while it waited.
            record.from = current.map(|current| current.revision);
            record.digest = digest;
        });

        let began = self.live.began(Step::Verify, Some(digest.short()));
        let artifact = self.artifact(digest).await?;
        let wrong = check_artifact(&settings.name, &settings.grants, &artifact.bytes);
        if !wrong.is_empty() {
            return Err(Ended::Refused(wrong.join("\n")));
        }
        let diff = world_diff(self.rollouts, &self.component, &artifact).await?;
        self.live
            .done(Step::Verify, began, Some(world_in_words(&diff)));

        let began = self.live.began(Step::Compile, None);
        let compiled = compile(self.rollouts, &settings, &artifact).await?;
        let origin = gate::origin(&compiled).to_owned();
        self.live.done(Step::Compile, began, Some(origin));

        let record = match known {
            Some(record) => record,
            None => self.new_revision(settings, digest).await?,
        };
        self.live
            .amend(|rollout| rollout.to = Some(record.revision));
        let began = self
            .live
            .began(Step::Prewarm, Some(format!("revision {}", record.revision)));
        let (revision, detail) = self.prewarm(&record, &compiled, &diff).await?;
        self.live.done(Step::Prewarm, began, detail);

        self.migrate(&revision).await?;
        Ok(Candidate {
            record,
            revision,
            diff,
        })
    }

    /// What the candidate is made of, now that its turn has come.
    async fn settle_on(&self) -> Result<(Component, Digest, Option<RevisionRecord>), Ended> {
        match &self.job.wanted {
            Wanted::Settings { settings, artifact } => {
                Ok((Component::clone(settings), *artifact, None))
            }
            Wanted::Change {
                artifact,
                environment,
            } => {
                let current = self.rollouts.current(&self.component);
                let current = current.ok_or_else(|| {
                    Ended::Refused(format!(
                        "component {} is not there any more",
                        self.component
                    ))
                })?;
                let digest = artifact.unwrap_or(current.digest);
                Ok((changed(current.settings, environment), digest, None))
            }
            Wanted::Revision(revision) => {
                let record = self.rollouts.log.revision(*revision).await?;
                let record = record.ok_or_else(|| {
                    Ended::Refused(format!("revision {revision} is not kept any more"))
                })?;
                Ok((record.settings.clone(), record.digest, Some(record)))
            }
        }
    }

    async fn artifact(&self, digest: Digest) -> Result<Artifact, Ended> {
        self.rollouts.artifact(digest).await?.ok_or_else(|| {
            Ended::Refused(format!(
                "no artifact with the digest {digest} is stored any more"
            ))
        })
    }

    async fn new_revision(
        &self,
        settings: Component,
        digest: Digest,
    ) -> Result<RevisionRecord, Ended> {
        let rollout = self.live.record();
        let new = NewRevision {
            settings,
            digest,
            cause: rollout.cause,
            by: rollout.by,
        };
        Ok(self.rollouts.log.add_revision(new).await?)
    }

    async fn prewarm(
        &self,
        record: &RevisionRecord,
        compiled: &Compiled,
        diff: &str,
    ) -> Result<(Arc<Revision>, Option<String>), Ended> {
        let application = match &self.job.bind {
            Some(application) => application.clone(),
            None => self.rollouts.application(),
        };
        let (loaded, problems) = link(self.rollouts, record, compiled, &application).await?;
        refuse(&problems, diff)?;
        let status = gate::prewarm(&record.settings, &loaded, TRIAL).await?;
        let detail = match (&record.settings.health, status) {
            (Some(health), Some(status)) => Some(format!("{health} answered {status}")),
            (Some(_), None) | (None, _) => None,
        };
        Ok((Revision::new(loaded), detail))
    }

    async fn migrate(&self, revision: &Arc<Revision>) -> Result<(), Ended> {
        let Some(migration) = &revision.loaded().migration else {
            return Ok(());
        };
        let from = self.rollouts.current(&self.component);
        let from = from.map(|current| (current.revision, current.digest));
        let began = self.live.began(Step::Migrate, None);
        let migrated = migration.migrate(from, TRIAL).await;
        migrated.map_err(CandidateError::Migration)?;
        self.live.done(Step::Migrate, began, None);
        Ok(())
    }

    /// Makes the candidate durable, then current.
    async fn switch(&self, candidate: Candidate) -> Result<(), Ended> {
        let rollouts = self.rollouts;
        // Two components' switches in one moment could each pass the other's gate.
        let turn = rollouts.switching.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let loaded = candidate.revision.loaded();
        let calls = gate::check_calls(&rollouts.registry, &self.component, loaded);
        let allowed = refuse(&calls, &candidate.diff).and_then(|()| self.commit());
        if let Err(ended) = allowed {
            self.withdraw(&candidate);
            return Err(ended);
        }
        let began = self.live.began(Step::Switch, None);
        let old = rollouts.current(&self.component);
        let mut record = self.live.record();
        record.state = RolloutState::Switched;
        let to = Some(candidate.record.revision);
        if let Err(error) = rollouts.log.switch(&self.component, to, &record).await {
            self.withdraw(&candidate);
            return Err(error.into());
        }
        let traffic = Traffic::to(candidate.revision.clone());
        let leaving = rollouts.registry.traffic(&self.component);
        rollouts.registry.switch(&self.component, Some(traffic));
        rollouts.set_current(&self.component, Some(candidate.record));
        let bound = match &self.job.bind {
            Some(application) => rollouts.bind(application.clone(), &record.by).await,
            None => Ok(()),
        };
        self.live.done(Step::Switch, began, None);
        tracing::info!(
            component = %self.component,
            revision = %candidate.revision.id(),
            digest = %record.digest.short(),
            rollout = %record.id,
            "component switched"
        );
        self.live.turn(RolloutState::Switched, bound.err());
        let leaving = leaving.map(|traffic| traffic.active.clone());
        self.retire(leaving.zip(old));
        Ok(())
    }

    /// From here on nobody ends it any more, unless somebody has.
    fn commit(&self) -> Result<(), Ended> {
        self.live.commit().map_err(Ended::Wanted)
    }

    fn withdraw(&self, candidate: &Candidate) {
        let limits = &candidate.record.settings.drain;
        self.rollouts.withdraw(&self.component, limits);
    }

    /// Lets the earlier revision finish, in the background: the line goes on.
    fn retire(&self, leaving: Option<(Arc<Revision>, RevisionRecord)>) {
        let (rollouts, live) = (self.rollouts.clone(), self.live.clone());
        let component = self.component.clone();
        self.rollouts.drains.spawn(async move {
            if let Some((revision, record)) = leaving {
                let began = live.began(Step::Drain, Some(format!("revision {}", record.revision)));
                let limits = &record.settings.drain;
                drain(
                    &rollouts.registry,
                    &component,
                    &revision,
                    limits,
                    Some(&live),
                )
                .await;
                live.done(Step::Drain, began, None);
                let began = live.began(Step::Retire, None);
                drop(revision);
                live.done(Step::Retire, began, None);
            }
            rollouts.complete(&live).await;
        });
    }
}

/// Refuses for all the problems at once; with how the candidate's world differs where that is one.
fn refuse(problems: &[CandidateError], diff: &str) -> Result<(), Ended> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<_> = problems.iter().map(|problem| in_words(problem)).collect();
    let of_calls = |problem: &CandidateError| matches!(problem, CandidateError::Call { .. });
    if !diff.is_empty() && problems.iter().any(of_calls) {
        lines.push(diff.to_owned());
    }
    Err(Ended::Refused(lines.join("\n")))
}

fn world_in_words(diff: &str) -> String {
    let what = if diff.is_empty() {
        "unchanged"
    } else {
        "changed"
    };
    format!("world {what}")
}

/// Settings with these environment variables on top.
pub(super) fn changed(
    mut settings: Component,
    environment: &BTreeMap<String, String>,
) -> Component {
    settings.environment.extend(environment.clone());
    settings
}

async fn world_diff(
    rollouts: &Rollouts,
    component: &ComponentName,
    artifact: &Artifact,
) -> Result<String, StoreError> {
    let current = rollouts.current(component);
    let Some(current) = current.filter(|current| current.digest != artifact.digest) else {
        return Ok(String::new());
    };
    let Some(old) = rollouts.artifact(current.digest).await? else {
        return Ok(String::new());
    };
    let new = artifact.clone();
    let diff = move || gate::world_diff(&old.bytes, &new.bytes);
    Ok(rollouts.background.run(diff).await)
}

async fn compile(
    rollouts: &Rollouts,
    settings: &Component,
    artifact: &Artifact,
) -> Result<Compiled, CandidateError> {
    let (maker, settings, artifact) = (rollouts.maker.clone(), settings.clone(), artifact.clone());
    let compile = move || maker.compile(&settings, &artifact);
    Ok(rollouts.background.run(compile).await?)
}

/// Links a candidate, and says what of it does not fit the application.
async fn link(
    rollouts: &Rollouts,
    record: &RevisionRecord,
    compiled: &Compiled,
    application: &Application,
) -> Result<(Loaded, Vec<CandidateError>), CandidateError> {
    let (registry, component) = (&rollouts.registry, &record.component);
    let exports = gate::exports_of_others(registry, component);
    let loaded = rollouts.maker.link(record, compiled, &exports).await?;
    let mut problems = gate::check_bindings(application, &record.settings, &loaded);
    problems.extend(gate::check_calls(registry, component, &loaded));
    Ok((loaded, problems))
}

/// What the gate would say of a candidate, without running anything of it: how its world differs, and
/// what would be refused.
pub(super) async fn examine(
    rollouts: &Arc<Rollouts>,
    current: &RevisionRecord,
    settings: Component,
    artifact: &Artifact,
) -> Result<(String, Vec<String>), StoreError> {
    let diff = world_diff(rollouts, &settings.name, artifact).await?;
    let record = RevisionRecord {
        settings,
        digest: artifact.digest,
        ..current.clone()
    };
    let examined = async {
        let compiled = compile(rollouts, &record.settings, artifact).await?;
        let (_, problems) = link(rollouts, &record, &compiled, &rollouts.application()).await?;
        Ok::<_, CandidateError>(problems)
    };
    let problems = examined.await.unwrap_or_else(|problem| vec![problem]);
    let problems = problems.iter().map(|problem| in_words(problem)).collect();
    Ok((diff, problems))
}
