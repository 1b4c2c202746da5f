//! The application manifest: what runs.
//!
//! ```text
//! application.toml -> raw, resolve \
//! spin.toml        -> spin          > model::Application
//! workload.yaml    -> wasmcloud    /
//! ```
//!
//! Each format is read into raw structs, which are resolved to the [`model`]'s [`Application`].
//! Everything wrong is reported at once. This is the only place that knows how a manifest is written;
//! where it runs is [`crate::config`]'s matter.

pub mod ambient;
pub mod defaults;
pub mod model;
pub mod origin;
pub mod supplied;

mod artifact;
mod channel;
mod forms;
mod outbound;
mod pattern;
mod raw;
mod resolve;
mod spin;
mod target;
mod wasmcloud;
mod wildcard;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::document::Report;
pub use crate::document::{Problem, Problems};
use model::Application;
pub use outbound::{INTERNAL_DOMAIN, SPIN_INTERNAL_DOMAIN, internal_component};
pub use spin::{supplied as spin_supplied, variable};
use supplied::Supplied;

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
    resolve(&text(path)?, path)
}

/// The manifest at `path`, with what other files beside it say where its format has it so.
///
/// Fails where it cannot be read.
pub fn text(path: &Path) -> Result<String, Problems> {
    let text = crate::document::text_of(path)?;
    Ok(match wasmcloud::is_yaml(path) {
        true => wasmcloud::with_neighbours(text, path),
        false => text,
    })
}

/// Whether `text` is a manifest whose variables are supplied from outside of it.
pub fn has_variables(text: &str) -> bool {
    spin::is_manifest(text)
}

/// Resolves the manifest `text`, which is what `file` contains. From the disk nothing is read but the
/// names of files that patterns in it match.
///
/// Fails with everything that is wrong with it.
pub fn resolve(text: &str, file: &Path) -> Result<Loaded, Problems> {
    resolve_with(text, file, &Supplied::default())
}

/// The same with what the manifest is given from outside of it.
pub fn resolve_with(text: &str, file: &Path, supplied: &Supplied) -> Result<Loaded, Problems> {
    // A file that is named alone lies where the process runs, and no command runs in an empty path.
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    if wasmcloud::is_yaml(file) {
        return wasmcloud::resolve(text, file, directory);
    }
    let mut report = Report::new(file, text);
    let application = if spin::is_manifest(text) {
        spin::application(text, directory, supplied, &mut report)
    } else {
        let raw = report.read(text);
        raw.and_then(|raw| resolve::application(&raw, directory, &mut report))
    };
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
