//! A rollout's steps on standard error: a line for each that ended, and on a terminal one more for
//! the one at work, which is written over.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::words::took;
use crate::rollout::model::{RolloutEvent, Step, StepDone};

/// How often a step's progress is shown where lines stay.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// Characters of a line that is written over: a longer one would break, and stay.
const LINE_CHARS_MAX: usize = 78;

/// Where the steps of one rollout, or of several, are shown.
pub(in crate::cli) struct Progress {
    /// What stands in front of each line; empty where only one rollout is shown.
    prefix: String,
    /// Lines may be written over.
    over: bool,
    /// When the step's progress was shown last.
    shown: Option<(Step, Instant)>,
}

impl Progress {
    /// For one rollout.
    pub(in crate::cli) fn alone() -> Self {
        Self {
            prefix: String::new(),
            over: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    /// For one rollout among several, which is told by its name.
    pub(super) fn among(name: &str, width: usize) -> Self {
        Self {
            prefix: format!("{name:<width$}  "),
            over: false,
            shown: None,
        }
    }

    /// Shows that something beside the rollout's own steps is done.
    pub(in crate::cli) fn done(&mut self, what: &str, took_ms: f64, detail: &str) {
        self.keep(&line(what, "ok", &took(took_ms), detail));
    }

    pub(super) fn event(&mut self, event: &RolloutEvent) {
        match event {
            RolloutEvent::Began { step, detail } => {
                self.at_work(*step, detail.as_deref().unwrap_or_default());
            }
            RolloutEvent::Progress { step, detail } => self.at_work(*step, detail),
            RolloutEvent::Done(done) => self.keep(&done_line(done)),
            // What became of it is the command's result.
            RolloutEvent::State { .. } => self.clear(),
        }
    }

    fn at_work(&mut self, step: Step, detail: &str) {
        let text = line(name(step), "...", "", detail);
        if self.over {
            let text: String = text.chars().take(LINE_CHARS_MAX).collect();
            eprint!("\r\x1b[2K{text}");
            return;
        }
        // Short steps are told when they end; of the others a log needs a line now and then.
        let recent = |(shown, at): (Step, Instant)| shown == step && at.elapsed() < SHOWN_EVERY;
        if !detail.is_empty() && !self.shown.is_some_and(recent) {
            self.shown = Some((step, Instant::now()));
            self.keep(&text);
        }
    }

    fn keep(&mut self, text: &str) {
        self.clear();
        eprintln!("{}{text}", self.prefix);
    }

    /// Takes away the line that is written over.
    pub(super) fn clear(&mut self) {
        if self.over {
            eprint!("\r\x1b[2K");
        }
    }
}

fn done_line(done: &StepDone) -> String {
    let detail = done.detail.as_deref().unwrap_or_default();
    line(name(done.step), "ok", &took(done.took_ms), detail)
}

fn line(what: &str, state: &str, took: &str, detail: &str) -> String {
    let detail = detail.replace(|c: char| c.is_control(), " ");
    let text = format!("{what:<8}  {state:<3}  {took:>9}   {detail}");
    text.trim_end().to_owned()
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Queue => "queue",
        Step::Verify => "verify",
        Step::Compile => "compile",
        Step::Prewarm => "prewarm",
        Step::Migrate => "migrate",
        Step::Canary => "canary",
        Step::Switch => "switch",
        Step::Drain => "drain",
        Step::Retire => "retire",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_under_each_other() {
        let done = |step, took_ms, detail: Option<&str>| {
            done_line(&StepDone {
                step,
                took_ms,
                detail: detail.map(str::to_owned),
            })
        };
        assert_eq!(
            done(Step::Verify, 3.0, Some("world unchanged")),
            "verify    ok        3 ms   world unchanged"
        );
        assert_eq!(
            done(Step::Compile, 1234.0, None),
            "compile   ok       1.2 s"
        );
        assert_eq!(
            line("canary", "...", "", "10% for 30s"),
            "canary    ...              10% for 30s"
        );
    }
}
