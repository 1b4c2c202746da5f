//! `wharf secret`: the secrets that hosts keep.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::up;
use crate::capability::secrets::Secrets;
use crate::config::{self, Overrides};
use crate::host::backends;
use crate::name::SecretName;

/// Manages the secrets that a host keeps in its state directory, or shares through Redis.
#[derive(Args)]
pub struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Puts a new key in front of a generated key ring. Components see it when they start next. With
    /// Redis in the host configuration it is the ring of all hosts: start their components soon after
    /// one another, since a host whose components have not started again refuses what the new key
    /// signed.
    Rotate {
        /// The secret's name in the manifest, such as `auth-signing-keys`.
        name: SecretName,
        /// How long a key that no longer signs still verifies: the life of what it signed.
        #[arg(long, value_name = "DURATION", default_value = "25h", value_parser = humantime::parse_duration)]
        keep: Duration,
        /// The host configuration, which says whether hosts share their rings. [default:
        /// runtime-config/local.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        host_config: Option<PathBuf>,
        /// The host's state directory. [default: the host configuration's]
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
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
            host_config,
            state_dir,
        } = self.action;
        let overrides = Overrides {
            state_dir,
            ..Overrides::default()
        };
        let file = up::host_config(host_config);
        let config = config::load(file.as_deref(), overrides)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime can be started")?;
        let keys = runtime.block_on(async {
            let mut secrets = Secrets::open(&config.state_dir.join("secrets"))?;
            if let Some(redis) = &config.redis {
                let redis = backends::connect(redis, &secrets)?;
                redis.greet().await?;
                secrets = secrets.sharing_rings(redis);
            }
            anyhow::Ok(secrets.rotate(&name, keep).await?)
        })?;
        println!(
            "{name} has {keys} keys now; the new one signs once the component is started again"
        );
        Ok(())
    }
}
