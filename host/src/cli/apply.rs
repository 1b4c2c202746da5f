//! `wharf apply`: makes a manifest true in a running host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use super::operator::{
    self, Client, Options, Output, Progress, Until, asker, bytes, follow_all, verdict,
};
use super::sources::{self, Sources};
use super::supplies::Supplies;
use super::up;
use crate::manifest::model::{Application, Component};
use crate::manifest::supplied::Supplied;
use crate::name::{ComponentName, Digest};
use crate::rollout::model::{ApplyPlan, ApplyRequest, Change, Rollout};
use crate::runtime;
use crate::toolchain;

/// Makes a manifest true in a running host, component by component, without losing a request.
///
/// What is missing is built or fetched first, as `wharf up` does. Components that stay as they are are not
/// touched. ^C ends watching, not the rollouts.
#[derive(Args)]
pub struct Apply {
    /// The application manifest.
    manifest: PathBuf,
    /// Say what would change, and change nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Do not build components, even if their sources are newer than their artifacts.
    #[arg(long)]
    no_build: bool,
    /// Return once the new revisions serve, and do not wait for the earlier ones to finish their work.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    supplies: Supplies,
    #[command(flatten)]
    options: Options,
}

impl Apply {
    /// Applies.
    ///
    /// # Errors
    ///
    /// The manifest is wrong, something cannot be built, the host cannot be asked, or a component's
    /// new revision does not serve in the end.
    pub fn run(self) -> anyhow::Result<()> {
        // What is sent is what was checked, whatever happens to the file meanwhile.
        let given = self.supplies.load(&self.manifest)?;
        let (text, loaded) = (given.text, given.loaded);
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let application = loaded.application;
        // A host that cannot be asked is told before anything is built.
        let client = Client::of(&self.options)?;
        if !self.no_build && application.components.values().any(toolchain::needs_build) {
            toolchain::build(&application, None, &mut toolchain::Console::stderr())?;
        }
        self.sources.provide(&application, sources::to_stderr)?;
        let application = up::bound(application)?;
        let problems = runtime::check_imports(&application);
        if !problems.is_empty() {
            anyhow::bail!("{}", problems.join("\n"));
        }
        operator::run(self.apply(client, (text, given.supplied), &application))
    }

    async fn apply(
        self,
        client: Client,
        (text, supplied): (String, Supplied),
        application: &Application,
    ) -> anyhow::Result<()> {
        let path = std::path::absolute(&self.manifest).unwrap_or_else(|_| self.manifest.clone());
        let request = ApplyRequest {
            manifest: text,
            supplied,
            path: path.display().to_string(),
            artifacts: upload_all(&client, application).await?,
            by: asker(),
            dry_run: self.dry_run,
        };
        let plan: ApplyPlan = client.post("/v1/application", &request).await?;
        if self.dry_run {
            self.options.print(&plan, plan_text)?;
            anyhow::ensure!(plan.problems.is_empty(), "the manifest would be refused");
            return Ok(());
        }
        anyhow::ensure!(
            plan.problems.is_empty(),
            "the manifest is refused:\n{}",
            plan.problems.join("\n")
        );
        eprint!("{}", plan_text(&plan));
        let mut begun: Vec<Rollout> = Vec::new();
        for id in &plan.rollouts {
            begun.push(client.get(&format!("/v1/rollouts/{id}")).await?);
        }
        let ended = follow_all(&client, &begun, Until::of(self.no_wait)).await?;
        self.report(&ended)
    }

    fn report(&self, rollouts: &[Rollout]) -> anyhow::Result<()> {
        if self.options.output == Output::Json {
            self.options.print(&rollouts, |_| String::new())?;
        }
        let mut failed = Vec::new();
        for rollout in rollouts {
            match verdict(rollout) {
                Ok(sentence) if self.options.output == Output::Text => println!("{sentence}"),
                Ok(_) => {}
                Err(sentence) => failed.push(sentence),
            }
        }
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(())
    }
}

/// Brings every component's artifact to the host; gives their digests.
async fn upload_all(
    client: &Client,
    application: &Application,
) -> anyhow::Result<BTreeMap<ComponentName, Digest>> {
    let mut digests = BTreeMap::new();
    for component in application.components.values() {
        let artifact = read(component)?;
        let digest = Digest::of(&artifact);
        let began = Instant::now();
        let stored = client.upload(artifact, digest).await?;
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        let detail = format!(
            "{}  {}  sha256:{}",
            component.name,
            bytes(stored.bytes),
            digest.short()
        );
        Progress::alone().done("upload", took_ms, &detail);
        digests.insert(component.name.clone(), digest);
    }
    Ok(digests)
}

/// The artifact of a component, which is the one that the manifest pins, if it pins one.
fn read(component: &Component) -> anyhow::Result<Vec<u8>> {
    let path = component.artifact.path.display();
    let artifact = std::fs::read(&component.artifact.path).with_context(|| {
        format!(
            "the artifact of component {}, {path}, cannot be read",
            component.name
        )
    })?;
    if let Some(pinned) = component.artifact.sha256 {
        let digest = Digest::of(&artifact);
        anyhow::ensure!(
            digest == pinned,
            "the artifact of component {}, {path}, has the digest sha256:{digest}, and the manifest pins sha256:{pinned}",
            component.name
        );
    }
    Ok(artifact)
}

fn plan_text(plan: &ApplyPlan) -> String {
    let mut text = String::new();
    let names = plan.components.iter().map(|c| c.component.as_str().len());
    let width = names.max().unwrap_or_default();
    for change in &plan.components {
        let (sign, word) = match change.change {
            Change::Added => ('+', "added"),
            Change::Changed => ('~', "changed"),
            Change::Removed => ('-', "removed"),
        };
        let name = change.component.as_str();
        let line = format!(
            "{sign} {name:<width$}  {word:<7}  {}",
            change.details.join(", ")
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for (title, lines) in [
        ("routes", &plan.routes),
        ("subscriptions", &plan.subscriptions),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
        }
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    for problem in &plan.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    if text.is_empty() {
        text.push_str("nothing changes: the application is what the manifest says\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::model::ComponentChange;

    #[test]
    fn a_plan_shows_what_comes_changes_and_goes() {
        let change = |name: &str, change, details: &[&str]| ComponentChange {
            component: name.parse().expect("a name"),
            change,
            details: details.iter().map(|&detail| detail.to_owned()).collect(),
        };
        let mut plan = ApplyPlan {
            components: vec![
                change("new", Change::Added, &[]),
                change(
                    "gateway",
                    Change::Changed,
                    &["artifact", "environment LOG_LEVEL"],
                ),
                change("old", Change::Removed, &[]),
            ],
            routes: vec!["+ /new/... new".to_owned()],
            subscriptions: Vec::new(),
            problems: vec!["it does not fit".to_owned()],
            rollouts: Vec::new(),
        };
        let expected = "\
+ new      added
~ gateway  changed  artifact, environment LOG_LEVEL
- old      removed
routes
  + /new/... new
problem: it does not fit
";
        assert_eq!(plan_text(&plan), expected);
        plan.components.clear();
        plan.routes.clear();
        plan.problems.clear();
        assert!(plan_text(&plan).starts_with("nothing changes"));
    }
}
