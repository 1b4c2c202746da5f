//! `wharf streams publish`: a message by hand.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::{Client, Options, operator};
use crate::admin::streams::model::{MessageHeader, PublishRequest, Published};
use crate::capability::streams::MESSAGE_BYTES_MAX;
use crate::cli::operator::setting;
use crate::name::Subject;

/// Publishes a message, as a component would. Its body is standard input, unless it is named.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    wharf streams publish media.uploaded --body '{\"id\": 7}'\n  \
    wharf streams publish media.uploaded --file event.json --header source=shell\n  \
    jq -c .event log.json | wharf streams publish media.uploaded")]
pub(super) struct Publish {
    /// The subject. Something subscribes to it, or has published to it before.
    subject: Subject,
    /// The body.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    body: Option<String>,
    /// The file that has the body.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A header; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    header: Vec<(String, String)>,
    /// Where an answer is wanted.
    #[arg(long, value_name = "SUBJECT")]
    reply_to: Option<String>,
    #[command(flatten)]
    options: Options,
}

impl Publish {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (body, body_base64) = match String::from_utf8(self.read()?) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        let headers = self.header.iter().cloned();
        let request = PublishRequest {
            body,
            body_base64,
            headers: headers
                .map(|(name, value)| MessageHeader { name, value })
                .collect(),
            reply_to: self.reply_to.clone(),
        };
        operator::run(async {
            let path = format!("/v1/streams/{}/messages", self.subject);
            let published: Published = Client::of(&self.options)?.post(&path, &request).await?;
            self.options.print(&published, |published| {
                format!("{} is published to {}", published.id, self.subject)
            })
        })
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.body, &self.file) {
            (Some(body), _) => Ok(body.clone().into_bytes()),
            (None, Some(path)) => {
                let read = || bounded(File::open(path)?);
                read().with_context(|| format!("{} cannot be read", path.display()))
            }
            (None, None) => {
                bounded(std::io::stdin().lock()).context("standard input cannot be read")
            }
        }
    }
}

/// All of it, where it fits a message.
fn bounded(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut read = Vec::new();
    input
        .take(MESSAGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut read)?;
    anyhow::ensure!(
        read.len() <= MESSAGE_BYTES_MAX,
        "a message has {MESSAGE_BYTES_MAX} bytes at most: put what is larger into a blob, and publish its name"
    );
    Ok(read)
}
