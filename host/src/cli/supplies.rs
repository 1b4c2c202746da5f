//! What manifests of Spin are supplied with: options of every command that takes a manifest.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::manifest::supplied::Supplied;
use crate::manifest::{self, Loaded, Problem, spin_supplied};

/// The options.
#[derive(Args, Clone, Default)]
pub struct Supplies {
    /// Give a variable of a Spin manifest its value; may be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = manifest::variable)]
    variables: Vec<(String, String)>,
    /// A runtime configuration file of Spin's: where values of variables come from, and SQLite databases.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
}

/// A manifest that was read, and with what.
pub struct Given {
    /// Its text.
    pub text: String,
    /// What it was given.
    pub supplied: Supplied,
    /// What it says.
    pub loaded: Loaded,
}

impl Supplies {
    /// Reads the manifest at `path`, whose warnings have those of what it is given before them.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with either, and options that such a manifest does not take.
    pub fn load(&self, path: &Path) -> anyhow::Result<Given> {
        let text = manifest::text(path)?;
        let (supplied, mut warnings) = self.gather(&text, path)?;
        let mut loaded = manifest::resolve_with(&text, path, &supplied)?;
        warnings.append(&mut loaded.warnings);
        loaded.warnings = warnings;
        Ok(Given {
            text,
            supplied,
            loaded,
        })
    }

    /// The same for a manifest that is not run: its variables need no values.
    pub fn load_unused(path: &Path) -> anyhow::Result<Loaded> {
        let supplied = Supplied {
            unused: true,
            ..Supplied::default()
        };
        Ok(manifest::resolve_with(
            &manifest::text(path)?,
            path,
            &supplied,
        )?)
    }

    /// What the manifest `text`, which is at `path`, is given.
    ///
    /// # Errors
    ///
    /// See [`load`](Self::load).
    pub fn gather(&self, text: &str, path: &Path) -> anyhow::Result<(Supplied, Vec<Problem>)> {
        if manifest::has_variables(text) {
            let named = self.variables.iter().cloned().collect();
            return Ok(spin_supplied(named, self.runtime_config_file.as_deref())?);
        }
        anyhow::ensure!(
            self.variables.is_empty() && self.runtime_config_file.is_none(),
            "{} is not a manifest of Spin's, and only those take --variable and --runtime-config-file",
            path.display()
        );
        Ok((Supplied::default(), Vec::new()))
    }
}
