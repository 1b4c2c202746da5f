//! `wharf rollback`: brings an earlier revision back.

use clap::Args;

use super::operator::{self, Client, Options, Until, asker, follow};
use super::swap;
use crate::name::{ComponentName, RevisionId};
use crate::rollout::model::{RollbackRequest, Rollout};

/// Brings an earlier revision of a component back, with the configuration that it had.
#[derive(Args)]
pub struct Rollback {
    /// The component.
    component: ComponentName,
    /// The revision, as `wharf revisions` prints it. [default: the one that served before]
    #[arg(long, value_name = "REVISION")]
    to: Option<RevisionId>,
    /// Return once the earlier revision serves, and do not wait for the other to finish its work.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    options: Options,
}

impl Rollback {
    /// Rolls back.
    ///
    /// # Errors
    ///
    /// The host cannot be asked, or the earlier revision does not serve in the end.
    pub fn run(self) -> anyhow::Result<()> {
        operator::run(self.roll_back())
    }

    async fn roll_back(self) -> anyhow::Result<()> {
        let client = Client::of(&self.options)?;
        let path = format!("/v1/components/{}/rollback", self.component);
        let request = RollbackRequest {
            to: self.to,
            by: asker(),
        };
        let rollout: Rollout = client.post(&path, &request).await?;
        let rollout = follow(&client, rollout.id, Until::of(self.no_wait)).await?;
        swap::report(&self.options, &rollout)
    }
}
