//! Components: artifact, build, grants, environment, limits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Known;
use crate::document::{Located, Map, Report, SPAN_MIN, Short, Text};
use crate::manifest::forms::EnvironmentName;
use crate::manifest::model::{
    Access, Artifact, Build, Component, DatabaseSource, Drain, Grants, HostPattern, Limits, Origin,
    OutboundHost, Reuse, Secret, Source,
};
use crate::manifest::raw::{self, Manifest};
use crate::name::{ComponentName, DatabaseName};

/// A page of linear memory (WebAssembly core specification, section 2.5.4).
const PAGE_BYTES: usize = 64 << 10;

/// All that a 32-bit linear memory can address.
const MEMORY_BYTES_CEILING: usize = 4 << 30;

/// Every component that could be resolved.
pub(super) fn components(
    raw: &Manifest,
    directory: &Path,
    known: &Known<'_>,
    report: &mut Report,
) -> BTreeMap<ComponentName, Component> {
    let mut components = BTreeMap::new();
    let entries = raw.component.iter().flat_map(|table| &table.value.0);
    for (name, entry) in entries {
        let Some(entry) = entry else { continue };
        let component = component(&name.value, entry, directory, known, report);
        components.extend(component.map(|component| (name.value.clone(), component)));
    }
    components
}

fn component(
    name: &ComponentName,
    raw: &raw::Component,
    directory: &Path,
    known: &Known<'_>,
    report: &mut Report,
) -> Option<Component> {
    let artifact = artifact(raw.artifact.as_ref(), directory, report);
    let build = raw.build.as_ref();
    if let (Some(build), Some(artifact)) = (build, &artifact)
        && artifact.origin.is_some()
    {
        let what = "makes an artifact that is fetched";
        report.problem(&build.at, what, "remove it, or name the file that it makes");
    }
    let build = build.and_then(|build| self::build(&build.value, directory, report));
    let grants = raw.grants.as_ref();
    let grants = grants.map(|grants| self::grants(name, &grants.value, known, report));
    let environment = environment(raw.environment.as_ref());
    let secrets = secrets(raw.secrets.as_ref(), &environment, report);
    let limits = raw.limits.as_ref();
    let limits = limits.map(|limits| self::limits(&limits.value, Limits::default(), report));
    let reuse = raw.reuse.as_ref();
    let reuse = reuse.map(|reuse| self::reuse(&reuse.value, report));
    let preemption = raw.preemption.as_ref();
    let drain = raw.drain.as_ref();
    let drain = drain.map(|drain| self::drain(&drain.value, report));
    Some(Component {
        build,
        grants: grants.unwrap_or_default(),
        environment,
        secrets,
        limits: limits.unwrap_or_default(),
        preemption: preemption.map(|field| field.value.0).unwrap_or_default(),
        reuse: reuse.unwrap_or_default(),
        health: raw.health.as_ref().map(|health| health.value.0.clone()),
        drain: drain.unwrap_or_default(),
        ..Component::new(name.clone(), artifact?)
    })
}

fn artifact(
    raw: Option<&Located<Short<raw::Artifact>>>,
    directory: &Path,
    report: &mut Report,
) -> Option<Artifact> {
    let Short(raw) = &raw?.value;
    let written = raw.path.as_ref()?;
    let sha256 = raw.sha256.as_ref().map(|digest| digest.value.0);
    if let Some(source) = Source::remote(&written.value) {
        if let Some(wrong) = source.wrong() {
            let fix = "write a path, an http or https URL, or oci://HOST/NAME:TAG";
            report.problem(&written.at, wrong, fix);
            return None;
        }
        if matches!(source, Source::Url(_)) && sha256.is_none() {
            let what = "is fetched again at each start, whatever it then is";
            report.warning(&written.at, what, "pin it: { path = URL, sha256 = HEX }");
        }
        let origin = Origin {
            sha256,
            ..Origin::of(source)
        };
        return Some(Artifact::from_origin(origin));
    }
    let path = below(directory, written, report)?;
    Some(Artifact {
        sha256,
        ..Artifact::file(path)
    })
}

fn build(raw: &raw::Build, directory: &Path, report: &mut Report) -> Option<Build> {
    let workdir = match &raw.workdir {
        Some(workdir) => below(directory, workdir, report),
        None => Some(directory.to_owned()),
    };
    let command = raw.command.as_ref()?;
    if command.value.trim().is_empty() {
        report.problem(&command.at, "is empty", "write a shell command");
        return None;
    }
    Some(Build {
        command: command.value.clone(),
        workdir: workdir?,
        c_toolchain: raw.c_toolchain.as_ref().is_some_and(|flag| flag.value),
    })
}

/// The path that `written` names; absolute ones stay what they are.
fn below(directory: &Path, written: &Located<String>, report: &mut Report) -> Option<PathBuf> {
    if written.value.is_empty() {
        report.problem(&written.at, "is empty", "write a path");
        return None;
    }
    Some(directory.join(&written.value))
}

fn grants(
    component: &ComponentName,
    raw: &raw::Grants,
    known: &Known<'_>,
    report: &mut Report,
) -> Grants {
    let keyvalue = raw
        .keyvalue
        .as_ref()
        .map(|list| distinct(&list.value, report));
    let publish = raw
        .publish
        .as_ref()
        .map(|list| distinct(&list.value, report));
    let mut blobstore = BTreeMap::new();
    for grant in raw.blobstore.iter().flat_map(|list| &list.value) {
        let Short(blob) = &grant.value;
        let Some(container) = &blob.container else {
            continue;
        };
        let access = blob
            .access
            .as_ref()
            .map_or(Access::ReadWrite, |access| access.value.0);
        let Text(container) = &container.value;
        if blobstore.insert(container.clone(), access).is_some() {
            let what = format!("grants the container {container:?} a second time");
            report.problem(&grant.at, what, "keep one of the two");
        }
    }
    Grants {
        keyvalue: keyvalue.unwrap_or_default(),
        blobstore,
        publish: publish.unwrap_or_default(),
        outbound: outbound(raw, known, report),
        sqlite: databases(component, raw, report),
        ..Grants::default()
    }
}

/// The databases by their names, with a component's own under one that no manifest can give another.
fn databases(
    component: &ComponentName,
    raw: &raw::Grants,
    report: &mut Report,
) -> BTreeMap<String, DatabaseSource> {
    let names = raw.sqlite.as_ref();
    let names = names.map(|list| distinct(&list.value, report));
    let database = |name: DatabaseName| {
        let file = match name.as_str() {
            "default" => format!("component_{component}"),
            shared => shared.to_owned(),
        };
        (name.to_string(), DatabaseSource::Own(file))
    };
    names
        .unwrap_or_default()
        .into_iter()
        .map(database)
        .collect()
}

fn outbound(raw: &raw::Grants, known: &Known<'_>, report: &mut Report) -> Vec<OutboundHost> {
    let mut hosts = Vec::new();
    for entry in raw.outbound_http.iter().flat_map(|list| &list.value) {
        let Text(host) = &entry.value;
        if let HostPattern::Component(name) = &host.host {
            known.check(name, &entry.at, report);
        }
        if hosts.contains(host) {
            report.problem(
                &entry.at,
                format!("\"{host}\" is there twice"),
                "keep one of the two",
            );
        }
        hosts.push(host.clone());
    }
    hosts
}

/// The names of a list, which must differ.
fn distinct<T: Ord + Clone + std::fmt::Debug>(
    list: &[Located<Text<T>>],
    report: &mut Report,
) -> BTreeSet<T> {
    let mut names = BTreeSet::new();
    for entry in list {
        let Text(name) = &entry.value;
        if !names.insert(name.clone()) {
            report.problem(
                &entry.at,
                format!("{name:?} is there twice"),
                "keep one of the two",
            );
        }
    }
    names
}

fn environment(raw: Option<&Located<Map<EnvironmentName, String>>>) -> BTreeMap<String, String> {
    let entries = raw.into_iter().flat_map(|table| &table.value.0);
    let pair = |(name, value): &(Located<EnvironmentName>, Option<String>)| {
        Some((name.value.0.clone(), value.clone()?))
    };
    entries.filter_map(pair).collect()
}

fn secrets(
    raw: Option<&Located<Map<EnvironmentName, raw::Secret>>>,
    environment: &BTreeMap<String, String>,
    report: &mut Report,
) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for (variable, secret) in raw.into_iter().flat_map(|table| &table.value.0) {
        let EnvironmentName(name) = &variable.value;
        if environment.contains_key(name) {
            let what = "is a variable of the environment table, too";
            report.problem(&variable.at, what, "keep one of the two");
        }
        let source = secret.as_ref().and_then(|secret| {
            let Text(name) = &secret.name.as_ref()?.value;
            let generate = secret.generate.as_ref().map(|generate| generate.value.0);
            Some(Secret {
                name: name.clone(),
                generate,
            })
        });
        secrets.extend(source.map(|source| (name.clone(), source)));
    }
    secrets
}

/// Limits as `raw` has them; `default` where it leaves them out.
pub(in crate::manifest) fn limits(
    raw: &raw::Limits,
    default: Limits,
    report: &mut Report,
) -> Limits {
    let deadline = report.span(raw.deadline.as_ref(), SPAN_MIN, default.deadline);
    let idle = report.span(raw.response_idle.as_ref(), SPAN_MIN, default.response_idle);
    let body = report.size(raw.request_body.as_ref(), default.request_body_bytes_max);
    let headers = report.size(
        raw.request_headers.as_ref(),
        default.request_header_bytes_max,
    );
    Limits {
        memory_bytes_max: memory(raw, default.memory_bytes_max, report),
        deadline,
        response_idle: idle,
        instances_max: report.count(raw.instances.as_ref(), default.instances_max),
        queue_max: report.count(raw.queue.as_ref(), default.queue_max),
        request_body_bytes_max: body,
        request_header_bytes_max: headers,
    }
}

/// Linear memory grows by whole pages, so a limit is rounded up to them.
fn memory(raw: &raw::Limits, default: usize, report: &mut Report) -> usize {
    let bytes: usize = report.size(raw.memory.as_ref(), default);
    if let Some(field) = &raw.memory
        && bytes > MEMORY_BYTES_CEILING
    {
        let what = "is more than a component can address";
        report.problem(&field.at, what, "write \"4GiB\" at most");
        return default;
    }
    bytes.next_multiple_of(PAGE_BYTES)
}

/// How far instances are shared.
pub(in crate::manifest) fn reuse(raw: &raw::Reuse, report: &mut Report) -> Reuse {
    let default = Reuse::default();
    let requests = raw.requests.as_ref();
    let requests_max = requests.map(|requests| report.count(Some(requests), 1_u32));
    let concurrent_max = report.count(raw.concurrent.as_ref(), default.concurrent_max);
    if let (Some(requests), Some(concurrent)) = (requests_max, &raw.concurrent)
        && concurrent_max > requests
    {
        let what = format!("an instance that serves {requests} requests cannot serve more at once");
        report.problem(
            &concurrent.at,
            what,
            format!("write {requests} at most, or leave it out"),
        );
    }
    Reuse {
        requests_max,
        concurrent_max,
        idle_timeout: report.span(raw.idle.as_ref(), SPAN_MIN, default.idle_timeout),
    }
}

/// How long a replaced revision may take.
pub(in crate::manifest) fn drain(raw: &raw::Drain, report: &mut Report) -> Drain {
    let default = Drain::default();
    Drain {
        requests: report.span(raw.requests.as_ref(), SPAN_MIN, default.requests),
        deliveries: report.span(raw.deliveries.as_ref(), SPAN_MIN, default.deliveries),
    }
}
