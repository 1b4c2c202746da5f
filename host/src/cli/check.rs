//! `wharf check`: validates a manifest offline.

use std::path::PathBuf;

use clap::Args;

use super::MANIFEST;
use super::supplies::Supplies;
use crate::config::{self, Overrides};
use crate::runtime;

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
        let problems = runtime::check_imports(&application);
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
                "note: not built yet, so not checked: {}",
                missing.join(", ")
            );
        }
        println!(
            "{} is valid: {} components, {} routes, {} subscriptions",
            self.manifest.display(),
            application.components.len(),
            application.routes.len(),
            application.subscriptions.len()
        );
        Ok(())
    }
}
