//! `wharf streams dead`: what was given up, and why.

use clap::Args;

use super::message::{beginning, body, headers};
use super::{Client, Options, operator};
use crate::admin::streams::model::DeadMessage;
use crate::cli::operator::{Side, Table, ago};
use crate::name::{ComponentName, Subject};

/// Characters of a reason that a line has room for: most errors whole.
const REASON_CHARS: usize = 160;

/// Shows the dead letters of a subject with their reasons, group by group, the oldest first.
///
/// `--output json` has reasons whole, and 4096 bytes of each body, or with --full all of it.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    wharf streams dead media.uploaded\n  \
    wharf streams dead media.uploaded --group converter --limit 200 --output json")]
pub(super) struct Dead {
    /// The subject.
    subject: Subject,
    /// Only those of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<ComponentName>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Bodies whole.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    options: Options,
}

impl Dead {
    pub(super) fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let mut path = format!(
                "/v1/streams/{}/dead?limit={}&full={}",
                self.subject, self.limit, self.full
            );
            if let Some(group) = &self.group {
                path.push_str(&format!("&group={group}"));
            }
            let dead: Vec<DeadMessage> = Client::of(&self.options)?.get(&path).await?;
            self.options.print(&dead, |all| text(&self.subject, all))
        })
    }
}

fn text(subject: &Subject, dead: &[DeadMessage]) -> String {
    if dead.is_empty() {
        return format!("{subject} has no dead letters");
    }
    let mut table = Table::new(&[
        ("ENTRY", Side::Left),
        ("GROUP", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("PUBLISHED", Side::Left),
        ("DIED", Side::Left),
        ("REASON", Side::Left),
        ("HEADERS", Side::Left),
        ("BODY", Side::Left),
    ]);
    for letter in dead {
        table.row([
            letter.entry.clone(),
            letter.group.to_string(),
            letter.attempts.to_string(),
            ago(letter.published_at_ms),
            ago(letter.died_at_ms),
            beginning(&letter.reason, REASON_CHARS),
            headers(&letter.message),
            body(&letter.message),
        ]);
    }
    table.text()
}
