//! `wharf revisions`: what a component was and is.

use clap::Args;

use super::operator::{self, Client, Options, Side, Table, ago};
use super::rollouts::cause;
use crate::name::ComponentName;
use crate::rollout::model::RevisionSummary;

/// Lists the revisions of a component that are kept, the newest first.
#[derive(Args)]
pub struct Revisions {
    /// The component.
    component: ComponentName,
    #[command(flatten)]
    options: Options,
}

impl Revisions {
    /// Lists.
    ///
    /// # Errors
    ///
    /// The host cannot be asked.
    pub fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let client = Client::of(&self.options)?;
            let path = format!("/v1/components/{}/revisions", self.component);
            let revisions: Vec<RevisionSummary> = client.get(&path).await?;
            self.options.print(&revisions, |all| text(all))
        })
    }
}

fn text(revisions: &[RevisionSummary]) -> String {
    let mut table = Table::new(&[
        ("REVISION", Side::Right),
        ("", Side::Left),
        ("DIGEST", Side::Left),
        ("MADE", Side::Left),
        ("CAUSE", Side::Left),
        ("BY", Side::Left),
        ("ENVIRONMENT", Side::Left),
    ]);
    for revision in revisions {
        let current = if revision.current { "current" } else { "" };
        table.row([
            revision.revision.to_string(),
            current.to_owned(),
            revision.digest.short(),
            ago(revision.made_at_ms),
            cause(revision.cause).to_owned(),
            revision.by.clone(),
            revision.environment.join(" "),
        ]);
    }
    table.text()
}
