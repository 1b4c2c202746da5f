//! A `WorkloadDeployment` for each component, or for those that call each other by their interfaces: the
//! subscriptions of a workload are those of all its components.

use std::collections::BTreeSet;

use super::yaml::Yaml;
use super::{Subject, Written, head};
use crate::manifest::model::{Component, HostPattern, OutboundHost, PathPattern, Ports};
use crate::name::ComponentName;

/// The files, one for each workload.
pub(super) fn write(subject: &Subject<'_>) -> Written {
    let mut written = Written::default();
    for group in groups(subject) {
        let mut notes = Vec::new();
        let text = workload(&group, subject, &mut notes);
        let text = head("wasmcloud", subject, &notes) + &text;
        let name = group[0].name.as_str();
        written.files.insert(format!("{name}.yaml"), text);
        written.notes.extend(notes);
    }
    written
}

/// The components that share a workload, each time the first by name first.
fn groups<'a>(subject: &Subject<'a>) -> Vec<Vec<&'a Component>> {
    let mut groups: Vec<BTreeSet<&ComponentName>> = Vec::new();
    for name in subject.application.components.keys() {
        let mut group = BTreeSet::from([name]);
        for (caller, callee) in &subject.linked {
            if caller == name || callee == name {
                group.extend([caller, callee]);
            }
        }
        let (touched, apart): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|other| !other.is_disjoint(&group));
        group.extend(touched.into_iter().flatten());
        groups = apart;
        groups.push(group);
    }
    let components = &subject.application.components;
    let mut groups: Vec<Vec<&Component>> = groups
        .into_iter()
        .map(|group| {
            group
                .into_iter()
                .filter_map(|name| components.get(name))
                .collect()
        })
        .collect();
    groups.sort_by_key(|group| group.first().map(|component| component.name.clone()));
    groups
}

fn workload(group: &[&Component], subject: &Subject<'_>, notes: &mut Vec<String>) -> String {
    let application = &subject.application.name;
    let mut yaml = Yaml::default();
    yaml.pair("apiVersion", "runtime.wasmcloud.dev/v1alpha1")
        .pair("kind", "WorkloadDeployment")
        .block("metadata", |yaml| {
            yaml.pair("name", format!("{application}-{}", group[0].name))
                .block("labels", |yaml| {
                    yaml.pair("app.kubernetes.io/part-of", application);
                });
        })
        .block("spec", |yaml| {
            yaml.plain("replicas", 1).block("template", |yaml| {
                yaml.block("spec", |yaml| {
                    yaml.block("components", |yaml| {
                        for component in group {
                            yaml.element(|yaml| self::component(component, subject, yaml, notes));
                        }
                    });
                    yaml.block("hostInterfaces", |yaml| {
                        interfaces(group, subject, yaml, notes)
                    });
                });
            });
        });
    yaml.finish()
}

fn component(
    component: &Component,
    subject: &Subject<'_>,
    yaml: &mut Yaml,
    notes: &mut Vec<String>,
) {
    let name = &component.name;
    let image = format!("{}/{name}:latest", subject.registry);
    yaml.pair("name", name.as_str()).pair("image", &image);
    notes.push(format!(
        "Push component {name}: `wharf push {} {image}`.",
        subject.place.seen(component.artifact.built())
    ));
    if let Some(requests) = component
        .reuse
        .requests_max
        .filter(|requests| *requests > 1)
    {
        yaml.plain("poolSize", component.limits.instances_max)
            .plain("maxInvocations", requests)
            .plain("maxConcurrency", component.reuse.concurrent_max);
    }
    let secret = format!("{}-{name}", subject.application.name);
    let hosts: Vec<String> = component.grants.outbound.iter().map(allowed).collect();
    if component.environment.is_empty() && component.secrets.is_empty() && hosts.is_empty() {
        return;
    }
    yaml.block("localResources", |yaml| {
        if !component.environment.is_empty() || !component.secrets.is_empty() {
            yaml.block("environment", |yaml| {
                if !component.environment.is_empty() {
                    yaml.block("config", |yaml| {
                        for (key, value) in &component.environment {
                            yaml.pair(key, value);
                        }
                    });
                }
                if !component.secrets.is_empty() {
                    yaml.block("secretFrom", |yaml| {
                        yaml.element(|yaml| {
                            yaml.pair("name", &secret);
                        });
                    });
                }
            });
        }
        if !hosts.is_empty() {
            yaml.block("allowedHosts", |yaml| {
                for host in &hosts {
                    yaml.item(host);
                }
            });
        }
    });
    for variable in component.secrets.keys() {
        notes.push(format!(
            "Make the Secret of component {name}: `kubectl create secret generic {secret} \
             --from-literal={variable}=VALUE`."
        ));
    }
}

/// A host as wasmCloud writes it: its own schemes' ports need no mention.
fn allowed(host: &OutboundHost) -> String {
    match (&host.host, host.port) {
        (HostPattern::Component(name), _) => format!("{name}.internal"),
        (HostPattern::Any, _) => "*".to_owned(),
        (pattern, Ports::One(port)) if Some(port) == host.scheme.default_port() => {
            format!("{}://{pattern}", host.scheme.as_str())
        }
        _ => host.to_string(),
    }
}

fn interfaces(
    group: &[&Component],
    subject: &Subject<'_>,
    yaml: &mut Yaml,
    notes: &mut Vec<String>,
) {
    let shared = group.len() > 1;
    let serving: Vec<&str> = group
        .iter()
        .filter(|component| http(component, subject, shared, yaml, notes))
        .map(|component| component.name.as_str())
        .collect();
    if serving.len() > 1 {
        notes.push(format!(
            "Components {} share a workload and serve HTTP, each its own host: see to it that wasmCloud routes so \
             within a workload.",
            serving.join(" and ")
        ));
    }
    let own_store = |c: &&&Component| c.grants.keyvalue.contains("default");
    if group.iter().filter(own_store).count() > 1 {
        notes.push(
            "Components of one workload share the bucket `default`, which each has for its own on Wharf.".to_owned(),
        );
    }
    let granted = |of: fn(&Component) -> bool| group.iter().any(|component| of(component));
    let mut listed = |namespace: &str, package: &str, names: &[&str]| {
        interface(yaml, (namespace, package), names);
        yaml.end();
    };
    if granted(|c| !c.grants.keyvalue.is_empty() || c.grants.any.keyvalue) {
        listed("wasi", "keyvalue", &["store", "atomics", "batch"]);
    }
    if granted(|c| !c.grants.blobstore.is_empty() || c.grants.any.blobstore) {
        listed("wasi", "blobstore", &["blobstore", "container", "types"]);
    }
    let imports = |package: &str| {
        group.iter().any(|component| {
            let imports = subject.imports.get(&component.name);
            imports.is_none_or(|imports| imports.iter().any(|import| import.starts_with(package)))
        })
    };
    if imports("wasi:logging/") {
        listed("wasi", "logging", &["logging"]);
    }
    if imports("wasi:config/") {
        listed("wasi", "config", &["store"]);
    }
    messaging(group, subject, yaml, notes);
    for component in group {
        for container in component.grants.blobstore.keys() {
            notes.push(format!(
                "Component {}: the host's blobstore has to hold the container {container}, the same for every \
                 workload that uses it.",
                component.name
            ));
        }
    }
}

fn interface(yaml: &mut Yaml, (namespace, package): (&str, &str), names: &[&str]) {
    yaml.begin();
    yaml.pair("namespace", namespace).pair("package", package);
    yaml.block("interfaces", |yaml| {
        for name in names {
            yaml.item(name);
        }
    });
}

/// Answers whether the component serves requests. In a workload where several do, the entry is named
/// after the component.
fn http(
    component: &Component,
    subject: &Subject<'_>,
    shared: bool,
    yaml: &mut Yaml,
    notes: &mut Vec<String>,
) -> bool {
    let name = &component.name;
    let application = subject.application;
    let routes = application.routes.iter();
    let routes: Vec<_> = routes
        .filter(|route| route.component() == Some(name))
        .collect();
    let mut hosts: BTreeSet<String> = BTreeSet::new();
    for route in &routes {
        let host = route.host.clone();
        hosts.insert(host.unwrap_or_else(|| format!("{}.localhost", application.name)));
        if !route.methods.is_empty() || route.path != PathPattern::any() {
            notes.push(format!(
                "Component {name} gets all requests of its host, not those of the route {} alone.",
                route.path
            ));
        }
    }
    let callers: Vec<&str> = application
        .components
        .values()
        .filter(|caller| {
            let mut granted = caller.grants.outbound.iter();
            granted
                .any(|host| matches!(&host.host, HostPattern::Component(callee) if callee == name))
        })
        .map(|caller| caller.name.as_str())
        .collect();
    if !callers.is_empty() {
        hosts.insert(format!("{name}.internal"));
        notes.push(format!(
            "Component {} calls http://{name}.internal/: let that name lead to the wasmCloud host, on port 80.",
            callers.join(" and ")
        ));
    }
    let outbound = !component.grants.outbound.is_empty();
    for (index, host) in hosts.iter().enumerate() {
        let names: &[&str] = match outbound && index == 0 {
            true => &["incoming-handler", "outgoing-handler"],
            false => &["incoming-handler"],
        };
        interface(yaml, ("wasi", "http"), names);
        let entry = match (shared, index) {
            (true, 0) => Some(name.to_string()),
            _ => (hosts.len() > 1).then(|| host.replace('.', "-")),
        };
        if let Some(entry) = entry {
            yaml.pair("name", entry);
        }
        yaml.block("config", |yaml| {
            yaml.pair("host", host);
        });
        yaml.end();
    }
    if hosts.is_empty() && outbound {
        interface(yaml, ("wasi", "http"), &["outgoing-handler"]);
        yaml.end();
    }
    !hosts.is_empty()
}

fn messaging(
    group: &[&Component],
    subject: &Subject<'_>,
    yaml: &mut Yaml,
    notes: &mut Vec<String>,
) {
    let application = subject.application;
    let mut subjects: Vec<String> = Vec::new();
    let mut handlers: Vec<&str> = Vec::new();
    for component in group {
        let name = &component.name;
        let named = application.subscriptions.iter();
        let named = named.filter(|subscription| subscription.component == *name);
        let patterns = application.wildcards.iter();
        let patterns = patterns.filter(|wildcard| wildcard.component == *name);
        let of_name = named.map(|subscription| subscription.subject.to_string());
        let mut own: Vec<String> = of_name
            .chain(patterns.map(|wildcard| wildcard.pattern.to_string()))
            .collect();
        if !own.is_empty() {
            handlers.push(name.as_str());
        }
        own.retain(|subject| !subjects.contains(subject));
        subjects.extend(own);
    }
    let publishes = |c: &&Component| !c.grants.publish.is_empty() || c.grants.any.publish;
    let publishes = group.iter().any(publishes);
    let names: &[&str] = match (subjects.is_empty(), publishes) {
        (true, false) => return,
        (true, true) => &["consumer"],
        (false, false) => &["handler"],
        (false, true) => &["handler", "consumer"],
    };
    interface(yaml, ("wasmcloud", "messaging"), names);
    yaml.pair("version", "0.2.0");
    if !subjects.is_empty() {
        yaml.block("config", |yaml| {
            yaml.pair("subscriptions", subjects.join(","));
        });
        let names = handlers.join(" and ");
        notes.push(format!(
            "Component {names}: messages come at most once over NATS. Retries, dead letters, deadlines of deliveries \
             and the order of subjects are Wharf's."
        ));
        if handlers.len() > 1 {
            notes.push(format!(
                "Components {names} share a workload, and each gets the messages of the others' subscriptions as well."
            ));
        }
    }
    yaml.end();
}
