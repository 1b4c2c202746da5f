//! `wharf check`: validates a manifest offline.

use std::path::PathBuf;

use clap::Args;

use super::sources::to_stderr;
use super::supplies::Supplies;
use super::{MANIFEST, up};
use crate::config::{self, Overrides};
use crate::runtime;
use crate::telemetry::in_words;
use crate::toolchain::{self, Access, Silent};

/// Checking asks nobody.
const OFFLINE: Access = Access {
    insecure: false,
    offline: true,
};

/// Validates a manifest, and the artifacts that are there, without running anything.
#[derive(Args)]
pub struct Check {
    /// The application manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// A host configuration to validate as well.
    #[arg(long, value_name = "FILE")]
    host_config: Option<PathBuf>,
    #[command(flatten)]
    supplies: Supplies,
}

impl Check {
    /// Checks.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn run(self) -> anyhow::Result<()> {
        let loaded = self.supplies.load(&self.manifest)?.loaded;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        if let Some(file) = &self.host_config {
            config::load(Some(file), Overrides::default())?;
        }
        let application = loaded.application;
        let mut problems = Vec::new();
        for component in application.components.values() {
            match toolchain::provide_one(component, OFFLINE, &mut Silent) {
                Ok(warnings) => warnings.iter().for_each(|warning| to_stderr(warning)),
                // It is told below, with what is not built.
                Err(error) if error.is_absent() => {}
                Err(error) => problems.push(in_words(&error)),
            }
        }
        let application = up::bound(application)?;
        problems.extend(runtime::check_imports(&application));
        if !problems.is_empty() {
            anyhow::bail!("{}", problems.join("\n"));
        }
        let missing: Vec<_> = application
            .components
            .values()
            .filter(|component| !component.artifact.path.exists())
            .map(|component| component.name.to_string())
            .collect();
        if !missing.is_empty() {
            eprintln!(
                "note: not built or fetched yet, so not checked: {}",
                missing.join(", ")
            );
        }
        println!(
            "{} is valid: {} components, {} routes, {} subscriptions",
            self.manifest.display(),
            application.components.len(),
            application.routes.len(),
            application.subscriptions.len() + application.wildcards.len()
        );
        Ok(())
    }
}
