//! Components: what they are made from, what they may use, what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::raw::{self, ComponentTool};
use super::source::{Components, origin};
use super::variables::{Values, check_name};
use super::{files, names, outbound};
use crate::document::{At, Located, Report, Wrong};
use crate::manifest::model::{
    Artifact, Build, Component, DatabaseSource, Grants, HostPattern, Limits, OutboundHost,
    ProvidedSecret, Secret, Variables,
};
use crate::manifest::resolve::component as own;
use crate::manifest::supplied::Supplied;
use crate::name::{ComponentName, SecretName, StoreLabel};

/// Linear memory of one instance: Spin has no limit, and this is what a host gives at most unless its
/// configuration says otherwise.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// What all components of a manifest are resolved with.
pub(super) struct Surroundings<'a> {
    /// The manifest's directory.
    pub directory: &'a Path,
    /// All components, by the manifest's identifiers.
    pub components: &'a Components<'a>,
    /// The same by Wharf's names, as far as triggers name them.
    pub known: &'a BTreeSet<ComponentName>,
    /// The application's variables.
    pub values: &'a Values,
    /// What the manifest is given.
    pub supplied: &'a Supplied,
}

/// What a component comes to, and the secrets that came with it.
pub(super) struct Resolved {
    /// The component.
    pub component: Component,
    /// Its secrets.
    pub secrets: BTreeMap<SecretName, ProvidedSecret>,
}

/// Resolves the component `raw`, which is at `at`.
pub(super) fn component(
    name: &ComponentName,
    raw: &raw::Component,
    at: &At,
    all: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Resolved> {
    let origin = origin(raw, at, all.directory, all.components, report);
    let build = raw.build.as_ref();
    let build = build.and_then(|build| self::build(&build.value, all.directory, report));
    let (variables, secrets) = variables(name, raw, all.values, report);
    let grants = grants(raw, all, report);
    let mounts = files::mount(raw, all.directory, report);
    unused(raw, report);
    let mut component = Component {
        build,
        grants,
        environment: environment(raw),
        variables: Some(variables),
        mounts: mounts.into_iter().collect(),
        route_headers: true,
        limits: spin_limits(),
        ..Component::new(name.clone(), Artifact::from_origin(origin?))
    };
    let tool = raw.tool.as_ref();
    if let Some(tool) = tool.and_then(|tools| tools.value.wharf.as_ref()) {
        told(&mut component, &tool.value, report);
    }
    Some(Resolved { component, secrets })
}

/// Spin limits neither memory nor bodies.
fn spin_limits() -> Limits {
    Limits {
        memory_bytes_max: MEMORY_BYTES_MAX,
        request_body_bytes_max: u64::MAX,
        ..Limits::default()
    }
}

/// What `tool.wharf` says of a component, as Wharf's own manifests do.
fn told(component: &mut Component, raw: &ComponentTool, report: &mut Report) {
    if let Some(limits) = &raw.limits {
        component.limits = own::limits(&limits.value, spin_limits(), report);
    }
    if let Some(reuse) = &raw.reuse {
        component.reuse = own::reuse(&reuse.value, report);
    }
    if let Some(drain) = &raw.drain {
        component.drain = own::drain(&drain.value, report);
    }
    if let Some(preemption) = &raw.preemption {
        component.preemption = preemption.value.0;
    }
    component.health = raw.health.as_ref().map(|health| health.value.0.clone());
}

fn build(raw: &raw::Build, directory: &Path, report: &mut Report) -> Option<Build> {
    let command = raw.command.as_ref()?;
    let commands = &command.value.0;
    let empty = |command: &String| command.trim().is_empty();
    if commands.is_empty() || commands.iter().any(empty) {
        report.problem(&command.at, "is empty", "write a shell command");
        return None;
    }
    let workdir = raw.workdir.as_ref();
    Some(Build {
        command: commands.join(" && "),
        workdir: match workdir {
            Some(workdir) => directory.join(&workdir.value),
            None => directory.to_owned(),
        },
        c_toolchain: false,
    })
}

fn environment(raw: &raw::Component) -> BTreeMap<String, String> {
    let entries = raw.environment.iter().flat_map(|table| &table.value.0);
    entries
        .filter_map(|(name, value)| Some((name.value.0.clone(), value.clone()?)))
        .collect()
}

/// The component's variables. A secret one becomes a secret of the component's own name.
fn variables(
    component: &ComponentName,
    raw: &raw::Component,
    values: &Values,
    report: &mut Report,
) -> (Variables, BTreeMap<SecretName, ProvidedSecret>) {
    let (mut variables, mut secrets) = (Variables::default(), BTreeMap::new());
    for (name, template) in raw.variables.iter().flat_map(|table| &table.value.0) {
        let Located { value: name, at } = name;
        check_name(name, at, report);
        let Some(template) = template else { continue };
        let Some(value) = values.fill(template, at, report) else {
            continue;
        };
        if !value.secret {
            variables.plain.insert(name.clone(), value.text);
            continue;
        }
        let secret = names::label(&format!("{component} {name}"));
        let secret: SecretName = secret.parse().expect("a label");
        let source = Secret {
            name: secret.clone(),
            generate: None,
        };
        variables.secrets.insert(name.clone(), source);
        secrets.insert(secret, ProvidedSecret(value.text));
    }
    (variables, secrets)
}

fn grants(raw: &raw::Component, all: &Surroundings<'_>, report: &mut Report) -> Grants {
    let stores = raw.key_value_stores.iter().flat_map(|list| &list.value);
    let stores = stores.map(|entry| {
        let label: StoreLabel = names::label(&entry.value).parse().expect("a label");
        (entry.value.clone(), label)
    });
    let databases = raw.sqlite_databases.iter().flat_map(|list| &list.value);
    let databases = databases.map(|entry| {
        let name = &entry.value;
        let source = match all.supplied.databases.get(name) {
            Some(path) => DatabaseSource::File(path.clone()),
            None => DatabaseSource::Own(names::label(name)),
        };
        (name.clone(), source)
    });
    let models = raw.ai_models.iter().flat_map(|list| &list.value);
    let models: BTreeSet<_> = models.map(|entry| entry.value.clone()).collect();
    if let (Some(field), false) = (&raw.ai_models, models.is_empty()) {
        let what = "there are no language models here: asking for one is answered with an error";
        report.warning(&field.at, what, "ask a service by HTTP, or live without");
    }
    Grants {
        stores: stores.collect(),
        sqlite: databases.collect(),
        ai_models: models,
        outbound: outbound_hosts(raw, all, report),
        refuse_when_called: true,
        ..Grants::default()
    }
}

fn outbound_hosts(
    raw: &raw::Component,
    all: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<OutboundHost> {
    let mut hosts: Vec<OutboundHost> = Vec::new();
    let mut add = |parsed: Result<Vec<OutboundHost>, Wrong>, at: &At, report: &mut Report| {
        let parsed = parsed.map_err(|wrong| report.problem(at, wrong.what, wrong.fix));
        for host in parsed.into_iter().flatten() {
            if let HostPattern::Component(name) = &host.host
                && !all.known.contains(name)
            {
                let known: Vec<&str> = all.known.iter().map(ComponentName::as_str).collect();
                let what = format!("no trigger leads to a component {:?}", name.as_str());
                report.unknown(at, what, name.as_str(), &known);
            }
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    };
    for entry in raw
        .allowed_outbound_hosts
        .iter()
        .flat_map(|list| &list.value)
    {
        let Some(filled) = all.values.fill(&entry.value, &entry.at, report) else {
            continue;
        };
        if filled.secret {
            let what =
                "what a component may use is kept where everybody who operates the host sees it";
            report.problem(&entry.at, what, "use a variable that is not secret");
            continue;
        }
        // An empty value is there only while nothing runs.
        if all.supplied.unused && filled.text != entry.value {
            continue;
        }
        add(
            outbound::parse(&filled.text).map(|host| vec![host]),
            &entry.at,
            report,
        );
    }
    for entry in raw.allowed_http_hosts.iter().flat_map(|list| &list.value) {
        add(outbound::parse_http(&entry.value), &entry.at, report);
    }
    hosts
}

/// Warns of keys that do nothing here.
fn unused(raw: &raw::Component, report: &mut Report) {
    if let Some(field) = &raw.profile {
        let what = "there are no profiles here: the component is built and run without one";
        report.warning(
            &field.at,
            what,
            "build a profile's artifact with a manifest of its own",
        );
    }
    if let Some(field) = &raw.targets {
        let what = "is not checked: what counts is what this host provides";
        report.warning(&field.at, what, "run `wharf check` instead");
    }
}
