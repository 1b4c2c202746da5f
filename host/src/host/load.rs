//! Loading an application's components: read, compile, link, and check what is bound to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::StartError;
use crate::capability::secrets::{SecretError, Secrets};
use crate::config::model::HostConfig;
use crate::manifest::model::{Application, Component};
use crate::name::ComponentName;
use crate::runtime::{
    Artifact, Backends, Compiled, Context, Exports, LoadError, Loaded, PoolLimits, Runtime,
};
use crate::telemetry::Metrics;

/// Why one component is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ComponentProblem {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A secret of it is not to be had.
    #[error("component {component}")]
    Secret {
        /// Who.
        component: ComponentName,
        /// Why.
        source: SecretError,
    },
    /// It is bound to requests or messages that it cannot take.
    #[error("component {component} does not export {export}, which {binding} needs")]
    Export {
        /// Who.
        component: ComponentName,
        /// The missing export.
        export: &'static str,
        /// The route or subscription.
        binding: String,
    },
}

pub(super) fn lines(problems: &[ComponentProblem]) -> String {
    let line = |problem: &ComponentProblem| {
        let mut text = problem.to_string();
        let mut source = std::error::Error::source(problem);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Loads the components of an application.
pub(super) struct Loader<'a> {
    pub(super) application: &'a Application,
    pub(super) metrics: &'a Metrics,
    pub(super) backends: &'a Arc<Backends>,
    pub(super) secrets: Secrets,
    pub(super) workers: Handle,
}

impl Loader<'_> {
    /// Reads, compiles and links every component.
    pub(super) async fn load(
        &self,
        config: &HostConfig,
    ) -> Result<BTreeMap<ComponentName, Loaded>, StartError> {
        let limits = PoolLimits {
            instances_max: config.engine.instances_max,
            memory_bytes_max: config.engine.memory_bytes_max,
        };
        let runtime = Arc::new(Runtime::new(
            limits,
            &config.code_dir,
            self.workers.clone(),
        )?);
        let mut problems = Vec::new();
        let compiled = compile_all(&runtime, self.application, &mut problems).await;
        let mut exports = Exports::default();
        for (name, (_, compiled)) in &compiled {
            compiled.add_exports(name, &mut exports);
        }
        let mut loaded = BTreeMap::new();
        for (name, (artifact, compiled)) in &compiled {
            let component = &self.application.components[name];
            match self.link(&runtime, component, artifact, compiled, &exports) {
                Ok(ready) => {
                    self.check_exports(component, &ready, &mut problems);
                    loaded.insert(name.clone(), ready);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(StartError::Components(problems))
        }
    }

    fn link(
        &self,
        runtime: &Runtime,
        component: &Component,
        artifact: &Artifact,
        compiled: &Compiled,
        exports: &Exports,
    ) -> Result<Loaded, ComponentProblem> {
        let config: Vec<_> = component.environment.clone().into_iter().collect();
        let mut environment = config.clone();
        for (variable, secret) in &component.secrets {
            let value = self
                .secrets
                .value(secret)
                .map_err(|source| ComponentProblem::Secret {
                    component: component.name.clone(),
                    source,
                })?;
            environment.push((variable.clone(), value));
        }
        let context = Context {
            component: component.name.clone(),
            digest: artifact.digest,
            grants: component.grants.clone(),
            limits: component.limits.clone(),
            reuse: component.reuse.clone(),
            config,
            environment,
            backends: self.backends.clone(),
            metrics: Arc::new(self.metrics.component(&component.name)),
        };
        Ok(runtime.link(compiled, Arc::new(context), exports)?)
    }

    fn check_exports(
        &self,
        component: &Component,
        loaded: &Loaded,
        problems: &mut Vec<ComponentProblem>,
    ) {
        let name = &component.name;
        let mut missing = |export, binding| {
            problems.push(ComponentProblem::Export {
                component: name.clone(),
                export,
                binding,
            });
        };
        let route = self
            .application
            .routes
            .iter()
            .find(|route| route.component == *name);
        if let (Some(_), None) = (route, &loaded.http) {
            missing(
                "wasi:http/incoming-handler or wasi:http/handler",
                "its route".to_owned(),
            );
        }
        for subscription in &self.application.subscriptions {
            if subscription.component == *name && loaded.messages.is_none() {
                let binding = format!("its subscription to {}", subscription.subject);
                missing("wasmcloud:messaging/handler@0.2.0", binding);
            }
        }
    }
}

/// Reads and compiles every component, in parallel; what fails is added to `problems`.
async fn compile_all(
    runtime: &Arc<Runtime>,
    application: &Application,
    problems: &mut Vec<ComponentProblem>,
) -> BTreeMap<ComponentName, (Artifact, Compiled)> {
    let mut compiling = Vec::new();
    for component in application.components.values() {
        let runtime = runtime.clone();
        let component = component.clone();
        compiling.push(tokio::task::spawn_blocking(move || {
            let name = component.name.clone();
            let artifact = Artifact::read(&name, &component.artifact)?;
            let compiled = runtime.compile(&name, &artifact, component.preemption)?;
            tracing::info!(component = %name, revision = %artifact.digest.short(), origin = ?compiled.origin, "component compiled");
            Ok::<_, LoadError>((name, (artifact, compiled)))
        }));
    }
    let mut compiled = BTreeMap::new();
    for task in compiling {
        match task.await.expect("compiling does not panic") {
            Ok((name, ready)) => {
                compiled.insert(name, ready);
            }
            Err(error) => problems.push(error.into()),
        }
    }
    compiled
}
