//! From the raw manifest to the application model: paths, defaults, and everything that one part
//! of a manifest must know of another.

mod binding;
pub(in crate::manifest) mod component;
mod reach;

use std::path::Path;

use super::model::Application;
use super::raw::Manifest;
use crate::document::{At, Located, Report, Text};
use crate::name::ComponentName;

/// Resolves `raw`, whose relative paths are below `directory`. Whatever is wrong is reported; with
/// nothing reported there is an application.
pub(super) fn application(
    raw: &Manifest,
    directory: &Path,
    report: &mut Report,
) -> Option<Application> {
    let known = Known::of(raw, report);
    let components = component::components(raw, directory, &known, report);
    let routes = binding::routes(raw, &known, report);
    let subscriptions = binding::subscriptions(raw, &known, report);
    let streams = binding::streams(raw, report);
    let name = &raw.application.as_ref()?.value.name;
    let application = Application {
        components,
        routes,
        subscriptions,
        streams,
        ..Application::new(name.as_ref()?.value.0.0.clone())
    };
    reach::warn(raw, &application, report);
    Some(application)
}

/// The names of the components that the manifest has, the broken ones included.
struct Known<'a>(Vec<&'a str>);

impl<'a> Known<'a> {
    fn of(raw: &'a Manifest, report: &mut Report) -> Self {
        let Some(table) = &raw.component else {
            return Self(Vec::new());
        };
        if table.value.0.is_empty() {
            let fix = "add [component.NAME] with an artifact";
            report.problem(&table.at, "the application has no component", fix);
        }
        let names = table.value.0.iter();
        Self(names.map(|(name, _)| name.value.as_str()).collect())
    }

    /// The component that `reference` names; one that does not exist is reported.
    fn component(
        &self,
        reference: Option<&Located<Text<ComponentName>>>,
        report: &mut Report,
    ) -> Option<ComponentName> {
        let reference = reference?;
        let Text(name) = &reference.value;
        self.check(name, &reference.at, report)
            .then(|| name.clone())
    }

    /// Whether the component `name` exists; reported where it does not.
    fn check(&self, name: &ComponentName, at: &At, report: &mut Report) -> bool {
        let exists = self.0.contains(&name.as_str());
        if !exists {
            let what = format!("there is no component {:?}", name.as_str());
            report.unknown(at, what, name.as_str(), &self.0);
        }
        exists
    }
}
