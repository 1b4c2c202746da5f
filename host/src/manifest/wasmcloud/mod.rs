//! wasmCloud's manifest: a `WorkloadDeployment` or `Workload` of `runtime.wasmcloud.dev/v1alpha1`, with
//! the `ConfigMap`s and `Secret`s that it refers to, in one file or in files beside it.
//!
//! ```text
//! documents -> the workload, maps, secrets -> components, routes, subscriptions, grants
//! ```
//!
//! What Wharf does otherwise than wasmCloud is a warning that names the key. The workload's interfaces
//! do not say which component handles requests and messages: the artifacts do
//! ([`ByExport`](super::model::ByExport)).

mod component;
mod hosts;
mod interfaces;
mod layers;
mod objects;
mod raw;

#[cfg(test)]
mod tests;

use std::path::Path;

use super::model::Application;
use super::{Loaded, Problems};
use crate::document::{At, Report};
use objects::Objects;

/// The whole of a file.
const ROOT: At = At {
    key: String::new(),
    line: None,
};

/// Whether `file` is written in YAML.
pub(super) fn is_yaml(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| matches!(extension, "yaml" | "yml"))
}

/// Resolves the documents in `text`, which is what `file` contains; relative paths in it are below
/// `directory`.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(super) fn resolve(text: &str, file: &Path, directory: &Path) -> Result<Loaded, Problems> {
    let mut report = Report::new(file, text);
    let objects = Objects::read(text, &mut report);
    let application = objects.and_then(|objects| application(&objects, directory, &mut report));
    let (application, warnings) = report.finish(application)?;
    Ok(Loaded {
        application,
        warnings,
    })
}

/// The content of `file` with the documents of files beside it that it may refer to: those YAML files
/// that have nothing but `ConfigMap`s and `Secret`s in them.
pub(super) fn with_neighbours(text: String, file: &Path) -> String {
    objects::with_neighbours(text, file)
}

fn application(objects: &Objects, directory: &Path, report: &mut Report) -> Option<Application> {
    let spec = objects.workload.spec();
    let mut application = Application::new(objects.workload.name(report)?.to_string());
    objects.workload.warn(report);
    component::refuse_service(spec, report);
    let interfaces = interfaces::of(spec, objects, &mut application, report);
    component::add_all(&interfaces, objects, directory, &mut application, report);
    interfaces::bind(&interfaces, &mut application);
    Some(application)
}
