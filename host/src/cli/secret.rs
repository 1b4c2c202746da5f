//! `wharf secret`: the secrets that a host keeps.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::capability::secrets::Secrets;
use crate::config::defaults;
use crate::name::SecretName;

/// Manages the secrets that a host keeps in its state directory.
#[derive(Args)]
pub struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Puts a new key in front of a generated key ring. Components see it when they start next.
    Rotate {
        /// The secret's name in the manifest, such as `auth-signing-keys`.
        name: SecretName,
        /// How long a key that no longer signs still verifies: the life of what it signed.
        #[arg(long, value_name = "DURATION", default_value = "25h", value_parser = humantime::parse_duration)]
        keep: Duration,
        /// The host's state directory.
        #[arg(long, value_name = "DIR", default_value = defaults::STATE_DIR)]
        state_dir: PathBuf,
    },
}

impl Secret {
    /// Does what was asked for.
    ///
    /// # Errors
    ///
    /// The secret cannot be read or written.
    pub fn run(self) -> anyhow::Result<()> {
        let Action::Rotate {
            name,
            keep,
            state_dir,
        } = self.action;
        let secrets = Secrets::open(&state_dir.join("secrets"))?;
        let keys = secrets.rotate(&name, keep)?;
        println!(
            "{name} has {keys} keys now; the new one signs once the component is started again"
        );
        Ok(())
    }
}
