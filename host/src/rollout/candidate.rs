//! Making a revision: from settings and an artifact to something that can be leased.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::RevisionRecord;
use crate::capability::mounts::{MountError, Mounts};
use crate::capability::secrets::{SecretError, Secrets};
use crate::manifest::model::{Component, Secret};
use crate::name::ComponentName;
use crate::runtime::{
    Artifact, Backends, Compiled, Context, Exports, InvokeError, LoadError, Loaded, MigrationError,
    Over, Runtime, Stats,
};
use crate::telemetry::Metrics;

/// Why a candidate gets no work.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A secret of it is not to be had.
    #[error("component {component}")]
    Secret {
        /// Whose.
        component: ComponentName,
        /// Why.
        source: SecretError,
    },
    /// A directory that it sees cannot be made.
    #[error("component {component}")]
    Mount {
        /// Whose.
        component: ComponentName,
        /// Why.
        source: MountError,
    },
    /// It is bound to requests or messages that it cannot take.
    #[error("component {component} does not export {export}, which {binding} needs")]
    Export {
        /// Whose.
        component: ComponentName,
        /// The missing export.
        export: &'static str,
        /// The route, subscription or health request.
        binding: String,
    },
    /// Another component could not call it, or it could not call another's candidate.
    #[error("component {caller} calls {import} of component {callee}: {reason}")]
    Call {
        /// Who calls.
        caller: ComponentName,
        /// Whom.
        callee: ComponentName,
        /// The interface.
        import: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be instantiated within its limits.
    #[error("it cannot be instantiated within its limits")]
    Instantiate(#[source] InvokeError),
    /// Its health request failed.
    #[error("its health request {request} failed")]
    Health {
        /// The method and path.
        request: String,
        /// Why.
        source: InvokeError,
    },
    /// Its health request was answered with another status than 2xx.
    #[error("its health request {request} was answered with {status}")]
    Unhealthy {
        /// The method and path.
        request: String,
        /// The answer.
        status: http::StatusCode,
    },
    /// Its migration hook refused, or failed.
    #[error("its migration hook did not let it start")]
    Migration(#[source] MigrationError),
}

/// Makes revisions ready to work.
pub struct Maker {
    /// Compiles and links.
    pub runtime: Arc<Runtime>,
    /// Who fulfils capabilities.
    pub backends: Arc<Backends>,
    /// Where work is counted.
    pub metrics: Arc<Metrics>,
    /// Where secret values come from.
    pub secrets: Secrets,
    /// The directories that components see.
    pub mounts: Mounts,
}

impl Maker {
    /// Compiles an artifact, or finds its compiled code. Blocks for as long as compiling takes.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn compile(
        &self,
        settings: &Component,
        artifact: &Artifact,
    ) -> Result<Compiled, LoadError> {
        let name = &settings.name;
        self.runtime.compile(name, artifact, settings.preemption)
    }

    /// Links a compiled artifact with a revision's settings. `exports` says which other component
    /// exports what.
    ///
    /// # Errors
    ///
    /// A secret is missing, or an import is not provided.
    pub async fn link(
        &self,
        record: &RevisionRecord,
        compiled: &Compiled,
        exports: &Exports,
    ) -> Result<Loaded, CandidateError> {
        let settings = &record.settings;
        let environment = self
            .values(settings, &settings.environment, &settings.secrets)
            .await?;
        let config = match &settings.variables {
            Some(variables) => {
                self.values(settings, &variables.plain, &variables.secrets)
                    .await?
            }
            None => settings.environment.clone().into_iter().collect(),
        };
        let readable: BTreeMap<_, _> = settings
            .secrets
            .iter()
            .chain(&settings.readable_secrets)
            .map(|(name, secret)| (name.clone(), secret.clone()))
            .collect();
        let secrets = self.values(settings, &BTreeMap::new(), &readable).await?;
        let mounts = self.mounts.prepare(&settings.mounts).await;
        let mounts = mounts.map_err(|source| {
            let component = settings.name.clone();
            CandidateError::Mount { component, source }
        })?;
        let context = Context {
            component: settings.name.clone(),
            revision: record.revision,
            digest: record.digest,
            grants: settings.grants.clone(),
            limits: settings.limits.clone(),
            reuse: settings.reuse.clone(),
            config,
            secrets,
            environment,
            mounts,
            ambient: settings.ambient.clone(),
            instance_ids: Default::default(),
            route_headers: settings.route_headers,
            backends: self.backends.clone(),
            metrics: Arc::new(self.metrics.component(&settings.name)),
            stats: Stats::default(),
            over: Over::default(),
        };
        Ok(self.runtime.link(compiled, Arc::new(context), exports)?)
    }

    /// The values of a component's variables, the secret ones last.
    async fn values(
        &self,
        settings: &Component,
        plain: &BTreeMap<String, String>,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Vec<(String, String)>, CandidateError> {
        let mut values: Vec<_> = plain.clone().into_iter().collect();
        for (variable, secret) in secrets {
            let value = self.secrets.value(secret).await.map_err(|source| {
                let component = settings.name.clone();
                CandidateError::Secret { component, source }
            })?;
            values.push((variable.clone(), value));
        }
        Ok(values)
    }
}
