//! Components: artifact, limits, environment, volumes, what they may use.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::interfaces::Interfaces;
use super::layers::{Layer, merged};
use super::objects::{Objects, label, pairs};
use super::raw::{self, WorkloadSpec};
use super::{ROOT, hosts};
use crate::document::{At, Located, Report};
use crate::manifest::model::{
    Application, Artifact, Component, Grants, Mount, MountSource, Origin, Reuse, Source, Variables,
};
use crate::name::{ComponentName, ContainerName};

/// How long an idle instance of a pool is kept. wasmCloud keeps it for good; a minute covers the gaps of
/// steady traffic and gives memory back after it.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Adds every component that can be resolved to `application`.
pub(super) fn add_all(
    interfaces: &Interfaces,
    objects: &Objects,
    directory: &Path,
    application: &mut Application,
    report: &mut Report,
) {
    let Some(spec) = objects.workload.spec() else {
        return;
    };
    let volumes = volumes(spec, directory, report);
    let components = spec.components.iter().flat_map(|list| &list.value);
    let mut count = 0;
    for raw in components {
        count += 1;
        let Some(name) = raw
            .name
            .as_ref()
            .and_then(|name| Some((label(name, report)?, name)))
        else {
            continue;
        };
        let (name, written) = name;
        if application.components.contains_key(&name) {
            let what = format!("there is another component {name}");
            report.problem(&written.at, what, "give each component a name of its own");
        }
        let Some(component) = component(&name, raw, &volumes, directory, report) else {
            continue;
        };
        let component = with_layers(component, raw, interfaces, objects, application, report);
        application.by_export.components.push(name.clone());
        application.components.insert(name, component);
    }
    if count == 0 {
        let fix = "add components to the workload's spec";
        report.problem(&ROOT, "the workload has no component", fix);
    }
}

/// A service runs for as long as the workload and listens on its own loopback interface, and there is no
/// such thing here.
pub(super) fn refuse_service(spec: Option<&WorkloadSpec>, report: &mut Report) {
    if let Some(service) = spec.and_then(|spec| spec.service.as_ref()) {
        let what = "a component that runs for as long as the workload is not run here";
        let fix = "export wasi:http/incoming-handler or wasmcloud:messaging/handler from it, and make it one of the \
                   components";
        report.problem(&service.at, what, fix);
    }
}

fn component(
    name: &ComponentName,
    raw: &raw::Component,
    volumes: &BTreeMap<String, MountSource>,
    directory: &Path,
    report: &mut Report,
) -> Option<Component> {
    if let Some(secret) = &raw.imagePullSecret {
        let what = "has no effect: credentials are those of the Docker configuration";
        report.warning(&secret.at, what, "run `docker login`, or remove it");
    }
    if let Some(policy) = &raw.imagePullPolicy {
        let what = "has no effect: what has a digest is fetched once, and a tag is asked for again at each start";
        report.warning(&policy.at, what, "remove it");
    }
    let resources = raw
        .localResources
        .as_ref()
        .map(|resources| &resources.value);
    let mounts = mounts(resources, volumes, report);
    let grants = Grants {
        outbound: hosts::allowed(resources, report),
        ..Grants::default()
    };
    let image = raw.image.as_ref()?;
    Some(Component {
        grants,
        mounts,
        reuse: reuse(raw),
        ..Component::new(name.clone(), artifact(image, directory, report)?)
    })
}

/// Values of the environment and of the configuration, and what the host's interfaces grant.
fn with_layers(
    component: Component,
    raw: &raw::Component,
    interfaces: &Interfaces,
    objects: &Objects,
    application: &mut Application,
    report: &mut Report,
) -> Component {
    let resources = raw
        .localResources
        .as_ref()
        .map(|resources| &resources.value);
    let layer = resources.and_then(|resources| resources.environment.as_ref());
    let environment = layer.map(|layer| Layer::from(&layer.value));
    let environment = environment
        .map(|layer| layer.values(objects, application, report))
        .unwrap_or_default();
    let own = resources.and_then(|resources| resources.config.as_ref());
    let own = Variables {
        plain: pairs(own).collect(),
        ..Variables::default()
    };
    let variables = merged(merged(environment.clone(), interfaces.config.clone()), own);
    Component {
        grants: Grants {
            any: interfaces.any,
            ..component.grants
        },
        environment: environment.plain,
        secrets: environment.secrets,
        readable_secrets: interfaces.secrets.clone(),
        variables: Some(variables),
        ..component
    }
}

/// A pool keeps instances, each for so many requests; without one every request has its own.
fn reuse(raw: &raw::Component) -> Reuse {
    let limit = |field: &Option<Located<raw::Limit>>| field.as_ref().and_then(|f| f.value.0);
    if limit(&raw.poolSize).is_none() {
        return Reuse {
            requests_max: Some(1),
            ..Reuse::default()
        };
    }
    Reuse {
        requests_max: Some(limit(&raw.maxInvocations).unwrap_or(u32::MAX)),
        concurrent_max: limit(&raw.maxConcurrency).unwrap_or(1),
        idle_timeout: POOL_IDLE,
    }
}

/// A path where it looks like one, an OCI reference otherwise.
fn artifact(image: &Located<String>, directory: &Path, report: &mut Report) -> Option<Artifact> {
    let written = image.value.trim();
    let path = match written.strip_prefix("file://") {
        Some(path) => Some(path),
        None if Source::remote(written).is_some() => None,
        None => {
            let is_path = written.starts_with(['.', '/']) || written.ends_with(".wasm");
            is_path.then_some(written)
        }
    };
    if written.is_empty() || path == Some("") {
        let fix = "write a path, such as ./build/component.wasm, or an OCI reference";
        report.problem(&image.at, "names no image", fix);
        return None;
    }
    Some(match path {
        Some(path) => Artifact::file(directory.join(path)),
        None => {
            let source = Source::remote(written).unwrap_or_else(|| Source::Oci(written.to_owned()));
            Artifact::from_origin(Origin::of(source))
        }
    })
}

fn volumes(
    spec: &WorkloadSpec,
    directory: &Path,
    report: &mut Report,
) -> BTreeMap<String, MountSource> {
    let mut volumes = BTreeMap::new();
    for volume in spec.volumes.iter().flat_map(|list| &list.value) {
        let Some(name) = &volume.name else { continue };
        // A directory below the state directory is named like it.
        if label::<ContainerName>(name, report).is_none() {
            continue;
        }
        let path = volume
            .hostPath
            .as_ref()
            .map(|host| host.value.path.as_ref());
        let source = match (&volume.ephemeral, path) {
            (Some(_), None) => Some(MountSource::Ephemeral(name.value.clone())),
            (None, Some(path)) => {
                path.map(|path| MountSource::Directory(directory.join(&path.value)))
            }
            (Some(_), Some(_)) | (None, None) => {
                let what = format!(
                    "the volume {:?} must be either ephemeral or a hostPath",
                    name.value
                );
                report.problem(
                    &name.at,
                    what,
                    "write `ephemeral: {}` or `hostPath: {path: ...}`",
                );
                continue;
            }
        };
        // One that is broken is there nonetheless, so that mounts of it are not reported as well.
        let source = source.unwrap_or_else(|| MountSource::Ephemeral(name.value.clone()));
        if volumes.insert(name.value.clone(), source).is_some() {
            let what = format!("there is another volume {:?}", name.value);
            report.problem(&name.at, what, "give each volume a name of its own");
        }
    }
    volumes
}

fn mounts(
    resources: Option<&raw::LocalResources>,
    volumes: &BTreeMap<String, MountSource>,
    report: &mut Report,
) -> Vec<Mount> {
    let mounts = resources.and_then(|resources| resources.volumeMounts.as_ref());
    let mounts = mounts.into_iter().flat_map(|list| &list.value);
    mounts
        .filter_map(|mount| {
            let (name, path) = (mount.name.as_ref()?, mount.mountPath.as_ref()?);
            let known: Vec<&str> = volumes.keys().map(String::as_str).collect();
            let Some(source) = volumes.get(&name.value) else {
                let what = format!("there is no volume {:?}", name.value);
                report.unknown(&name.at, what, &name.value, &known);
                return None;
            };
            absolute(path, report).then(|| Mount {
                guest: path.value.clone(),
                source: source.clone(),
                writable: !mount.readOnly.as_ref().is_some_and(|flag| flag.value),
                digest: None,
            })
        })
        .collect()
}

fn absolute(path: &Located<String>, report: &mut Report) -> bool {
    let Located { value, at } = path;
    let at: &At = at;
    if !value.starts_with('/') {
        let what = format!("{value:?} is not an absolute path");
        report.problem(at, what, format!("write \"/{value}\""));
    }
    value.starts_with('/')
}
