//! Following rollouts to where the command ends.

use anyhow::Context as _;
use futures::future::join_all;

use super::{AskError, Client, Progress};
use crate::name::RolloutId;
use crate::rollout::model::{Rollout, RolloutEvent, RolloutState};

/// How far a rollout is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Until {
    /// Until the new revision serves.
    Switched,
    /// Until the earlier one is gone.
    Completed,
}

impl Until {
    /// What `--no-wait` means.
    pub(in crate::cli) fn of(no_wait: bool) -> Self {
        if no_wait {
            Self::Switched
        } else {
            Self::Completed
        }
    }

    fn is_reached(self, state: RolloutState) -> bool {
        match self {
            Self::Switched => state != RolloutState::Running,
            Self::Completed => state.is_final(),
        }
    }
}

/// Shows a rollout's steps and returns what became of it. ^C ends the process, not the rollout.
pub(in crate::cli) async fn follow(
    client: &Client,
    rollout: RolloutId,
    until: Until,
) -> anyhow::Result<Rollout> {
    let watched = watched(client, rollout, until, Progress::alone());
    interruptible(&[rollout], watched).await
}

/// The same for several rollouts at once.
pub(in crate::cli) async fn follow_all(
    client: &Client,
    rollouts: &[Rollout],
    until: Until,
) -> anyhow::Result<Vec<Rollout>> {
    let names = rollouts.iter().map(|rollout| rollout.component.as_str());
    let width = names.map(str::len).max().unwrap_or_default();
    let ids: Vec<RolloutId> = rollouts.iter().map(|rollout| rollout.id).collect();
    let all = join_all(rollouts.iter().map(|rollout| {
        let progress = Progress::among(rollout.component.as_str(), width);
        watched(client, rollout.id, until, progress)
    }));
    let ended = interruptible(&ids, async { Ok(all.await) }).await?;
    ended.into_iter().collect()
}

async fn interruptible<T>(
    rollouts: &[RolloutId],
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        ended = work => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("^C cannot be handled")?;
            let ids: Vec<String> = rollouts.iter().map(ToString::to_string).collect();
            let ids = ids.join(", ");
            eprintln!("\nno longer watched: rollout {ids} goes on; `wharf rollouts` shows what becomes of it, `wharf rollouts --cancel ID` ends it before the switch");
            std::process::exit(130);
        }
    }
}

async fn watched(
    client: &Client,
    rollout: RolloutId,
    until: Until,
    mut progress: Progress,
) -> anyhow::Result<Rollout> {
    let broke = match watch(client, rollout, until, &mut progress).await {
        Ok(()) => None,
        Err(error @ (AskError::Broken { .. } | AskError::Silent { .. })) => Some(error),
        Err(error) => return Err(error.into()),
    };
    progress.clear();
    // The events may have broken off where the rollout did not.
    let lost = || {
        format!(
            "rollout {rollout} is no longer watched: `wharf rollouts` shows what became of it once the host runs"
        )
    };
    let record: Rollout = client
        .get(&format!("/v1/rollouts/{rollout}"))
        .await
        .with_context(lost)?;
    match broke {
        Some(error) if !until.is_reached(record.state) => {
            Err(anyhow::Error::from(error).context(lost()))
        }
        Some(_) | None => Ok(record),
    }
}

async fn watch(
    client: &Client,
    rollout: RolloutId,
    until: Until,
    progress: &mut Progress,
) -> Result<(), AskError> {
    let mut events = client.events(rollout).await?;
    while let Some(event) = events.next().await? {
        progress.event(&event);
        if let RolloutEvent::State { state, .. } = event
            && until.is_reached(state)
        {
            break;
        }
    }
    Ok(())
}

/// What became of a rollout, in a sentence: well, or not.
pub(in crate::cli) fn verdict(rollout: &Rollout) -> Result<String, String> {
    let component = &rollout.component;
    let reason = rollout
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    let serves = match rollout.from {
        Some(revision) => format!("revision {revision} still serves"),
        None => "nothing serves in its place".to_owned(),
    };
    let candidate = match rollout.to {
        Some(revision) => format!("revision {revision} of {component}"),
        None => format!("the new revision of {component}"),
    };
    let failed = |what: &str| Err(format!("{candidate} {what}{reason}\n  {serves}"));
    match rollout.state {
        RolloutState::Switched | RolloutState::Completed => {
            let earlier = match (rollout.from, rollout.state) {
                (Some(revision), RolloutState::Completed) => {
                    format!("; revision {revision} is released")
                }
                (Some(revision), _) => format!("; revision {revision} finishes what it has"),
                (None, _) => String::new(),
            };
            Ok(format!("{candidate} serves{earlier}"))
        }
        RolloutState::Refused => failed("was refused"),
        RolloutState::RolledBack => failed("was rolled back"),
        RolloutState::Superseded => failed("gave way to a later swap"),
        RolloutState::Cancelled => failed("was cancelled"),
        RolloutState::Interrupted => failed("was interrupted by the host's end"),
        RolloutState::Running => Err(format!(
            "rollout {} of {component} goes on: the host stopped telling about it",
            rollout.id
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Digest, RevisionId};
    use crate::rollout::model::Cause;

    fn rollout(state: RolloutState, from: Option<u64>, reason: Option<&str>) -> Rollout {
        Rollout {
            id: RolloutId(7),
            component: "hello".parse().expect("a name"),
            cause: Cause::Swap,
            by: "somebody".to_owned(),
            from: from.map(RevisionId),
            to: Some(RevisionId(4)),
            digest: Digest::of(b""),
            state,
            reason: reason.map(str::to_owned),
            began_at_ms: 0,
            ended_at_ms: None,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_says_what_serves() {
        let good = |state, from| verdict(&rollout(state, from, None)).expect("well");
        assert_eq!(
            good(RolloutState::Completed, Some(3)),
            "revision 4 of hello serves; revision 3 is released"
        );
        assert_eq!(
            good(RolloutState::Switched, Some(3)),
            "revision 4 of hello serves; revision 3 finishes what it has"
        );
        assert_eq!(
            good(RolloutState::Completed, None),
            "revision 4 of hello serves"
        );
        for state in [
            RolloutState::Refused,
            RolloutState::RolledBack,
            RolloutState::Superseded,
            RolloutState::Cancelled,
            RolloutState::Interrupted,
        ] {
            let bad = verdict(&rollout(state, Some(3), Some("it traps"))).expect_err("not well");
            assert!(bad.contains(": it traps"), "{bad}");
            assert!(bad.ends_with("revision 3 still serves"), "{bad}");
        }
        assert!(verdict(&rollout(RolloutState::Running, Some(3), None)).is_err());
    }

    #[test]
    fn following_ends_where_it_was_asked_to() {
        assert!(!Until::Switched.is_reached(RolloutState::Running));
        assert!(Until::Switched.is_reached(RolloutState::Switched));
        assert!(Until::Switched.is_reached(RolloutState::Refused));
        assert!(!Until::Completed.is_reached(RolloutState::Switched));
        assert!(Until::Completed.is_reached(RolloutState::Completed));
    }
}
