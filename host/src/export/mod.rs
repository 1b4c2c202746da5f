//! An application written down for another platform: pure text, nothing is read or run.
//!
//! Each target gives the files that it makes and what it cannot carry, which the files say as well,
//! in comments at their top. What is written is the same wherever it is written from: paths are relative
//! to the output directory.

mod docker;
mod kubernetes;
mod place;
mod spin;
mod toml;
mod wasmcloud;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::manifest::model::Application;
use crate::name::ComponentName;
pub use place::Place;

/// What is written for a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Text by file name.
    pub files: BTreeMap<String, String>,
    /// What the target cannot carry, and what somebody has to do before it runs: whole sentences.
    pub notes: Vec<String>,
}

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A `spin.toml`.
    Spin,
    /// A `WorkloadDeployment` for each component.
    Wasmcloud,
    /// Kubernetes objects that run Wharf itself.
    Kubernetes,
    /// A `Dockerfile` for an image of Wharf with the application.
    Docker,
}

/// An application, and what is known of it beside its manifest.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// What runs.
    pub application: &'a Application,
    /// Where the files go, and from where its own are seen.
    pub place: Place,
    /// What images begin with: `registry.example.com/media`.
    pub registry: String,
    /// The interfaces that each component imports, where its artifact was there.
    pub imports: BTreeMap<ComponentName, Vec<String>>,
    /// Components that have to be instantiated together, since one calls another by its interfaces.
    pub linked: Vec<(ComponentName, ComponentName)>,
    /// The component that makes Spin's interfaces of those that components of Wharf import.
    pub adapter: PathBuf,
    /// How long accepted work may take to finish when a host is told to stop.
    pub shutdown_grace: Duration,
}

/// Writes the application for `target`.
pub fn write(target: Target, subject: &Subject<'_>) -> Written {
    match target {
        Target::Spin => spin::write(subject),
        Target::Wasmcloud => wasmcloud::write(subject),
        Target::Kubernetes => kubernetes::write(subject),
        Target::Docker => docker::write(subject),
    }
}

/// The head of a file: who wrote it, and the notes.
fn head(target: &str, subject: &Subject<'_>, notes: &[String]) -> String {
    let manifest = subject.place.manifest();
    let mut head = format!(
        "# Written by `wharf export {target}` from {manifest}: change that, and export again.\n"
    );
    if !notes.is_empty() {
        head.push_str("#\n# What is not in it, and what is to be done:\n");
        for note in notes {
            head.push_str(&wrapped(note));
        }
    }
    head.push('\n');
    head
}

/// A note as lines of a comment, of a hundred characters at most.
fn wrapped(note: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("# -");
    for word in note.split_whitespace() {
        if line.len() + word.len() >= 100 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#  ");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}
