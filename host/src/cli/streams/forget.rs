//! `wharf streams forget`: a group that nobody is any more.

use clap::Args;

use super::{Client, Options, operator};
use crate::admin::streams::model::Forgotten;
use crate::name::{ComponentName, Subject};

/// Removes a group with its dead letters, and the messages that only it still owed.
///
/// A group that no subscription names any more holds messages until the subject is full. One that a
/// subscription of the host names is not forgotten. Where several hosts share the streams, see to it
/// that none of the others subscribes.
#[derive(Args)]
#[command(after_help = "Example:\n  wharf streams forget media.uploaded --group converter")]
pub(super) struct Forget {
    /// The subject.
    subject: Subject,
    /// The group.
    #[arg(long, value_name = "GROUP")]
    group: ComponentName,
    #[command(flatten)]
    options: Options,
}

impl Forget {
    pub(super) fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let path = format!("/v1/streams/{}/groups/{}", self.subject, self.group);
            let forgotten: Forgotten = Client::of(&self.options)?.delete(&path).await?;
            self.options.print(&forgotten, text)
        })
    }
}

fn text(forgotten: &Forgotten) -> String {
    format!(
        "group {} of {} is forgotten, with {} messages that it owed and {} dead letters",
        forgotten.group, forgotten.subject, forgotten.owed, forgotten.dead
    )
}
