//! What `wharf up --watch` shows: a line when a change is seen, a line when it serves, and what went
//! wrong where it does not.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::name::{ComponentName, RevisionId};
use crate::rollout::model::{ApplyPlan, Change, StepDone};

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Standard error, with colours where it is a terminal.
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    /// Standard error.
    pub(super) fn stderr() -> Self {
        Self {
            colours: io::stderr().is_terminal(),
        }
    }

    /// Everything is ready for changes.
    pub(super) fn watching(&self, components: usize) {
        let plural = if components == 1 { "" } else { "s" };
        let text = format!("the sources of {components} component{plural} and the manifest");
        self.line("watching", BOLD, &text);
    }

    /// Something was saved, and this is done about it.
    pub(super) fn changed(&self, name: &str, file: Option<&Path>, doing: &str) {
        let file = match file {
            Some(file) => format!("{} was saved", shortened(file)),
            None => "its sources are newer".to_owned(),
        };
        self.line(name, BOLD, &format!("{file}, {doing} ..."));
    }

    /// A build gave what serves already.
    pub(super) fn unchanged(&self, name: &str, built: Duration) {
        let text = format!("built in {}; it is what serves already", time(built));
        self.line(name, BOLD, &text);
    }

    /// What a manifest changes.
    pub(super) fn applies(&self, plan: &ApplyPlan) {
        for change in &plan.components {
            let what = match change.change {
                Change::Added => "is added",
                Change::Changed => "is changed",
                Change::Removed => "is removed",
            };
            let details = if change.details.is_empty() {
                String::new()
            } else {
                format!(": {}", change.details.join(", "))
            };
            self.line(change.component.as_str(), BOLD, &format!("{what}{details}"));
        }
        for route in &plan.routes {
            self.line("route", BOLD, route);
        }
        for subscription in &plan.subscriptions {
            self.line("subscription", BOLD, subscription);
        }
        let changes = plan.components.len() + plan.routes.len() + plan.subscriptions.len();
        if changes == 0 {
            self.line("manifest", BOLD, "it says what is true already");
        }
    }

    /// A revision serves, with the times of the steps to there.
    pub(super) fn serves(
        &self,
        component: &ComponentName,
        revision: Option<RevisionId>,
        after: Duration,
        built: Option<Duration>,
        steps: &[StepDone],
    ) {
        let times = times(built, steps);
        let revision =
            revision.map_or_else(String::new, |revision| format!("revision {revision} "));
        let (dim, plain) = self.of(DIM);
        let text = format!(
            "{revision}serves after {} {dim}({times}){plain}",
            time(after)
        );
        self.line(component.as_str(), GREEN, &text);
    }

    /// Why something that was saved does not serve, and what does.
    pub(super) fn failed(&self, name: &str, reason: &str, serving: &str) {
        let mut lines = reason.trim_end().lines();
        let reason = match (lines.next(), lines.next()) {
            // What a compiler says stands for itself, unchanged.
            (Some(_), Some(_)) => {
                self.print(&format!("{}\n", reason.trim_end()));
                "the saved version is not taken: see above"
            }
            (Some(line), None) => line,
            (None, _) => "the saved version is not taken",
        };
        self.line(name, RED, &format!("{reason}; {serving}"));
    }

    fn line(&self, name: &str, colour: &str, text: &str) {
        let (colour, plain) = self.of(colour);
        self.print(&format!("  {colour}{name}{plain}  {text}\n"));
    }

    fn of<'a>(&self, colour: &'a str) -> (&'a str, &'a str) {
        if self.colours {
            (colour, PLAIN)
        } else {
            ("", "")
        }
    }

    /// In one piece, so that log lines do not come between. What cannot be shown is not worth ending
    /// for.
    fn print(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// A file as a person thinks of it: from where they stand.
fn shortened(file: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let below = here
        .ok()
        .and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
    below.as_deref().unwrap_or(file).display().to_string()
}

fn times(built: Option<Duration>, steps: &[StepDone]) -> String {
    let built = built.map(|took| format!("build {}", time(took)));
    let steps = steps.iter().map(|step| {
        let name = format!("{:?}", step.step).to_ascii_lowercase();
        let took = time(Duration::from_secs_f64(step.took_ms.max(0.0) / 1e3));
        format!("{name} {took}")
    });
    built
        .into_iter()
        .chain(steps)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Three digits are what a person can compare.
fn time(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        10.0..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::model::Step;

    #[test]
    fn times_are_as_a_person_reads_them() {
        let time = |ms| super::time(Duration::from_micros(ms));
        assert_eq!(time(420), "0.4 ms");
        assert_eq!(time(141_200), "141 ms");
        assert_eq!(time(1_312_000), "1.31 s");
        let steps =
            [(Step::Compile, 141.2), (Step::Switch, 2.25)].map(|(step, took_ms)| StepDone {
                step,
                took_ms,
                detail: None,
            });
        let text = times(Some(Duration::from_millis(900)), &steps);
        assert_eq!(text, "build 900 ms, compile 141 ms, switch 2.2 ms");
    }
}
