//! `wharf streams redrive`: dead letters go back before their groups.

use clap::Args;

use super::{Client, Options, entry, operator};
use crate::admin::streams::model::{RedriveRequest, Redriven};
use crate::name::{ComponentName, Subject};

/// Puts dead letters back before their groups, with no attempt counted: all of a subject, or some.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    wharf streams redrive media.uploaded\n  \
    wharf streams redrive media.uploaded --group converter --id 17")]
pub(super) struct Redrive {
    /// The subject.
    subject: Subject,
    /// Only those of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<ComponentName>,
    /// Only this one, by its ENTRY.
    #[arg(long, value_name = "ID", value_parser = entry)]
    id: Option<String>,
    #[command(flatten)]
    options: Options,
}

impl Redrive {
    pub(super) fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let path = format!("/v1/streams/{}/redrive", self.subject);
            let request = RedriveRequest {
                group: self.group.clone(),
                id: self.id.clone(),
            };
            let redriven: Redriven = Client::of(&self.options)?.post(&path, &request).await?;
            self.options.print(&redriven, |done| self.text(*done))
        })
    }

    fn text(&self, done: Redriven) -> String {
        let subject = &self.subject;
        match done.redriven {
            0 => format!("{subject} has no dead letters"),
            1 => format!("1 dead letter of {subject} is back"),
            count => format!("{count} dead letters of {subject} are back"),
        }
    }
}
