//! `wharf schema`: the JSON schemas of the two kinds of configuration.

use clap::{Args, ValueEnum};

use crate::{config, manifest};

/// Prints a JSON schema, for editors and other tools.
#[derive(Args)]
pub struct Schema {
    /// Which.
    #[arg(value_enum, default_value = "manifest")]
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// The application manifest.
    Manifest,
    /// The host configuration.
    HostConfig,
}

impl Schema {
    /// Prints.
    ///
    /// # Errors
    ///
    /// None that a schema can have.
    pub fn run(self) -> anyhow::Result<()> {
        let schema = match self.kind {
            Kind::Manifest => manifest::schema(),
            Kind::HostConfig => config::schema(),
        };
        println!("{}", serde_json::to_string_pretty(&schema)?);
        Ok(())
    }
}
