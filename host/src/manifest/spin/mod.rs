//! Spin's manifest, `spin.toml`, of version 2.
//!
//! ```text
//! raw + supplied values -> variables -> components, routes, channels -> the application model
//! ```
//!
//! What Spin does is done: its routes, with the headers that it tells guests; `default` stores and
//! databases that the whole application shares; imports that nobody granted, which refuse when they are
//! called. What Wharf does otherwise, or not at all, is a warning or a problem that names the key.

mod component;
mod files;
mod names;
mod outbound;
mod raw;
mod runtime_config;
mod runtime_raw;
mod source;
mod triggers;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::de::DeTable;

use super::model::Application;
use super::supplied::Supplied;
use crate::document::{At, Located, Report};
use crate::name::ComponentName;
use component::Surroundings;
use raw::{Manifest, OrTable};
pub use runtime_config::{supplied, variable};
use triggers::{Callees, Named, Resolve};
use variables::Values;

/// What the manifests of Spin begin with, and of no other format.
const VERSION: &str = "spin_manifest_version";

/// What they began with before.
const OLD_VERSION: &str = "spin_version";

/// The version that is read.
const READ: u64 = 2;

/// Whether `text` is a manifest of Spin's, of whichever version.
pub(super) fn is_manifest(text: &str) -> bool {
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    table.contains_key(VERSION) || table.contains_key(OLD_VERSION)
}

/// Resolves the manifest `text`; relative paths in it are below `directory`, where files are looked for.
/// Whatever is wrong is reported; with nothing reported there is an application.
pub(super) fn application(
    text: &str,
    directory: &Path,
    supplied: &Supplied,
    report: &mut Report,
) -> Option<Application> {
    let raw: Manifest = if is_old(text) {
        let at = At {
            key: VERSION.to_owned(),
            line: None,
        };
        let what = "the manifest is not of version 2, which is the one that is read";
        report.problem(
            &at,
            what,
            "write it anew with `spin doctor`, which upgrades version 1",
        );
        return None;
    } else {
        report.read(text)?
    };
    if let Some(version) = &raw.spin_manifest_version
        && version.value != READ
    {
        let what = format!("there is no version {} that is read", version.value);
        report.problem(&version.at, what, "write 2");
    }
    resolve(&raw, directory, supplied, report)
}

/// Version 1 writes its number as a string, or under another key.
fn is_old(text: &str) -> bool {
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let version = table.get(VERSION).map(|version| version.get_ref());
    let number = version.and_then(|version| version.as_integer());
    table.contains_key(OLD_VERSION)
        || version.is_some_and(|version| version.as_str().is_some())
        || number.is_some_and(|number| number.as_str() == "1")
}

fn resolve(
    raw: &Manifest,
    directory: &Path,
    supplied: &Supplied,
    report: &mut Report,
) -> Option<Application> {
    let values = Values::of(raw, supplied, report);
    let callees = Callees::of(raw);
    let components = Written::of(raw, &callees, report);
    let known = components.named.values().map(|(name, _)| name.clone());
    let known: BTreeSet<ComponentName> = known.collect();
    let all = Surroundings {
        directory,
        components: &components.all,
        known: &known,
        values: &values,
        supplied,
    };
    let mut application = Application::new(name(raw, report)?);
    for (id, component) in &components.all {
        let Some((name, at)) = components.name_of(id, report) else {
            continue;
        };
        let resolved = component::component(&name, component, at, &all, report);
        if !components.is_run(id) {
            if !components.is_dependency(id) {
                let what = "no trigger leads to this component, and no other depends on it";
                report.warning(at, what, "add a trigger: it is not run");
            }
            continue;
        }
        if let Some(resolved) = resolved {
            application.provided_secrets.extend(resolved.secrets);
            application.components.insert(name, resolved.component);
        }
    }
    application.routes = triggers::routes(raw, &callees, &components, report);
    let bound = triggers::channels(raw, &callees, &components, &values, report);
    application.channels = bound.channels;
    application.subscriptions = bound.subscriptions;
    settings(raw, report);
    Some(application)
}

/// The application's name as a label.
fn name(raw: &Manifest, report: &mut Report) -> Option<String> {
    let name = raw.application.as_ref()?.value.name.as_ref()?;
    let label = names::plain(&name.value);
    if label.parse::<ComponentName>().is_err() {
        let what = format!(
            "{:?} has nothing of a name in it, or is too long",
            name.value
        );
        report.problem(
            &name.at,
            what,
            "write one with 1 to 63 letters, digits and hyphens",
        );
        return None;
    }
    Some(label)
}

/// A component's name as a label.
fn component_name(id: &str, at: &At, report: &mut Report) -> Option<ComponentName> {
    let name = names::plain(id).parse().ok();
    if name.is_none() {
        let what = format!("{id:?} is not a component's name");
        let fix = "use 1 to 63 letters and digits, in words joined by hyphens";
        report.problem(at, what, fix);
    }
    name
}

/// Settings of the whole application that are not what Spin 2 has.
fn settings(raw: &Manifest, report: &mut Report) {
    let Some(application) = &raw.application else {
        return;
    };
    let http = application.value.trigger.as_ref();
    let http = http.and_then(|trigger| trigger.value.http.as_ref());
    if let Some(base) = http.and_then(|http| http.value.base.as_ref())
        && base.value != "/"
    {
        let what = "there is no path that all routes begin with, as there is none in Spin any more";
        report.problem(&base.at, what, "write it into each route, and remove it");
    }
    if let Some(field) = &application.value.targets {
        let what = "is not checked: what counts is what this host provides";
        report.warning(&field.at, what, "run `wharf check` instead");
    }
    if let Some(triggers) = &raw.trigger
        && triggers.value.http.is_none()
        && triggers.value.redis.is_none()
    {
        let fix = "add [[trigger.http]] with a route and a component";
        report.problem(&triggers.at, "nothing calls a component", fix);
    }
}

/// The components that are written, in a table of their own or in a trigger.
struct Written<'a> {
    all: BTreeMap<&'a str, &'a raw::Component>,
    places: BTreeMap<&'a str, At>,
    /// Those that a trigger names.
    named: BTreeMap<&'a str, (ComponentName, &'a At)>,
    /// The identifiers that the manifest has, broken components included.
    ids: Vec<&'a str>,
}

impl<'a> Written<'a> {
    fn of(raw: &'a Manifest, callees: &'a Callees<'a>, report: &mut Report) -> Self {
        let mut written = Self {
            all: BTreeMap::new(),
            places: BTreeMap::new(),
            named: BTreeMap::new(),
            ids: Vec::new(),
        };
        for (Located { value: id, at }, component) in raw.component.iter().flat_map(|t| &t.value.0)
        {
            written.ids.push(id);
            written.places.insert(id, at.clone());
            if let Some(component) = component {
                written.all.insert(id, component);
            }
        }
        for named in callees.iter() {
            if let Some(component) = named.inline {
                written.all.insert(&named.id, component);
                written.ids.push(&named.id);
            }
            if written.ids.contains(&named.id.as_str()) {
                written.name(named, report);
            }
        }
        written
    }

    /// The component's name here, and where it is written.
    fn name_of(&self, id: &str, report: &mut Report) -> Option<(ComponentName, &At)> {
        if let Some((name, at)) = self.named.get(id) {
            return Some((name.clone(), *at));
        }
        let at = self.places.get(id)?;
        Some((component_name(id, at, report)?, at))
    }

    /// Whether it is part of what runs: a trigger leads to it, or it is a dependency that has to be
    /// built.
    fn is_run(&self, id: &str) -> bool {
        let built = |component: &&raw::Component| component.build.is_some();
        self.named.contains_key(id)
            || (self.all.get(id).is_some_and(built) && self.is_dependency(id))
    }

    /// Whether another component has it composed into it.
    fn is_dependency(&self, id: &str) -> bool {
        let dependencies = self
            .all
            .values()
            .flat_map(|component| &component.dependencies);
        let mut dependencies = dependencies.flat_map(|table| &table.value.0);
        dependencies.any(|(_, dependency)| {
            let Some(OrTable::Table(dependency)) = dependency else {
                return false;
            };
            let component = dependency.component.as_ref();
            component.is_some_and(|component| component.value == id)
        })
    }

    /// Gives a component that a trigger names its name here.
    fn name(&mut self, named: &'a Named<'a>, report: &mut Report) {
        let id = named.id.as_str();
        if self.named.contains_key(id) {
            return;
        }
        let Some(name) = component_name(id, named.at, report) else {
            return;
        };
        if self.named.values().any(|(other, _)| *other == name) {
            let what = format!("two components are called {name} here, where case does not count");
            report.problem(named.at, what, "rename one of the two");
        }
        self.named.insert(id, (name, named.at));
    }
}

impl Resolve for Written<'_> {
    fn component(&self, named: &Named<'_>, report: &mut Report) -> Option<ComponentName> {
        let id = named.id.as_str();
        if !self.ids.contains(&id) {
            let what = format!("there is no component {id:?}");
            report.unknown(named.at, what, id, &self.ids);
        }
        self.named.get(id).map(|(name, _)| name.clone())
    }
}
