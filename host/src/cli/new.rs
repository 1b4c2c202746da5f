//! `wharf new`: writes a component to begin with.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::name::ComponentName;
use crate::toolchain::{self, Template};

/// The manifest that a new component is added to where none is named, if it is there.
const MANIFEST: &str = "wharf.toml";

/// Writes a component that builds and runs, with its manifest entry.
#[derive(Args)]
pub struct New {
    /// The component's name, and its directory's in the working directory.
    name: ComponentName,
    /// What to begin with.
    #[arg(long, value_enum)]
    template: Template,
    /// The manifest that it is added to. [default: wharf.toml, if it is there, or else a new one in
    /// the component's directory]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl New {
    /// Writes.
    ///
    /// # Errors
    ///
    /// Something of it is there already, or the manifest would be wrong with it.
    pub fn run(self) -> anyhow::Result<()> {
        let there = Path::new(MANIFEST);
        let named = self.manifest.as_deref();
        let manifest = named.or_else(|| there.exists().then_some(there));
        let written = toolchain::new(&self.name, self.template, Path::new(""), manifest)?;
        for file in &written.files {
            println!("{}", file.display());
        }
        let shown = written.manifest.display();
        println!("{shown}\n\nRun it with:\n  wharf up {shown}");
        Ok(())
    }
}
