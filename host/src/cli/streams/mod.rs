//! `wharf streams`: looking into streams, and helping them.

mod dead;
mod forget;
mod list;
mod message;
mod peek;
mod publish;
mod redrive;

use clap::{Args, Subcommand};

use super::operator::{self, Client, Options};
use crate::name::Subject;

/// Lists subjects and how their groups stand; shows, publishes and puts back messages.
///
/// LAG counts messages never delivered to the group, PENDING those delivered and not settled,
/// RETRIES those of the pending ones that wait for another attempt, OLDEST is the age of the oldest
/// that is not settled, DEAD counts dead letters.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        wharf streams\n  \
        wharf streams media.uploaded --output json\n  \
        wharf streams dead media.uploaded\n  \
        wharf streams redrive media.uploaded --id 17\n  \
        wharf streams publish media.uploaded --body '{\"id\": 7}' --header source=shell"
)]
pub struct Streams {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only this subject.
    subject: Option<Subject>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    Dead(dead::Dead),
    Redrive(redrive::Redrive),
    Peek(peek::Peek),
    Publish(publish::Publish),
    Forget(forget::Forget),
}

impl Streams {
    /// Lists, or does what is named.
    ///
    /// # Errors
    ///
    /// The host cannot be asked, or refuses.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            None => list::run(self.subject.as_ref(), &self.options),
            Some(Command::Dead(dead)) => dead.run(),
            Some(Command::Redrive(redrive)) => redrive.run(),
            Some(Command::Peek(peek)) => peek.run(),
            Some(Command::Publish(publish)) => publish.run(),
            Some(Command::Forget(forget)) => forget.run(),
        }
    }
}

/// Reads the name of an entry, as `peek` and `dead` print it: it stands in a query as it is.
fn entry(text: &str) -> Result<String, String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("use an ENTRY as `wharf streams peek` and `wharf streams dead` print it".to_owned())
    }
}
