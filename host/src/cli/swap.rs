//! `wharf swap`: replaces a component of a running application.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::operator::{
    self, Client, Options, Output, Progress, Until, asker, bytes, follow, number, setting, verdict,
};
use super::sources::Sources;
use crate::name::{ComponentName, Digest};
use crate::rollout::model::{CanaryRequest, Plan, Rollout, Share, SwapRequest};

/// Replaces a component of a running application, without losing a request.
///
/// The artifact is brought to the host, verified and compiled there beside the revision that serves,
/// and takes over once it is ready. With --canary it gets a share of the work first, and the earlier
/// revision takes over again by itself if it fails more, traps more or is slower. ^C ends watching,
/// not the rollout.
#[derive(Args)]
pub struct Swap {
    /// The component.
    component: ComponentName,
    /// The new artifact: a file, an http or https URL, or oci://HOST/NAME:TAG. Without it the artifact
    /// stays, and only --config changes.
    artifact: Option<PathBuf>,
    /// The digest that the artifact must have.
    #[arg(long, value_name = "HEX", requires = "artifact")]
    sha256: Option<Digest>,
    /// An environment variable to set, on top of those that the component has; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// Shares of the work that the new revision gets first, one after another: `10%` or `1%,10%,50%`.
    #[arg(long, value_name = "SHARE", value_delimiter = ',')]
    canary: Vec<Share>,
    /// How long each share is watched.
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "canary", value_parser = humantime::parse_duration)]
    bake: Duration,
    /// Pieces of work on each side without which a share decides nothing. [default: 100]
    #[arg(long, value_name = "N", requires = "canary")]
    samples_min: Option<u64>,
    /// Say what it would do, and change nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Return once the new revision serves, and do not wait for the earlier one to finish its work.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    options: Options,
}

impl Swap {
    /// Swaps.
    ///
    /// # Errors
    ///
    /// The host cannot be asked, or the new revision does not serve in the end; the message says why.
    pub fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.artifact.is_some() || !self.config.is_empty(),
            "there is nothing to swap: name an artifact, or a variable with --config KEY=VALUE"
        );
        let client = Client::of(&self.options)?;
        let artifact = match &self.artifact {
            Some(named) => Some(self.sources.artifact(named, self.sha256)?),
            None => None,
        };
        operator::run(self.swap(client, artifact))
    }

    async fn swap(self, client: Client, artifact: Option<Vec<u8>>) -> anyhow::Result<()> {
        let artifact = match artifact {
            Some(artifact) => Some(upload(&client, artifact).await?),
            None => None,
        };
        let request = SwapRequest {
            artifact,
            config: self.config.iter().cloned().collect(),
            canary: self.canary(),
            by: asker(),
            dry_run: self.dry_run,
        };
        let path = format!("/v1/components/{}/rollouts", self.component);
        if self.dry_run {
            let plan: Plan = client.post(&path, &request).await?;
            self.options.print(&plan, plan_text)?;
            anyhow::ensure!(plan.problems.is_empty(), "the swap would be refused");
            return Ok(());
        }
        let rollout: Rollout = client.post(&path, &request).await?;
        let until = Until::of(self.no_wait);
        let rollout = follow(&client, rollout.id, until).await?;
        report(&self.options, &rollout)
    }

    fn canary(&self) -> Option<CanaryRequest> {
        (!self.canary.is_empty()).then(|| CanaryRequest {
            steps: self.canary.clone(),
            bake_ms: self.bake.as_millis().try_into().unwrap_or(u64::MAX),
            samples_min: self.samples_min,
        })
    }
}

/// Brings an artifact to the host.
async fn upload(client: &Client, artifact: Vec<u8>) -> anyhow::Result<Digest> {
    let digest = Digest::of(&artifact);
    let began = Instant::now();
    let stored = client.upload(artifact, digest).await?;
    let took_ms = began.elapsed().as_secs_f64() * 1000.0;
    let detail = format!("{}  sha256:{}", bytes(stored.bytes), digest.short());
    Progress::alone().done("upload", took_ms, &detail);
    Ok(digest)
}

/// Prints what became of a rollout; that it went wrong is the error.
pub(super) fn report(options: &Options, rollout: &Rollout) -> anyhow::Result<()> {
    match (options.output, verdict(rollout)) {
        (Output::Text, Ok(sentence)) => println!("{sentence}"),
        (Output::Text, Err(sentence)) => anyhow::bail!("{sentence}"),
        (Output::Json, verdict) => {
            options.print(rollout, |_| String::new())?;
            if let Err(sentence) = verdict {
                anyhow::bail!("{sentence}");
            }
        }
    }
    Ok(())
}

fn plan_text(plan: &Plan) -> String {
    let from = match plan.from_digest {
        Some(digest) => format!("revision {} sha256:{digest}", number(plan.from)),
        None => "nothing serves".to_owned(),
    };
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "component  {}\nfrom       {from}\nto         sha256:{}, {}\nshares     {}\n",
        plan.component,
        plan.digest,
        bytes(plan.bytes),
        steps.join(", then "),
    );
    if !plan.config_changes.is_empty() {
        text.push_str(&format!("config     {}\n", plan.config_changes.join(", ")));
    }
    let world = if plan.wit_diff.is_empty() {
        "unchanged"
    } else {
        "changes:"
    };
    text.push_str(&format!("world      {world}\n"));
    for line in plan.wit_diff.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    for problem in &plan.problems {
        text.push_str(&format!("problem    {problem}\n"));
    }
    text
}
