//! `spin.toml`, manifest version 2: the components that need nothing but what Spin has.

use super::toml::{list, quoted};
use super::{Subject, Written, head};
use crate::manifest::model::{Component, HostPattern, OutboundHost, Route};
use crate::name::ComponentName;

/// What the adapter component provides, as packages of imports.
const ADAPTED: [&str; 2] = ["wasi:keyvalue@0.2.0-draft", "wasi:logging@0.1.0-draft"];

/// The file.
pub(super) fn write(subject: &Subject<'_>) -> Written {
    let mut notes = Vec::new();
    let carried: Vec<&Component> = subject
        .application
        .components
        .values()
        .filter(|component| carries(component, subject, &mut notes))
        .collect();
    let mut text = format!(
        "spin_manifest_version = 2\n\n[application]\nname = {}\nversion = \"0.1.0\"\n",
        quoted(&subject.application.name)
    );
    for trigger in triggers(subject, &carried, &mut notes) {
        text.push('\n');
        text.push_str(&trigger);
    }
    for component in &carried {
        text.push('\n');
        text.push_str(&written(component, subject, &mut notes));
    }
    if !carried.is_empty() {
        notes.push(
            "Limits of memory, time, bodies and instances, health requests and draining are Wharf's: Spin has \
             flags of `spin up` for some of them."
                .to_owned(),
        );
    }
    let called = carried.iter().any(|caller| {
        let mut hosts = caller.grants.outbound.iter();
        hosts.any(|host| matches!(host.host, HostPattern::Component(_)))
    });
    if called {
        notes.push(
            "Components that call others at http://NAME.internal/ find them at http://NAME.spin.internal/ in Spin."
                .to_owned(),
        );
    }
    let text = head("spin", subject, &notes) + &text;
    Written {
        files: [("spin.toml".to_owned(), text)].into(),
        notes,
    }
}

/// Whether Spin has all that the component needs.
fn carries(component: &Component, subject: &Subject<'_>, notes: &mut Vec<String>) -> bool {
    let name = &component.name;
    let grants = &component.grants;
    let application = subject.application;
    let subscribed = application
        .subscriptions
        .iter()
        .any(|s| s.component == *name)
        || application.wildcards.iter().any(|w| w.component == *name);
    let mut missing = Vec::new();
    if !grants.blobstore.is_empty() || grants.any.blobstore {
        missing.push("blob containers (wasi:blobstore)");
    }
    if !grants.publish.is_empty() || grants.any.publish {
        missing.push("publishing messages (wasmcloud:messaging)");
    }
    if subscribed {
        missing.push("durable subscriptions");
    }
    if missing.is_empty() {
        return true;
    }
    notes.push(format!(
        "Component {name} is left out: Spin has no {}.",
        missing.join(", no ")
    ));
    false
}

/// The routes of what is carried. What is reached by other components alone gets a private route, and
/// one of its own where none of them is carried.
fn triggers(subject: &Subject<'_>, carried: &[&Component], notes: &mut Vec<String>) -> Vec<String> {
    let mut triggers = Vec::new();
    let trigger = |route: &str, component: &ComponentName| {
        format!(
            "[[trigger.http]]\nroute = {route}\ncomponent = {}\n",
            quoted(component.as_str())
        )
    };
    let mut taken = false;
    for component in carried {
        let name = &component.name;
        let routes: Vec<&Route> = subject
            .application
            .routes
            .iter()
            .filter(|route| route.component() == Some(name))
            .collect();
        for route in &routes {
            taken = true;
            triggers.push(trigger(&quoted(&route.path.to_string()), name));
            if let Some(host) = &route.host {
                notes.push(format!(
                    "Route {} of {name} is for every host, not for {host} alone.",
                    route.path
                ));
            }
            if !route.methods.is_empty() {
                notes.push(format!(
                    "Route {} of {name} is for every method: Spin's routes know none.",
                    route.path
                ));
            }
        }
        if routes.is_empty() {
            let called = carried.iter().any(|caller| calls(caller, name));
            match called || taken {
                true => triggers.push(trigger("{ private = true }", name)),
                false => {
                    taken = true;
                    triggers.push(trigger("\"/...\"", name));
                    notes.push(format!(
                        "Component {name} has the public route /...: who called it here is left out."
                    ));
                }
            }
        }
    }
    triggers
}

fn calls(caller: &Component, callee: &ComponentName) -> bool {
    let mut hosts = caller.grants.outbound.iter();
    hosts.any(|host| matches!(&host.host, HostPattern::Component(name) if name == callee))
}

fn written(component: &Component, subject: &Subject<'_>, notes: &mut Vec<String>) -> String {
    let name = &component.name;
    let source = subject.place.seen(component.artifact.built());
    let mut text = format!("[component.{name}]\nsource = {}\n", quoted(&source));
    let hosts: Vec<String> = component.grants.outbound.iter().map(spin_host).collect();
    text.push_str(&format!("allowed_outbound_hosts = {}\n", list(&hosts)));
    let stores = &component.grants.keyvalue;
    if !stores.is_empty() {
        let labels = stores.iter().map(|label| label.as_str());
        text.push_str(&format!("key_value_stores = {}\n", list(labels)));
        notes.push(format!(
            "Component {name}: Spin's store `default` is the application's, not the component's; every other \
             label needs a [key_value_store.LABEL] in runtime-config.toml."
        ));
    }
    let adapted = adapted(component, subject);
    if !adapted.is_empty() {
        text.push_str("dependencies_inherit_configuration = true\n");
    }
    if !component.environment.is_empty() {
        text.push_str(&format!("\n[component.{name}.environment]\n"));
        for (key, value) in &component.environment {
            text.push_str(&format!("{key} = {}\n", quoted(value)));
        }
    }
    for variable in component.secrets.keys() {
        notes.push(format!(
            "Component {name}: Spin's environment holds no secrets. Give {variable} when it is started: `spin up \
             --env {variable}=VALUE`."
        ));
    }
    if !adapted.is_empty() {
        let adapter = quoted(&subject.place.seen(&subject.adapter));
        text.push_str(&format!("\n[component.{name}.dependencies]\n"));
        for package in &adapted {
            text.push_str(&format!("{} = {{ path = {adapter} }}\n", quoted(package)));
        }
        notes.push(format!(
            "Component {name} is composed with the adapter {} when it is loaded: `cargo build --release --target \
             wasm32-wasip2 --package spin-adapter` in Wharf's repository makes it.",
            subject.place.seen(&subject.adapter)
        ));
    }
    if let Some(build) = &component.build {
        let workdir = subject.place.seen(&build.workdir);
        text.push_str(&format!(
            "\n[component.{name}.build]\ncommand = {}\nworkdir = {}\n",
            quoted(build.command.trim()),
            quoted(&workdir)
        ));
    }
    text
}

/// The packages that the adapter provides for the component: those that it imports, or all where nobody
/// knows.
fn adapted(component: &Component, subject: &Subject<'_>) -> Vec<&'static str> {
    let imports = subject.imports.get(&component.name);
    let wanted = |package: &&str| {
        let (path, version) = package.split_once('@').unwrap_or((package, ""));
        imports.is_none_or(|imports| {
            imports.iter().any(|import| {
                import.starts_with(&format!("{path}/")) && import.ends_with(&format!("@{version}"))
            })
        })
    };
    ADAPTED
        .into_iter()
        .filter(|package| wanted(package))
        .collect()
}

fn spin_host(host: &OutboundHost) -> String {
    match &host.host {
        HostPattern::Component(name) => format!("http://{name}.spin.internal"),
        _ => host.to_string(),
    }
}
