//! `wharf build`: builds the components of a manifest.

use std::path::PathBuf;

use clap::Args;

use super::MANIFEST;
use super::supplies::Supplies;
use crate::name::ComponentName;
use crate::toolchain::{self, Console};

/// Builds the components of a manifest, each through its own build command. What is fresh is left.
#[derive(Args)]
pub struct Build {
    /// The application manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// Build only this component.
    #[arg(long, value_name = "NAME")]
    component: Option<ComponentName>,
}

impl Build {
    /// Builds.
    ///
    /// # Errors
    ///
    /// The manifest is wrong, something that the build needs cannot be had, or a command failed.
    pub fn run(self) -> anyhow::Result<()> {
        let application = Supplies::load_unused(&self.manifest)?.application;
        let built = toolchain::build(
            &application,
            self.component.as_ref(),
            &mut Console::stderr(),
        )?;
        for built in built {
            let digest = crate::name::Digest::of(&std::fs::read(&built.artifact)?);
            let state = if built.fresh { "fresh" } else { "built" };
            println!(
                "{state} {} {} sha256:{digest}",
                built.component,
                built.artifact.display()
            );
        }
        Ok(())
    }
}
