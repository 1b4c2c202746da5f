//! Applying a manifest: what differs from what runs, and the rollouts that make it true.
//!
//! Components are rolled out one after another, in the order of their names; the first that fails ends
//! it, and what was rolled out by then stays, as any rollout does. Routes and subscriptions follow the
//! last component's switch, so that nothing is routed to what is not there yet; components that are
//! gone from the manifest end after that. What did not change is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::drain::drain;
use super::line::{Job, Wanted};
use super::live::Live;
use super::model::{ApplyPlan, ApplyRequest, Cause, Change, ComponentChange, RolloutState};
use super::store::{NewRollout, RevisionRecord, StoreError, fingerprint};
use super::{RolloutError, Rollouts};
use crate::manifest::{
    self,
    model::{Application, Component, Route, RouteTarget, Subscription},
};
use crate::name::{ComponentName, Digest, RolloutId};
use crate::runtime::{Artifact, bind_by_export, shape};
use crate::telemetry::in_words;

/// A manifest that may be applied.
struct Target {
    application: Arc<Application>,
    artifacts: BTreeMap<ComponentName, Digest>,
    by: String,
}

impl Rollouts {
    /// Makes a manifest true, component by component. It returns once the rollouts have begun; they are
    /// followed like any other.
    ///
    /// # Errors
    ///
    /// An artifact was not uploaded. What is wrong with the manifest is in the plan, and nothing is
    /// changed then.
    pub async fn apply(self: &Arc<Self>, request: ApplyRequest) -> Result<ApplyPlan, RolloutError> {
        let loaded = match manifest::resolve_with(
            &request.manifest,
            Path::new(&request.path),
            &request.supplied,
        ) {
            Ok(loaded) => loaded,
            Err(problems) => return Ok(refused(vec![problems.to_string()])),
        };
        let mut application = loaded.application;
        if let Err(problems) = self
            .bind_by_export(&mut application, &request.artifacts)
            .await?
        {
            return Ok(refused(problems));
        }
        let target = Target {
            application: Arc::new(application),
            artifacts: request.artifacts,
            by: request.by,
        };
        let problems = self.problems(&target).await?;
        if !problems.is_empty() {
            return Ok(refused(problems));
        }
        let mut plan = self.differences(&target)?;
        if request.dry_run {
            return Ok(plan);
        }
        let provided = target.application.provided_secrets.clone();
        self.maker.secrets.provide(provided);
        let mut begun = Vec::new();
        for change in &plan.components {
            if change.change != Change::Removed {
                match self.begin_one(&target, change).await {
                    Ok(live) => begun.push((change.component.clone(), live)),
                    Err(error) => {
                        for (_, live) in &begun {
                            self.give_up(live, error.to_string()).await;
                        }
                        return Err(error);
                    }
                }
            }
        }
        plan.rollouts = begun.iter().map(|(_, live)| live.record().id).collect();
        if begun.is_empty() {
            let bound = self.make_true(&target).await;
            plan.problems.extend(bound.err());
        } else {
            let rollouts = self.clone();
            self.drains
                .spawn(async move { rollouts.carry_on(target, begun).await });
        }
        Ok(plan)
    }

    /// Binds what the manifest leaves to what the artifacts export.
    async fn bind_by_export(
        &self,
        application: &mut Application,
        digests: &BTreeMap<ComponentName, Digest>,
    ) -> Result<Result<(), Vec<String>>, RolloutError> {
        let mut artifacts = BTreeMap::new();
        for name in &application.by_export.components {
            if let Some(digest) = digests.get(name) {
                artifacts.insert(name.clone(), self.stored(*digest).await?.bytes);
            }
        }
        let bytes = |name: &ComponentName| artifacts.get(name).map(|bytes| bytes.to_vec());
        Ok(bind_by_export(application, bytes))
    }

    /// What is wrong with a manifest before anything is compiled.
    async fn problems(&self, target: &Target) -> Result<Vec<String>, RolloutError> {
        let application = &target.application;
        let running = self.application();
        let mut problems = Vec::new();
        if application.name != running.name {
            problems.push(format!(
                "the manifest is of the application {:?}, and {:?} runs here: start another host for it",
                application.name, running.name
            ));
        }
        for (name, component) in &application.components {
            let Some(digest) = target.artifacts.get(name) else {
                problems.push(format!("component {name}: its artifact was not uploaded"));
                continue;
            };
            let pinned = component.artifact.sha256;
            if let Some(pinned) = pinned.filter(|pinned| pinned != digest) {
                problems.push(format!(
                    "component {name}: its artifact has the digest {digest}, and the manifest pins {pinned}"
                ));
            }
            let Artifact { bytes, .. } = self.stored(*digest).await?;
            if let Err(error) = shape(&bytes) {
                problems.push(format!("component {name}: {error}"));
            }
        }
        Ok(problems)
    }

    fn differences(&self, target: &Target) -> Result<ApplyPlan, RolloutError> {
        let running = self.application();
        let application = &target.application;
        let mut components = Vec::new();
        for (name, settings) in &application.components {
            let digest = target.artifacts[name];
            let (change, details) = match self.current(name) {
                None => (Change::Added, Vec::new()),
                Some(current) => (Change::Changed, details(&current, settings, digest)?),
            };
            if change == Change::Added || !details.is_empty() {
                components.push(ComponentChange {
                    component: name.clone(),
                    change,
                    details,
                });
            }
        }
        for name in self.registry.components() {
            if !application.components.contains_key(&name) && self.current(&name).is_some() {
                components.push(ComponentChange {
                    component: name,
                    change: Change::Removed,
                    details: Vec::new(),
                });
            }
        }
        let lines = |application: &Application| {
            let subscriptions = application.subscriptions.iter().map(subscription_line);
            let limit = |(subject, limits): (_, &manifest::model::StreamLimits)| {
                format!("stream {subject} holds at most {}", limits.length_max)
            };
            let wildcard =
                |one: &manifest::model::Wildcard| format!("{} -> {}", one.pattern, one.component);
            subscriptions
                .chain(application.wildcards.iter().map(wildcard))
                .chain(application.streams.iter().map(limit))
                .collect::<Vec<_>>()
        };
        let routes = |application: &Application| {
            application
                .routes
                .iter()
                .map(route_line)
                .collect::<Vec<_>>()
        };
        Ok(ApplyPlan {
            components,
            routes: moved(&routes(&running), &routes(application)),
            subscriptions: moved(&lines(&running), &lines(application)),
            problems: Vec::new(),
            rollouts: Vec::new(),
        })
    }

    async fn begin_one(
        &self,
        target: &Target,
        change: &ComponentChange,
    ) -> Result<Arc<Live>, RolloutError> {
        self.begin(NewRollout {
            component: change.component.clone(),
            cause: Cause::Apply,
            by: target.by.clone(),
            from: self
                .current(&change.component)
                .map(|current| current.revision),
            to: None,
            digest: target.artifacts[&change.component],
        })
        .await
    }

    /// Rolls out one component after another; the last one brings the routes with it.
    async fn carry_on(self: Arc<Self>, target: Target, begun: Vec<(ComponentName, Arc<Live>)>) {
        let last = begun.last().map(|(_, live)| live.record().id);
        let mut failed: Option<RolloutId> = None;
        for (name, live) in begun {
            let id = live.record().id;
            if let Some(failed) = failed {
                let reason = format!("rollout {failed} of the same manifest did not succeed");
                self.give_up(&live, reason).await;
                continue;
            }
            let job = Job {
                live: live.clone(),
                wanted: Wanted::Settings {
                    settings: Box::new(target.application.components[&name].clone()),
                    artifact: target.artifacts[&name],
                },
                canary: None,
                bind: (Some(id) == last).then(|| target.application.clone()),
            };
            let joined = self.join(&name, job).await;
            if joined.is_err() || !live.decided().await.is_success() {
                failed = Some(id);
            }
        }
        if failed.is_none()
            && let Err(reason) = self.declare(&target).await
        {
            tracing::error!(reason, "what was applied could not be recorded");
        }
    }

    async fn give_up(&self, live: &Live, reason: String) {
        live.turn(RolloutState::Cancelled, Some(reason));
        self.record(&live.record()).await;
    }

    /// Only routes and subscriptions changed, or components ended.
    async fn make_true(self: &Arc<Self>, target: &Target) -> Result<(), String> {
        self.bind(target.application.clone(), &target.by).await?;
        self.declare(target).await
    }

    async fn declare(&self, target: &Target) -> Result<(), String> {
        let of = |(name, settings): (&ComponentName, &Component)| {
            Ok((
                name.clone(),
                fingerprint(settings, &target.artifacts[name])?,
            ))
        };
        let declared: Result<_, StoreError> =
            target.application.components.iter().map(of).collect();
        let declared = declared.map_err(|error| in_words(&error))?;
        let declared = self.log.declare(declared).await;
        declared.map_err(|error| in_words(&error))
    }

    /// Makes an application's routes and subscriptions hold, and ends the components that it has not.
    pub(super) async fn bind(
        self: &Arc<Self>,
        application: Arc<Application>,
        by: &str,
    ) -> Result<(), String> {
        (self.bind)(application.clone()).await?;
        self.application.store(application.clone());
        for name in self.registry.components() {
            if !application.components.contains_key(&name) {
                self.end(&name, by).await?;
            }
        }
        Ok(())
    }

    /// Ends a component: it is current no more, durably, and drains.
    async fn end(self: &Arc<Self>, name: &ComponentName, by: &str) -> Result<(), String> {
        let Some(record) = self.current(name) else {
            return Ok(());
        };
        let ended = self.record_end(&record, Cause::Apply, by).await;
        ended.map_err(|error| in_words(&error))?;
        let leaving = self.registry.living(name);
        self.registry.switch(name, None);
        self.set_current(name, None);
        let (rollouts, name) = (self.clone(), name.clone());
        self.drains.spawn(async move {
            for revision in leaving {
                drain(
                    &rollouts.registry,
                    &name,
                    &revision,
                    &record.settings.drain,
                    None,
                )
                .await;
            }
            // It may have been added again meanwhile.
            if rollouts.current(&name).is_none() {
                rollouts.registry.remove(&name);
            }
        });
        Ok(())
    }

    /// Makes it durable that a component is current no more.
    pub(super) async fn record_end(
        &self,
        record: &RevisionRecord,
        cause: Cause,
        by: &str,
    ) -> Result<(), StoreError> {
        let begun = self.log.begin(NewRollout {
            component: record.component.clone(),
            cause,
            by: by.to_owned(),
            from: Some(record.revision),
            to: None,
            digest: record.digest,
        });
        let mut rollout = begun.await?;
        rollout.state = RolloutState::Completed;
        rollout.ended_at_ms = Some(super::live::now_ms());
        rollout.reason = Some("the manifest has the component no more".to_owned());
        self.log.switch(&record.component, None, &rollout).await
    }
}

fn refused(problems: Vec<String>) -> ApplyPlan {
    ApplyPlan {
        components: Vec::new(),
        routes: Vec::new(),
        subscriptions: Vec::new(),
        problems,
        rollouts: Vec::new(),
    }
}

/// What differs between a revision and what the manifest says of its component, as the settings'
/// names.
fn details(
    current: &RevisionRecord,
    settings: &Component,
    digest: Digest,
) -> Result<Vec<String>, StoreError> {
    let mut details = Vec::new();
    if current.digest != digest {
        details.push("artifact".to_owned());
    }
    if fingerprint(&current.settings, &digest)? == fingerprint(settings, &digest)? {
        return Ok(details);
    }
    let value = |settings| serde_json::to_value(settings).unwrap_or(Value::Null);
    differing(
        "",
        &value(&current.settings),
        &value(settings),
        &mut details,
    );
    details.retain(|name| !name.starts_with("artifact.") && !name.starts_with("build"));
    Ok(details)
}

fn differing(name: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (old, new) = (side(old), side(new));
                let (old, new) = (old.unwrap_or(Value::Null), new.unwrap_or(Value::Null));
                differing(&name, &old, &new, found);
            }
        }
        (old, new) if old == new => {}
        _ => found.push(name.to_owned()),
    }
}

/// Lines that went, with `-`, and that came, with `+`.
fn moved(old: &[String], new: &[String]) -> Vec<String> {
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    let gone = gone.map(|line| format!("-{line}"));
    gone.chain(come.map(|line| format!("+{line}"))).collect()
}

fn route_line(route: &Route) -> String {
    let methods: Vec<_> = route.methods.iter().cloned().collect();
    let methods = if methods.is_empty() {
        "any".to_owned()
    } else {
        methods.join(",")
    };
    let host = route.host.as_deref().unwrap_or_default();
    let target = match &route.target {
        RouteTarget::Component(name) => name.to_string(),
        RouteTarget::Response(response) => format!("a response of its own, {}", response.status),
    };
    format!("{methods} {host}{} -> {target}", route.path)
}

fn subscription_line(subscription: &Subscription) -> String {
    let Subscription {
        subject,
        component,
        concurrency,
        lease,
        deadline,
        deliveries_max,
        backoff,
    } = subscription;
    let duration = |duration| humantime::format_duration(duration).to_string();
    format!(
        "{subject} -> {component}: concurrency {concurrency}, lease {}, deadline {}, {deliveries_max} \
         deliveries, backoff {} to {}",
        duration(*lease),
        duration(*deadline),
        duration(backoff.first),
        duration(backoff.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let old =
            serde_json::json!({"limits": {"memory": 1, "queue": 2}, "environment": {"A": "1"}});
        let new =
            serde_json::json!({"limits": {"memory": 3, "queue": 2}, "environment": {"B": "1"}});
        let mut found = Vec::new();
        differing("", &old, &new, &mut found);
        assert_eq!(found, ["environment.A", "environment.B", "limits.memory"]);
    }

    #[test]
    fn lines_that_went_and_came_are_told_apart() {
        let moved = moved(
            &["a".to_owned(), "b".to_owned()],
            &["b".to_owned(), "c".to_owned()],
        );
        assert_eq!(moved, ["-a", "+c"]);
    }
}
