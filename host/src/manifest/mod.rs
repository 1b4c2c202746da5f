//! The application manifest: what runs.
//!
//! A manifest is read into the raw structs of `raw`, which `resolve` turns into the [`model`]'s
//! [`Application`]. Everything wrong is reported at once. This is the only place that knows how a
//! manifest is written; where it runs is [`crate::config`]'s matter.

pub mod defaults;

mod forms;
pub mod model;
mod outbound;
mod pattern;
mod raw;
mod resolve;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::document::Report;
pub use crate::document::{Problem, Problems};
use model::Application;
pub use outbound::{INTERNAL_DOMAIN, SPIN_INTERNAL_DOMAIN, internal_component};

/// A valid manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub application: Application,
    /// What is allowed but looks unintended.
    pub warnings: Vec<Problem>,
}

/// Reads the manifest at `path`; relative paths in it are resolved against its directory.
///
/// Fails with everything that is wrong with it, or with the one problem that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let text = crate::document::text_of(path)?;
    resolve(&text, path)
}

/// Resolves the manifest `text`, which is what `file` contains; nothing is read from the disk.
///
/// Fails with everything that is wrong with it.
pub fn resolve(text: &str, file: &Path) -> Result<Loaded, Problems> {
    // A file that is named alone lies where the process runs, and no command runs in an empty path.
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let mut report = Report::new(file, text);
    let raw = report.read(text);
    let application = raw.and_then(|raw| resolve::application(&raw, directory, &mut report));
    let (application, warnings) = report.finish(application)?;
    Ok(Loaded {
        application,
        warnings,
    })
}

/// The JSON schema of manifests, for editors and other tools.
pub fn schema() -> serde_json::Value {
    crate::document::schema_of::<raw::Manifest>()
}
