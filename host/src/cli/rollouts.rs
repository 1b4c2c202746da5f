//! `wharf rollouts`: the history, and ending a rollout before its switch.

use clap::Args;

use super::operator::{self, Client, Options, Side, Table, ago, number, took};
use crate::name::{ComponentName, RolloutId};
use crate::rollout::model::{Cause, Rollout, RolloutState};

/// Lists rollouts, the newest first; or ends one that has not switched yet.
#[derive(Args)]
pub struct Rollouts {
    /// Only those of this component.
    #[arg(conflicts_with = "cancel")]
    component: Option<ComponentName>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// End this rollout; the revision that serves goes on serving.
    #[arg(long, value_name = "ID")]
    cancel: Option<RolloutId>,
    #[command(flatten)]
    options: Options,
}

impl Rollouts {
    /// Lists or cancels.
    ///
    /// # Errors
    ///
    /// The host cannot be asked, or it is too late to cancel.
    pub fn run(self) -> anyhow::Result<()> {
        operator::run(async {
            let client = Client::of(&self.options)?;
            if let Some(id) = self.cancel {
                let rollout: Rollout = client.delete(&format!("/v1/rollouts/{id}")).await?;
                return self.options.print(&rollout, cancelled);
            }
            let mut path = format!("/v1/rollouts?limit={}", self.limit);
            if let Some(component) = &self.component {
                path.push_str(&format!("&component={component}"));
            }
            let rollouts: Vec<Rollout> = client.get(&path).await?;
            self.options.print(&rollouts, |all| text(all))
        })
    }
}

fn cancelled(rollout: &Rollout) -> String {
    let serves = match rollout.from {
        Some(revision) => format!("; revision {revision} still serves"),
        None => String::new(),
    };
    format!(
        "rollout {} of {} is cancelled{serves}",
        rollout.id, rollout.component
    )
}

fn text(rollouts: &[Rollout]) -> String {
    let mut table = Table::new(&[
        ("ROLLOUT", Side::Right),
        ("COMPONENT", Side::Left),
        ("CAUSE", Side::Left),
        ("FROM", Side::Right),
        ("TO", Side::Right),
        ("DIGEST", Side::Left),
        ("STATE", Side::Left),
        ("BEGAN", Side::Left),
        ("TOOK", Side::Right),
        ("BY", Side::Left),
        ("REASON", Side::Left),
    ]);
    for rollout in rollouts {
        let lasted = rollout
            .ended_at_ms
            .map(|ended| ended.saturating_sub(rollout.began_at_ms));
        table.row([
            rollout.id.to_string(),
            rollout.component.to_string(),
            cause(rollout.cause).to_owned(),
            number(rollout.from),
            number(rollout.to),
            rollout.digest.short(),
            state(rollout.state).to_owned(),
            ago(rollout.began_at_ms),
            number(lasted.map(|ms| took(ms as f64))),
            rollout.by.clone(),
            // The rest, a difference in WIT, is in `--output json`.
            first_line(rollout.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table.text()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

pub(super) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Start => "start",
        Cause::Swap => "swap",
        Cause::Rollback => "rollback",
        Cause::Apply => "apply",
        Cause::Watch => "watch",
    }
}

fn state(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Running => "running",
        RolloutState::Switched => "switched",
        RolloutState::Completed => "completed",
        RolloutState::Refused => "refused",
        RolloutState::RolledBack => "rolled back",
        RolloutState::Superseded => "superseded",
        RolloutState::Cancelled => "cancelled",
        RolloutState::Interrupted => "interrupted",
    }
}
