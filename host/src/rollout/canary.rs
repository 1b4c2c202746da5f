//! A canary: the candidate gets shares of the new work, and proves itself against the active revision
//! over the same time, or goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Rollouts;
use super::drain::drain;
use super::judge::{SAMPLES_MIN, Verdict, Words, judge};
use super::model::{CanaryRequest, Share, Step};
use super::run::{Candidate, Ended, Run};
use crate::manifest::model::Drain;
use crate::name::ComponentName;
use crate::revision::{Revision, Traffic};
use crate::runtime::Sample;

/// How often a canary's figures are looked at.
const JUDGE_EVERY: Duration = Duration::from_millis(250);

/// How many times its bake a step is watched, at most, for lack of samples.
const BAKES_MAX: u32 = 3;

impl Run<'_> {
    /// Gives the candidate its shares of the work, one after another.
    pub(super) async fn prove(
        &self,
        candidate: &Candidate,
        canary: &CanaryRequest,
    ) -> Result<(), Ended> {
        let registry = &self.rollouts.registry;
        for share in canary.steps.iter().filter(|share| **share < Share::ALL) {
            let traffic = registry.traffic(&self.component);
            let Some(traffic) = traffic else {
                return Ok(());
            };
            let active = traffic.active.clone();
            let bake = Duration::from_millis(canary.bake_ms);
            let watched = format!("{share} for {}", humantime::format_duration(bake));
            let began = self.live.began(Step::Canary, Some(watched.clone()));
            let traffic = Traffic {
                active: active.clone(),
                candidate: Some((candidate.revision.clone(), share.fraction())),
            };
            registry.switch(&self.component, Some(traffic));
            let samples_min = canary.samples_min.unwrap_or(SAMPLES_MIN);
            let sample = self
                .watch(&active, &candidate.revision, bake, samples_min)
                .await?;
            let detail = format!("{watched}: {}", Words(&sample));
            self.live.done(Step::Canary, began, Some(detail));
        }
        Ok(())
    }

    /// Watches both for the time of a bake, or longer where there is too little to judge by. What is
    /// bad is not watched to the end.
    async fn watch(
        &self,
        active: &Revision,
        candidate: &Revision,
        bake: Duration,
        samples_min: u64,
    ) -> Result<Sample, Ended> {
        let sample = |revision: &Revision| revision.loaded().instances.context().stats.sample();
        let before = (sample(active), sample(candidate));
        let began = Instant::now();
        loop {
            let left = bake.saturating_sub(began.elapsed());
            let pause = if left.is_zero() { JUDGE_EVERY } else { left };
            tokio::time::sleep(pause.min(JUDGE_EVERY)).await;
            let old = sample(active).since(&before.0);
            let new = sample(candidate).since(&before.1);
            self.live.progress(Step::Canary, Words(&new).to_string());
            match judge(&old, &new, samples_min) {
                Verdict::Bad(reason) => return Err(Ended::RolledBack(reason)),
                Verdict::Good if began.elapsed() >= bake => return Ok(new),
                Verdict::TooFew { samples } if began.elapsed() >= bake * BAKES_MAX => {
                    return Err(Ended::RolledBack(format!(
                        "inconclusive: {samples} pieces of work in {BAKES_MAX} times the bake, and \
                         {samples_min} are needed to judge by"
                    )));
                }
                Verdict::Good | Verdict::TooFew { .. } => {}
            }
        }
    }
}

impl Rollouts {
    /// Takes a candidate's share away again, where it has one, and lets it finish what it has.
    pub(super) fn withdraw(self: &Arc<Self>, component: &ComponentName, limits: &Drain) {
        let Some(traffic) = self.registry.traffic(component) else {
            return;
        };
        let Some((candidate, _)) = &traffic.candidate else {
            return;
        };
        let active = Traffic::to(traffic.active.clone());
        self.registry.switch(component, Some(active));
        let (rollouts, component) = (self.clone(), component.clone());
        let (candidate, limits) = (candidate.clone(), limits.clone());
        self.drains.spawn(async move {
            drain(&rollouts.registry, &component, &candidate, &limits, None).await;
        });
    }
}
