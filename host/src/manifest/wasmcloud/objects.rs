//! The objects of a file, by what they are.

use std::collections::BTreeMap;
use std::path::Path;

use super::raw::{self, ConfigMap, Secret, Texts, WorkloadSpec};
use super::{ROOT, is_yaml};
use crate::document::{At, Document, Located, Report};
use crate::name::ComponentName;

/// The group and version of workloads.
const API_VERSION: &str = "runtime.wasmcloud.dev/v1alpha1";

/// The group and version of wasmCloud 1 manifests.
const OLD_API_VERSION: &str = "core.oam.dev/v1beta1";

/// One workload and what it may refer to.
pub(super) struct Objects {
    pub workload: Workload,
    maps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
}

/// What runs.
pub(super) enum Workload {
    Deployment(Box<raw::WorkloadDeployment>),
    Single(Box<raw::Workload>),
}

impl Objects {
    /// Reads every document; what is wrong is reported.
    pub fn read(text: &str, report: &mut Report) -> Option<Self> {
        let documents = report.yaml_documents(text)?;
        let mut workload = None;
        let (mut maps, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for document in &documents {
            let at = At {
                line: Some(report.line_of(&document.span())),
                ..ROOT
            };
            match (text_of(document, "apiVersion"), text_of(document, "kind")) {
                (Some(API_VERSION), Some("WorkloadDeployment")) => {
                    let read = report.read_yaml(document, &ROOT).map(Box::new);
                    take(&mut workload, read.map(Workload::Deployment), &at, report);
                }
                (Some(API_VERSION), Some("Workload")) => {
                    let read = report.read_yaml(document, &ROOT).map(Box::new);
                    take(&mut workload, read.map(Workload::Single), &at, report);
                }
                (Some("v1"), Some("ConfigMap")) => {
                    let read: Option<ConfigMap> = report.read_yaml(document, &ROOT);
                    let named = read.and_then(|map| Some((name_of(&map.metadata)?, map)));
                    maps.extend(named);
                }
                (Some("v1"), Some("Secret")) => {
                    let read: Option<Secret> = report.read_yaml(document, &ROOT);
                    let named = read.and_then(|secret| Some((name_of(&secret.metadata)?, secret)));
                    secrets.extend(named);
                }
                (version, kind) => refuse(version, kind, &at, report),
            }
        }
        if workload.is_none() && !documents.iter().any(is_workload) {
            let fix = format!("add a WorkloadDeployment of {API_VERSION}");
            report.problem(&ROOT, "there is no workload in it", fix);
        }
        Some(Self {
            workload: workload?,
            maps,
            secrets,
        })
    }

    /// The values of a `ConfigMap`.
    pub fn map(
        &self,
        reference: &Located<String>,
        report: &mut Report,
    ) -> BTreeMap<String, String> {
        let Some(map) = self.maps.get(&reference.value) else {
            missing("ConfigMap", reference, report);
            return BTreeMap::new();
        };
        if let Some(binary) = &map.binaryData {
            let what = "values that are no text are given to no component";
            report.warning(&binary.at, what, "put text into data");
        }
        pairs(map.data.as_ref()).collect()
    }

    /// The values of a `Secret`. They are never shown: a value that is wrong is told by its key.
    pub fn secret(
        &self,
        reference: &Located<String>,
        report: &mut Report,
    ) -> BTreeMap<String, String> {
        let Some(secret) = self.secrets.get(&reference.value) else {
            missing("Secret", reference, report);
            return BTreeMap::new();
        };
        let mut values = BTreeMap::new();
        for (key, encoded) in secret.data.iter().flat_map(|data| &data.value.0) {
            let Some(encoded) = encoded else { continue };
            match decoded(encoded) {
                Some(value) => drop(values.insert(key.value.clone(), value)),
                None => report.problem(
                    &key.at,
                    "is not text in Base64",
                    "encode it with `base64`, or write it as it is into stringData",
                ),
            }
        }
        // Kubernetes writes stringData over data.
        values.extend(pairs(secret.stringData.as_ref()));
        values
    }
}

impl Workload {
    pub fn spec(&self) -> Option<&WorkloadSpec> {
        match self {
            Self::Deployment(deployment) => {
                let template = &deployment.spec.as_ref()?.value.template;
                Some(&template.as_ref()?.value.spec.as_ref()?.value)
            }
            Self::Single(workload) => Some(&workload.spec.as_ref()?.value),
        }
    }

    /// The application's name.
    pub fn name(&self, report: &mut Report) -> Option<ComponentName> {
        let metadata = match self {
            Self::Deployment(deployment) => deployment.metadata.as_ref(),
            Self::Single(workload) => workload.metadata.as_ref(),
        };
        label(metadata?.value.name.as_ref()?, report)
    }

    /// Says what a single host does otherwise than a cluster.
    pub fn warn(&self, report: &mut Report) {
        let mut without_effect = |at: &At, what: &str, fix: &str| report.warning(at, what, fix);
        if let Self::Deployment(deployment) = self
            && let Some(Located { value: spec, .. }) = &deployment.spec
        {
            if let Some(replicas) = spec
                .replicas
                .as_ref()
                .filter(|replicas| replicas.value != 1)
            {
                let what =
                    "has no effect: a host runs one of it, with as many instances as are needed";
                let fix = "start more hosts that share Redis, or set poolSize";
                without_effect(&replicas.at, what, fix);
            }
            if let Some(policy) = &spec.deployPolicy {
                let what = "has no effect: a new revision is verified, gets all new work at once, and the \
                            earlier one finishes what it accepted";
                without_effect(
                    &policy.at,
                    what,
                    "use `wharf apply`, or `wharf swap --canary`",
                );
            }
            for (key, at) in [
                ("service", spec.service.as_ref().map(|value| &value.at)),
                (
                    "kubernetes",
                    spec.kubernetes.as_ref().map(|value| &value.at),
                ),
            ] {
                if let Some(at) = at {
                    let what = format!("has no effect: {key} is for a cluster");
                    without_effect(at, &what, "remove it");
                }
            }
            if let Some(artifacts) = &spec.artifacts {
                let fix = "write each component's image, and remove it";
                let what = "Artifact objects are not known here";
                report.problem(&artifacts.at, what, fix);
            }
        }
        let Some(spec) = self.spec() else { return };
        let places = [
            spec.hostSelector.as_ref().map(|value| &value.at),
            spec.hostId.as_ref().map(|value| &value.at),
        ];
        for at in places.into_iter().flatten() {
            report.warning(at, "has no effect: it runs on this host", "remove it");
        }
        let places = [
            spec.kubernetes.as_ref().map(|value| &value.at),
            spec.kubernetesService.as_ref().map(|value| &value.at),
        ];
        for at in places.into_iter().flatten() {
            let what = "has no effect: it is for a cluster";
            report.warning(at, what, "remove it");
        }
    }
}

/// A name that must be a label, as Kubernetes wants it, too.
pub(super) fn label<T: std::str::FromStr<Err = crate::name::NameError>>(
    text: &Located<String>,
    report: &mut Report,
) -> Option<T> {
    text.value
        .parse()
        .map_err(|error| {
            let fix = "use 1 to 63 lower-case letters, digits and inner hyphens";
            report.problem(&text.at, error, fix);
        })
        .ok()
}

/// The keys and values of a map.
pub(super) fn pairs(texts: Option<&Located<Texts>>) -> impl Iterator<Item = (String, String)> + '_ {
    let entries = texts.into_iter().flat_map(|texts| &texts.value.0);
    entries.filter_map(|(key, value)| Some((key.value.clone(), value.clone()?)))
}

fn take(workload: &mut Option<Workload>, read: Option<Workload>, at: &At, report: &mut Report) {
    if workload.is_some() {
        let fix = "put each workload into a file of its own: a host runs one";
        report.problem(at, "there is another workload before it", fix);
        return;
    }
    *workload = read;
}

fn name_of(metadata: &Option<Located<raw::Metadata>>) -> Option<String> {
    Some(metadata.as_ref()?.value.name.as_ref()?.value.clone())
}

fn is_workload(document: &Document<'_>) -> bool {
    text_of(document, "apiVersion") == Some(API_VERSION)
}

fn text_of<'a>(document: &'a Document<'_>, key: &str) -> Option<&'a str> {
    document.get_ref().as_table()?.get(key)?.get_ref().as_str()
}

fn refuse(version: Option<&str>, kind: Option<&str>, at: &At, report: &mut Report) {
    if version == Some(OLD_API_VERSION) {
        let what = "is a wadm manifest of wasmCloud 1";
        let fix = format!(
            "write a WorkloadDeployment of {API_VERSION}: components become spec.template.spec.components, \
             links and providers become hostInterfaces"
        );
        report.problem(at, what, fix);
        return;
    }
    match (version, kind) {
        (Some(version), Some(kind)) => report.warning(
            at,
            format!("{kind} of {version} has no effect: it is for a cluster"),
            "remove it",
        ),
        _ => {
            let fix = format!("begin it with apiVersion and kind, such as {API_VERSION}");
            report.problem(at, "is not a Kubernetes object", fix);
        }
    }
}

fn missing(kind: &str, reference: &Located<String>, report: &mut Report) {
    let what = format!("there is no {kind} {:?}", reference.value);
    let fix =
        "add it to this file, or to a YAML file beside it that has only ConfigMaps and Secrets";
    report.problem(&reference.at, what, fix);
}

/// The text in `encoded`. Line breaks and spaces in Base64 are allowed, as YAML folds long lines.
fn decoded(encoded: &str) -> Option<String> {
    use base64::Engine as _;
    let compact: String = encoded.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .ok()?;
    String::from_utf8(bytes).ok()
}

pub(super) fn with_neighbours(mut text: String, file: &Path) -> String {
    let directory = file.parent().filter(|parent| *parent != Path::new(""));
    let Ok(entries) = std::fs::read_dir(directory.unwrap_or(Path::new("."))) else {
        return text;
    };
    let mut neighbours: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_yaml(path) && path.file_name() != file.file_name())
        .collect();
    neighbours.sort();
    for path in neighbours {
        let Ok(other) = std::fs::read_to_string(&path) else {
            continue;
        };
        let documents = Report::new(&path, &other).yaml_documents(&other);
        let values = |document: &Document<'_>| {
            matches!(text_of(document, "kind"), Some("ConfigMap" | "Secret"))
        };
        if documents.is_some_and(|documents| documents.iter().all(values)) {
            text.push_str("\n---\n");
            text.push_str(&other);
        }
    }
    text
}
