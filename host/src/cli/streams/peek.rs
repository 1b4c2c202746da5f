//! `wharf streams peek`: what a subject holds.

use clap::Args;

use super::message::{body, headers};
use super::{Client, Options, entry, operator};
use crate::admin::streams::model::HeldMessage;
use crate::cli::operator::{Side, Table, ago, bytes};
use crate::name::Subject;

/// Shows messages that a subject holds, the oldest first. None is delivered by it.
///
/// A subject holds what some group has not settled yet. `--output json` has 4096 bytes of each body,
/// or with --full all of it.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    wharf streams peek media.uploaded\n  \
    wharf streams peek media.uploaded --after 17 --limit 1 --full --output json")]
pub(super) struct Peek {
    /// The subject.
    subject: Subject,
    /// Only what follows this one, by its ENTRY.
    #[arg(long, value_name = "ID", value_parser = entry)]
    after: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Bodies whole.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    options: Options,
}

impl Peek {
    pub(super) fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let mut path = format!(
                "/v1/streams/{}/messages?limit={}&full={}",
                self.subject, self.limit, self.full
            );
            if let Some(after) = &self.after {
                path.push_str(&format!("&after={after}"));
            }
            let held: Vec<HeldMessage> = Client::of(&self.options)?.get(&path).await?;
            self.options.print(&held, |all| self.text(all))
        })
    }

    fn text(&self, held: &[HeldMessage]) -> String {
        if held.is_empty() {
            let after = self.after.as_ref();
            let after = after.map_or_else(String::new, |after| format!(" after {after}"));
            return format!("{} holds no messages{after}", self.subject);
        }
        let mut table = Table::new(&[
            ("ENTRY", Side::Left),
            ("PUBLISHED", Side::Left),
            ("SIZE", Side::Right),
            ("HEADERS", Side::Left),
            ("BODY", Side::Left),
        ]);
        for message in held {
            table.row([
                message.entry.clone(),
                ago(message.published_at_ms),
                bytes(message.message.body_bytes),
                headers(&message.message),
                body(&message.message),
            ]);
        }
        table.text()
    }
}
