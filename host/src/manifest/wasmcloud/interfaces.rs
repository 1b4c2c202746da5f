//! `hostInterfaces`: what the workload's components may use, and what the host calls.

use std::collections::BTreeMap;

use super::layers::{Layer, merged};
use super::objects::Objects;
use super::raw::{HostInterface, WorkloadSpec};
use crate::document::{At, Located, Report, TextForm as _};
use crate::manifest::forms::HostName;
use crate::manifest::model::{
    AnyName, Application, PathPattern, RequestsByExport, Route, Secret, Variables,
};
use crate::name::SubjectPattern;

/// The packages that may be listed.
const KNOWN: &[&str] = &[
    "wasi:http",
    "wasi:keyvalue",
    "wasi:blobstore",
    "wasi:config",
    "wasi:logging",
    "wasi:cli",
    "wasi:clocks",
    "wasi:random",
    "wasi:io",
    "wasi:filesystem",
    "wasi:sockets",
    "wasmcloud:messaging",
    "wasmcloud:secrets",
];

/// What the interfaces of a workload say.
#[derive(Default)]
pub(super) struct Interfaces {
    /// What all components may use.
    pub any: AnyName,
    /// What `wasi:config` answers all of them.
    pub config: Variables,
    /// What `wasmcloud:secrets` answers all of them, beside their environment's own.
    pub secrets: BTreeMap<String, Secret>,
    requests: Vec<RequestsByExport>,
    patterns: Vec<SubjectPattern>,
}

/// Resolves the interfaces of a workload.
pub(super) fn of(
    spec: Option<&WorkloadSpec>,
    objects: &Objects,
    application: &mut Application,
    report: &mut Report,
) -> Interfaces {
    let mut interfaces = Interfaces::default();
    let list = spec.and_then(|spec| spec.hostInterfaces.as_ref());
    for interface in list.into_iter().flat_map(|list| &list.value) {
        let (Some(namespace), Some(package)) = (&interface.namespace, &interface.package) else {
            continue;
        };
        let at = &namespace.at;
        let name = format!("{}:{}", namespace.value, package.value);
        let values = Layer::from(interface).values(objects, application, report);
        match name.as_str() {
            "wasi:http" => interfaces.http(interface, &values, at, report),
            "wasmcloud:messaging" => interfaces.messaging(interface, &values, at, report),
            "wasi:keyvalue" => interfaces.any.keyvalue = true,
            "wasi:blobstore" => interfaces.any.blobstore = true,
            "wasi:config" => {
                interfaces.config = merged(std::mem::take(&mut interfaces.config), values);
                continue;
            }
            "wasmcloud:secrets" => {
                interfaces.secrets.extend(values.secrets);
                if let Some(config) = &interface.config {
                    let what = "values that are written in place are no secrets";
                    report.warning(&config.at, what, "name a Secret in secretFrom");
                }
                continue;
            }
            "wasi:sockets" => {
                let what =
                    "is there, and every address is denied: connections are those of wasi:http";
                report.warning(at, what, "use wasi:http/outgoing-handler");
            }
            known if KNOWN.contains(&known) => {}
            unknown => {
                let what = format!("{unknown} is not provided");
                report.unknown(at, what, unknown, KNOWN);
                continue;
            }
        }
        without_effect(interface, &name, report);
    }
    interfaces
}

impl Interfaces {
    fn http(
        &mut self,
        interface: &HostInterface,
        values: &Variables,
        at: &At,
        report: &mut Report,
    ) {
        if !has_interface(interface, &["incoming-handler", "handler"]) {
            return;
        }
        let host = values.plain.get("host").map(|host| host.trim());
        let host = match host {
            None | Some("" | "*") => None,
            Some(host) => {
                let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
                match HostName::parse(bare) {
                    Ok(host) => Some(host.0),
                    Err(wrong) => return report.problem(at, wrong.what, wrong.fix),
                }
            }
        };
        let name = interface.name.as_ref().map(|name| name.value.clone());
        if self.requests.iter().any(|other| other.host == host) {
            let what = "takes the same requests as another wasi:http interface of the workload";
            return report.problem(at, what, "give each its own config.host");
        }
        self.requests.push(RequestsByExport { host, name });
    }

    fn messaging(
        &mut self,
        interface: &HostInterface,
        values: &Variables,
        at: &At,
        report: &mut Report,
    ) {
        self.any.publish = true;
        let subscriptions = values.plain.get("subscriptions");
        let patterns = subscriptions.into_iter().flat_map(|list| list.split(','));
        for pattern in patterns.map(str::trim).filter(|text| !text.is_empty()) {
            match pattern.parse() {
                Ok(pattern) => self.patterns.push(pattern),
                Err(error) => {
                    let fix =
                        "write subjects such as \"orders.created,orders.*\", separated by commas";
                    report.problem(at, error, fix);
                }
            }
        }
        if has_interface(interface, &["handler"]) && subscriptions.is_none() {
            let what = "has a handler, and no subscription";
            report.warning(
                at,
                what,
                "write config.subscriptions: \"SUBJECT,SUBJECT.*\"",
            );
        }
    }
}

/// Binds requests and messages to the one component that there is, or leaves it to what is exported.
pub(super) fn bind(interfaces: &Interfaces, application: &mut Application) {
    let components = std::mem::take(&mut application.by_export.components);
    let [only] = components.as_slice() else {
        application.by_export.components = components;
        application.by_export.requests = interfaces.requests.clone();
        application.by_export.patterns = interfaces.patterns.clone();
        return;
    };
    for requests in &interfaces.requests {
        application.routes.push(Route {
            host: requests.host.clone(),
            ..Route::new(PathPattern::any(), only.clone())
        });
    }
    for pattern in &interfaces.patterns {
        application.subscribe(pattern, only);
    }
}

fn has_interface(interface: &HostInterface, names: &[&str]) -> bool {
    let listed = interface.interfaces.iter().flat_map(|list| &list.value);
    listed
        .into_iter()
        .any(|name| names.contains(&name.as_str()))
}

/// Warns of configuration that the host's backends do not take from a workload.
fn without_effect(interface: &HostInterface, package: &str, report: &mut Report) {
    let honoured: &[&str] = match package {
        "wasi:http" => &["host"],
        "wasmcloud:messaging" => &["subscriptions"],
        _ => &[],
    };
    let entries = interface.config.iter().flat_map(|config| &config.value.0);
    for (key, _) in entries.filter(|(key, _)| !honoured.contains(&key.value.as_str())) {
        let what = format!(
            "has no effect on {package}: where it is kept is the host configuration's matter"
        );
        report.warning(&key.at, what, "remove it");
    }
    let references = [&interface.configFrom, &interface.secretFrom];
    if honoured.is_empty() {
        for Located { at, .. } in references.into_iter().flatten() {
            let what = format!("has no effect on {package}");
            report.warning(at, what, "remove it");
        }
    }
}
