//! Whether two components would work alike: one short text to compare.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::StoreError;
use crate::manifest::model::{Artifact, Component};
use crate::name::{ComponentName, Digest};

/// Digests what decides how a revision of `settings` with an artifact of this `digest` works, which
/// is neither where the artifact lies nor how it is built. Settings that have their default are left
/// out, so that a version of the host with more settings gives old manifests the same fingerprint.
///
/// Fails only where the settings cannot be written as JSON.
pub fn fingerprint(settings: &Component, digest: &Digest) -> Result<String, StoreError> {
    let json = |component: &Component| {
        serde_json::to_value(component).map_err(|source| StoreError::Record {
            record: format!("the settings of component {}", component.name),
            source,
        })
    };
    let mut decisive = json(settings)?;
    leave_out(&mut decisive, &json(&plain(&settings.name))?);
    if let Value::Object(members) = &mut decisive {
        members.remove("artifact");
        members.remove("build");
        members.insert("name".to_owned(), settings.name.as_str().into());
        members.insert("digest".to_owned(), digest.to_string().into());
        if let Some(Value::Array(hosts)) = members
            .get_mut("grants")
            .and_then(|grants| grants.get_mut("outbound_http"))
        {
            hosts.sort_by_cached_key(Value::to_string);
        }
    }
    Ok(Digest::of(sorted(decisive).to_string().as_bytes()).to_string())
}

/// A component of which the manifest says nothing but its name.
fn plain(name: &ComponentName) -> Component {
    Component::new(name.clone(), Artifact::file(PathBuf::new()))
}

/// Takes out of `value` every member that `default` has as well.
fn leave_out(value: &mut Value, default: &Value) {
    let (Value::Object(members), Value::Object(defaults)) = (value, default) else {
        return;
    };
    members.retain(|key, member| {
        let Some(default) = defaults.get(key) else {
            return true;
        };
        leave_out(member, default);
        let emptied = member.as_object().is_some_and(Map::is_empty) && default.is_object();
        member != default && !emptied
    });
}

/// The same with its members in the order of their keys, whatever order the JSON library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<String, Value> = members
                .into_iter()
                .map(|(key, member)| (key, sorted(member)))
                .collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(entries) => Value::Array(entries.into_iter().map(sorted).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::manifest;

    fn settings(lines: &str) -> Component {
        let text = format!(
            "application.name = \"x\"\ncomponent.a.artifact = \"a.wasm\"\n\
             route = [{{ path = \"/...\", component = \"a\" }}]\n{lines}"
        );
        let loaded = manifest::resolve(&text, Path::new("x.toml")).unwrap();
        loaded.application.components["a"].clone()
    }

    fn print(settings: &Component) -> String {
        fingerprint(settings, &Digest::of(b"a")).unwrap()
    }

    #[test]
    fn every_setting_and_the_artifact_decide() {
        let base = settings("");
        let mut seen = vec![print(&base)];
        seen.push(fingerprint(&base, &Digest::of(b"b")).unwrap());
        for line in [
            "environment.A = \"1\"",
            "environment.A = \"2\"",
            "secrets.A.name = \"b\"",
            "limits.deadline = \"1s\"",
            "limits.memory = \"1MiB\"",
            "preemption = \"host-calls\"",
            "reuse.requests = 1",
            "health = \"GET /\"",
            "drain.requests = \"1s\"",
            "grants.keyvalue = [\"default\"]",
            "grants.blobstore = [\"b\"]",
            "grants.publish = [\"b\"]",
            "grants.outbound_http = [\"https://b.test\"]",
        ] {
            let print = print(&settings(&format!("component.a.{line}")));
            assert!(!seen.contains(&print), "{line}");
            seen.push(print);
        }
    }

    #[test]
    fn what_does_not_decide_changes_nothing() {
        let base = settings("");
        let mut moved = base.clone();
        moved.artifact.path = "/elsewhere".into();
        moved.artifact.sha256 = Some(Digest::of(b"a"));
        moved.build = settings("component.a.build.command = \"make\"").build;
        assert_eq!(print(&moved), print(&base));
        let said = "component.a.limits.deadline = \"30s\"\ncomponent.a.drain = {}";
        assert_eq!(print(&settings(said)), print(&base));
        let grant = |hosts: &str| settings(&format!("component.a.grants.outbound_http = {hosts}"));
        assert_eq!(
            print(&grant("[\"https://b.test\", \"https://c.test\"]")),
            print(&grant("[\"https://c.test\", \"https://b.test\"]"))
        );
        let mut default = base.clone();
        default.limits.deadline = Duration::from_secs(30);
        assert_eq!(print(&default), print(&base));
    }

    /// A fingerprint is compared with what an earlier version of the host wrote.
    #[test]
    fn a_fingerprint_stays_what_it_is() {
        let canonical = format!("{{\"digest\":\"{}\",\"name\":\"a\"}}", Digest::of(b"a"));
        assert_eq!(
            print(&settings("")),
            Digest::of(canonical.as_bytes()).to_string()
        );
    }
}
