//! What a component is made from: its source, and the dependencies that are composed into it.

use std::collections::BTreeMap;
use std::path::Path;

use super::raw::{Component, Dependency, OrTable, RemoteSource};
use crate::document::{At, Located, Report, Text};
use crate::manifest::model::{self, Origin, Source};
use crate::name::Digest;

/// The components of the manifest by their identifiers, for dependencies that name one.
pub(super) type Components<'a> = BTreeMap<&'a str, &'a Component>;

/// Bytes and the digest that they must have.
struct Bytes {
    source: Source,
    sha256: Option<Digest>,
}

/// The origin of the component `raw`, which is at `at`; relative paths are below `directory`.
pub(super) fn origin(
    raw: &Component,
    at: &At,
    directory: &Path,
    components: &Components<'_>,
    report: &mut Report,
) -> Option<Origin> {
    let bytes = source(raw.source.as_ref()?, directory, report);
    let mut dependencies = Vec::new();
    for (import, entry) in raw.dependencies.iter().flat_map(|table| &table.value.0) {
        let Some(entry) = entry else { continue };
        dependencies.extend(dependency(import, entry, directory, components, report));
    }
    let inherits = raw.dependencies_inherit_configuration.as_ref();
    if !dependencies.is_empty() && !inherits.is_some_and(|flag| flag.value) {
        let at = raw.dependencies.as_ref().map_or(at, |table| &table.at);
        let what = "what is composed into a component may do what the component may do";
        let fix = "trust them as the component itself, and write dependencies_inherit_configuration = \
                   true to say so";
        report.warning(at, what, fix);
    }
    let Bytes { source, sha256 } = bytes?;
    Some(Origin {
        source,
        sha256,
        dependencies,
    })
}

fn source(
    raw: &Located<OrTable<RemoteSource>>,
    directory: &Path,
    report: &mut Report,
) -> Option<Bytes> {
    match &raw.value {
        OrTable::Text(path) => file(path, &raw.at, directory, report),
        OrTable::Table(table) => {
            let remote = Remote {
                url: table.url.as_ref(),
                digest: table.digest.as_ref(),
                registry: table.registry.as_ref(),
                package: table.package.as_ref().map(|package| package.value.as_str()),
                version: table.version.as_ref(),
            };
            remote.bytes(&raw.at, report)
        }
    }
}

fn file(path: &str, at: &At, directory: &Path, report: &mut Report) -> Option<Bytes> {
    if path.is_empty() {
        report.problem(at, "is empty", "write a path");
        return None;
    }
    Some(Bytes {
        source: Source::Path(directory.join(path)),
        sha256: None,
    })
}

/// What says where bytes are that no file has.
struct Remote<'a> {
    url: Option<&'a Located<String>>,
    digest: Option<&'a Located<Text<Digest>>>,
    registry: Option<&'a Located<String>>,
    package: Option<&'a str>,
    version: Option<&'a Located<String>>,
}

impl Remote<'_> {
    fn bytes(&self, at: &At, report: &mut Report) -> Option<Bytes> {
        let digest = self.digest.map(|digest| digest.value.0);
        let packaged = self.registry.is_some() || self.package.is_some() || self.version.is_some();
        match self.url {
            Some(_) if packaged => {
                let what = "names both a URL and a package in a registry";
                report.problem(
                    at,
                    what,
                    "keep url and digest, or registry, package and version",
                );
                None
            }
            Some(url) if digest.is_none() => {
                let fix = "add digest = \"sha256:...\", as `sha256sum` prints it";
                report.problem(&url.at, "has no digest beside it", fix);
                None
            }
            Some(url) => match Source::remote(&url.value) {
                Some(source @ Source::Url(_)) => Some(Bytes {
                    source,
                    sha256: digest,
                }),
                Some(_) | None => {
                    let what = format!("{:?} is not an HTTP URL", url.value);
                    report.problem(&url.at, what, "write \"https://...\"");
                    None
                }
            },
            None if packaged => Some(Bytes {
                source: self.package(at, report)?,
                sha256: digest,
            }),
            None => {
                let fix = "write a path, { url, digest }, or { registry, package, version }";
                report.problem(at, "says of no bytes where they are", fix);
                None
            }
        }
    }

    /// The place of a package in an OCI registry, where the registry says nothing else of itself:
    /// `registry/namespace/name:version`.
    fn package(&self, at: &At, report: &mut Report) -> Option<Source> {
        let Some(registry) = self.registry else {
            let what = "names no registry, and Wharf has no default one";
            report.problem(at, what, "add registry = \"HOST\"");
            return None;
        };
        let name = self.package.and_then(|package| package.split_once(':'));
        let Some((namespace, name)) = name else {
            report.problem(at, "names no package", "add package = \"NAMESPACE:NAME\"");
            return None;
        };
        let version = self.version.map(|version| version.value.trim());
        let version = version.map(|version| version.trim_start_matches('=').trim());
        let exact = |version: &&str| {
            version.starts_with(|c: char| c.is_ascii_digit())
                && version.split('.').count() >= 3
                && !version.contains([',', '*', ' '])
        };
        let Some(version) = version.filter(exact) else {
            let what = "does not name one version of the package";
            report.problem(
                at,
                what,
                "write a whole version, such as version = \"1.2.3\"",
            );
            return None;
        };
        let registry = &registry.value;
        Some(Source::Oci(format!(
            "{registry}/{namespace}/{name}:{version}"
        )))
    }
}

fn dependency(
    import: &Located<String>,
    raw: &OrTable<Dependency>,
    directory: &Path,
    components: &Components<'_>,
    report: &mut Report,
) -> Option<model::Dependency> {
    let at = &import.at;
    let raw = match raw {
        OrTable::Table(raw) => raw,
        OrTable::Text(_) => {
            let what = "names a version, and Wharf has no default registry to find it in";
            let fix = "write { registry = \"HOST\", version = \"1.2.3\" }, or { path = \"...\" }";
            report.problem(at, what, fix);
            return None;
        }
    };
    if raw.environment.is_some() {
        let what = "an environment of its own is not given to what is composed into a component";
        report.problem(at, what, "remove it, or make it the component's");
    }
    let named = [
        raw.path.is_some(),
        raw.component.is_some(),
        raw.url.is_some(),
    ];
    if named.iter().filter(|named| **named).count() > 1 {
        let fix = "keep one of path, component, url, and version with registry";
        report.problem(at, "names several sources", fix);
        return None;
    }
    let bytes = if let Some(path) = &raw.path {
        file(&path.value, &path.at, directory, report)
    } else if let Some(component) = &raw.component {
        of_component(component, directory, components, report)
    } else {
        let (package, _) = import
            .value
            .split_once(['/', '@'])
            .unwrap_or((&import.value, ""));
        let remote = Remote {
            url: raw.url.as_ref(),
            digest: raw.digest.as_ref(),
            registry: raw.registry.as_ref(),
            package: match &raw.package {
                Some(package) => Some(&package.value),
                None => raw.url.is_none().then_some(package),
            },
            version: raw.version.as_ref(),
        };
        remote.bytes(at, report)
    };
    let Bytes { source, sha256 } = bytes?;
    Some(model::Dependency {
        import: import.value.clone(),
        source,
        sha256,
        export: raw.export.as_ref().map(|export| export.value.clone()),
    })
}

/// The source of another component of the manifest, which may have nothing that it would lose by being
/// composed.
fn of_component(
    name: &Located<String>,
    directory: &Path,
    components: &Components<'_>,
    report: &mut Report,
) -> Option<Bytes> {
    let Some(component) = components.get(name.value.as_str()) else {
        let known: Vec<&str> = components.keys().copied().collect();
        let what = format!("there is no component {:?}", name.value);
        report.unknown(&name.at, what, &name.value, &known);
        return None;
    };
    let lost = [
        ("variables", component.variables.is_some()),
        ("files", component.files.is_some()),
        (
            "allowed_outbound_hosts",
            component.allowed_outbound_hosts.is_some(),
        ),
        ("allowed_http_hosts", component.allowed_http_hosts.is_some()),
        ("key_value_stores", component.key_value_stores.is_some()),
        ("sqlite_databases", component.sqlite_databases.is_some()),
        ("ai_models", component.ai_models.is_some()),
        ("dependencies", component.dependencies.is_some()),
    ];
    for (key, _) in lost.iter().filter(|(_, is_there)| *is_there) {
        let what = format!(
            "the component {} has {key}, which a dependency cannot have",
            name.value
        );
        let fix = format!("move {key} to the component that depends on it");
        report.problem(&name.at, what, fix);
    }
    source(component.source.as_ref()?, directory, report)
}
