//! Spin's locked applications: a `spin.toml` and the files that it names are made of one, so that
//! only the reader of that format knows what it means.
//! <https://github.com/spinframework/spin/blob/main/crates/locked-app/src/locked.rs>

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value as Json;
use toml::{Table, Value};

/// The media type of a locked application.
pub(super) const LOCKED: &str = "application/vnd.fermyon.spin.application.v1+config";

/// The media type of a layer with many files.
pub(super) const ARCHIVE: &str = "application/vnd.wasm.content.bundle.v1.tar+gzip";

/// The annotation of a layer that stands for no bytes.
pub(super) const EMPTY: &str = "com.fermyon.spin.application.layer.isEmpty";

/// What the manifest is called.
pub(super) const MANIFEST: &str = "spin.toml";

/// Newest version of locked applications that is understood.
const LOCK_VERSION_MAX: u64 = 1;

/// What an application may require of its host.
const HOST_REQUIREMENTS: [&str; 1] = ["local_service_chaining"];

/// What an application may ask its host to look at.
const UNDERSTOOD: [&str; 2] = ["host_requirements", "component_host_requirements"];

/// A manifest, and the files that belong beside it.
pub(super) struct Unlocked {
    pub(super) toml: String,
    pub(super) files: Vec<(PathBuf, Content)>,
}

/// Where a file's bytes are.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Inline(Vec<u8>),
    /// In the layer of this digest, with its `sha256:`.
    Layer(String),
}

#[derive(Deserialize)]
struct Locked {
    spin_lock_version: u64,
    #[serde(default)]
    must_understand: Vec<String>,
    #[serde(default)]
    metadata: BTreeMap<String, Json>,
    #[serde(default)]
    host_requirements: BTreeMap<String, Json>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    triggers: Vec<Trigger>,
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Variable {
    description: Option<String>,
    default: Option<String>,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
struct Trigger {
    id: String,
    trigger_type: String,
    trigger_config: Json,
}

#[derive(Deserialize)]
struct Component {
    id: String,
    #[serde(default)]
    metadata: BTreeMap<String, Json>,
    source: Reference,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
    #[serde(default)]
    trigger_dependencies: BTreeMap<String, Json>,
    #[serde(default)]
    host_requirements: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct Dependency {
    source: Reference,
    export: Option<String>,
    #[serde(default)]
    inherit: Json,
}

#[derive(Deserialize)]
struct File {
    path: String,
    #[serde(flatten)]
    content: Reference,
}

#[derive(Deserialize)]
struct Reference {
    inline: Option<String>,
    digest: Option<String>,
}

impl Reference {
    fn content(self, of: &str) -> Result<Content, String> {
        match (self.inline, self.digest) {
            (Some(text), _) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map(Content::Inline)
                .map_err(|error| format!("{of} is not Base64: {error}")),
            (None, Some(digest)) => Ok(Content::Layer(digest)),
            (None, None) => Err(format!("{of} is not in the artifact")),
        }
    }
}

/// Makes the manifest of a locked application, and lists its files.
///
/// # Errors
///
/// In words: what cannot be read, or is required and not there.
pub(super) fn unlock(locked: &[u8]) -> Result<Unlocked, String> {
    let locked: Locked = serde_json::from_slice(locked)
        .map_err(|error| format!("its locked application cannot be read: {error}"))?;
    understood(&locked)?;
    let mut manifest = Table::new();
    manifest.insert("spin_manifest_version".to_owned(), Value::Integer(2));
    manifest.insert("application".to_owned(), application(&locked.metadata)?);
    if !locked.variables.is_empty() {
        let variables = locked.variables.into_iter();
        let variables = variables.map(|(name, variable)| (name, self::variable(variable)));
        manifest.insert("variables".to_owned(), Value::Table(variables.collect()));
    }
    let mut triggers = Table::new();
    for trigger in locked.triggers {
        let Value::Table(mut config) = toml_of(trigger.trigger_config)? else {
            return Err(format!("the trigger {} has no configuration", trigger.id));
        };
        config.insert("id".to_owned(), trigger.id.into());
        let list = triggers
            .entry(trigger.trigger_type)
            .or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut()
            .expect("it was made an array")
            .push(Value::Table(config));
    }
    manifest.insert("trigger".to_owned(), Value::Table(triggers));
    let mut components = Table::new();
    let mut files = Vec::new();
    for component in locked.components {
        let id = component.id.clone();
        components.insert(id, self::component(component, &mut files)?);
    }
    manifest.insert("component".to_owned(), Value::Table(components));
    let toml = toml::to_string(&manifest).map_err(|error| error.to_string())?;
    Ok(Unlocked { toml, files })
}

fn understood(locked: &Locked) -> Result<(), String> {
    let version = locked.spin_lock_version;
    if version > LOCK_VERSION_MAX {
        return Err(format!(
            "it is locked in version {version}, which is newer than this host"
        ));
    }
    let mut demands = locked.must_understand.iter();
    if let Some(unknown) = demands.find(|key| !UNDERSTOOD.contains(&key.as_str())) {
        return Err(format!("it demands that {unknown:?} is understood"));
    }
    let of_components = locked.components.iter().flat_map(|c| &c.host_requirements);
    let requirements = locked.host_requirements.iter().chain(of_components);
    let mut required = requirements.filter(|(_, level)| level.as_str() != Some("optional"));
    match required.find(|(name, _)| !HOST_REQUIREMENTS.contains(&name.as_str())) {
        Some((unknown, _)) => Err(format!("it requires {unknown:?} of its host")),
        None => Ok(()),
    }
}

fn application(metadata: &BTreeMap<String, Json>) -> Result<Value, String> {
    let mut table = Table::new();
    for key in ["name", "version", "description", "authors"] {
        if let Some(value) = metadata.get(key).filter(|value| !value.is_null()) {
            table.insert(key.to_owned(), toml_of(value.clone())?);
        }
    }
    let triggers = match (metadata.get("triggers"), metadata.get("trigger")) {
        (Some(triggers), _) => toml_of(triggers.clone())?,
        // Of before there could be several: the one, with its type among its settings.
        (None, Some(trigger)) => {
            let mut settings = toml_of(trigger.clone())?;
            let kind = settings
                .as_table_mut()
                .and_then(|table| table.remove("type"));
            match kind.as_ref().and_then(Value::as_str) {
                Some(kind) => Value::Table(Table::from_iter([(kind.to_owned(), settings)])),
                None => Value::Table(Table::new()),
            }
        }
        (None, None) => Value::Table(Table::new()),
    };
    let settings = triggers.as_table().into_iter().flatten();
    let settings = settings.filter(|(_, of)| of.as_table().is_some_and(|of| !of.is_empty()));
    let settings: Table = settings
        .map(|(kind, of)| (kind.clone(), of.clone()))
        .collect();
    if !settings.is_empty() {
        table.insert("trigger".to_owned(), Value::Table(settings));
    }
    Ok(Value::Table(table))
}

fn variable(variable: Variable) -> Value {
    let mut table = Table::new();
    match variable.default {
        Some(default) => table.insert("default".to_owned(), default.into()),
        None => table.insert("required".to_owned(), true.into()),
    };
    if let Some(description) = variable.description {
        table.insert("description".to_owned(), description.into());
    }
    if variable.secret {
        table.insert("secret".to_owned(), true.into());
    }
    Value::Table(table)
}

fn component(component: Component, files: &mut Vec<(PathBuf, Content)>) -> Result<Value, String> {
    let id = component.id;
    if !component.trigger_dependencies.is_empty() {
        return Err(format!(
            "component {id} has trigger dependencies; push it composed"
        ));
    }
    let mut table = Table::new();
    let path = format!("components/{id}.wasm");
    let content = component.source.content(&format!("component {id}"))?;
    table.insert("source".to_owned(), path.clone().into());
    files.push((path.into(), content));
    let metadata = component.metadata.into_iter();
    for (key, value) in metadata.filter(|(_, value)| !value.is_null()) {
        let key = match key.as_str() {
            "databases" => "sqlite_databases".to_owned(),
            // It is built already.
            "build" => continue,
            _ => key,
        };
        table.insert(key, toml_of(value)?);
    }
    for (key, values) in [
        ("environment", component.env),
        ("variables", component.config),
    ] {
        if !values.is_empty() {
            let values = values.into_iter().map(|(name, value)| (name, value.into()));
            table.insert(key.to_owned(), Value::Table(values.collect()));
        }
    }
    if !component.files.is_empty() {
        let directory = format!("files/{id}");
        for file in component.files {
            let path = file.path.trim_start_matches('/');
            let content = file
                .content
                .content(&format!("the file {path} of component {id}"))?;
            files.push((PathBuf::from(&directory).join(path), content));
        }
        let mount = [("source", directory.as_str()), ("destination", "/")];
        let mount = mount.map(|(key, value)| (key.to_owned(), value.into()));
        let mount = Value::Table(mount.into_iter().collect());
        table.insert("files".to_owned(), Value::Array(vec![mount]));
    }
    dependencies(&id, component.dependencies, &mut table, files)?;
    Ok(Value::Table(table))
}

fn dependencies(
    id: &str,
    dependencies: BTreeMap<String, Dependency>,
    table: &mut Table,
    files: &mut Vec<(PathBuf, Content)>,
) -> Result<(), String> {
    let mut written = Table::new();
    for (index, (name, dependency)) in dependencies.into_iter().enumerate() {
        let path = format!("components/{id}.dependency{index}.wasm");
        let content = dependency
            .source
            .content(&format!("the dependency {name} of component {id}"))?;
        files.push((path.clone().into(), content));
        let mut entry = Table::from_iter([("path".to_owned(), path.into())]);
        if let Some(export) = dependency.export {
            entry.insert("export".to_owned(), export.into());
        }
        written.insert(name, Value::Table(entry));
        if dependency.inherit.as_str() == Some("All") {
            let key = "dependencies_inherit_configuration";
            table.insert(key.to_owned(), true.into());
        }
    }
    if !written.is_empty() {
        table.insert("dependencies".to_owned(), Value::Table(written));
    }
    Ok(())
}

/// The same in TOML, which has no null: members that are null are left out.
fn toml_of(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Bool(value) => value.into(),
        Json::String(text) => text.into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(float)) => float.into(),
            (None, None) => return Err(format!("the number {number} is out of range")),
        },
        Json::Array(items) => {
            let items = items.into_iter().filter(|item| !item.is_null());
            Value::Array(items.map(toml_of).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => {
            let members = members.into_iter().filter(|(_, member)| !member.is_null());
            let members = members.map(|(key, member)| Ok((key, toml_of(member)?)));
            Value::Table(members.collect::<Result<_, String>>()?)
        }
        Json::Null => return Err("a value is null".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_application_becomes_a_manifest_and_its_files() {
        let locked = serde_json::json!({
            "spin_lock_version": 1,
            "must_understand": ["host_requirements"],
            "host_requirements": { "local_service_chaining": "required" },
            "metadata": {
                "name": "shop", "version": "1.0.0", "description": null, "origin": "file:///x",
                "trigger": { "type": "redis", "address": "redis://localhost" },
            },
            "variables": { "token": { "secret": true }, "level": { "default": "info" } },
            "triggers": [{ "id": "trigger--front", "trigger_type": "http",
                "trigger_config": { "component": "front", "route": "/...", "executor": null } }],
            "components": [{
                "id": "front",
                "metadata": { "allowed_outbound_hosts": ["https://a.example"],
                    "databases": ["default"], "build": { "command": "make" } },
                "source": { "content_type": "application/wasm", "digest": "sha256:11" },
                "env": { "A": "b" },
                "config": { "token": "{{ token }}" },
                "files": [{ "path": "/static/a.txt", "inline": "aGk=" }],
                "dependencies": { "a:b/c@1.0.0": { "export": "d",
                    "source": { "content_type": "application/wasm", "digest": "sha256:22" } } },
            }],
        });
        let Unlocked { toml, files } = unlock(locked.to_string().as_bytes()).unwrap();
        let expected = r#"
            spin_manifest_version = 2
            [application]
            name = "shop"
            version = "1.0.0"
            trigger.redis.address = "redis://localhost"
            [variables]
            token = { required = true, secret = true }
            level = { default = "info" }
            [[trigger.http]]
            id = "trigger--front"
            component = "front"
            route = "/..."
            [component.front]
            source = "components/front.wasm"
            allowed_outbound_hosts = ["https://a.example"]
            sqlite_databases = ["default"]
            environment.A = "b"
            variables.token = "{{ token }}"
            files = [{ source = "files/front", destination = "/" }]
            [component.front.dependencies]
            "a:b/c@1.0.0" = { path = "components/front.dependency0.wasm", export = "d" }
        "#;
        let expected: Table = toml::from_str(expected).unwrap();
        assert_eq!(toml::from_str::<Table>(&toml).unwrap(), expected);
        let layer = |digest: &str| Content::Layer(digest.to_owned());
        assert_eq!(
            files,
            [
                ("components/front.wasm".into(), layer("sha256:11")),
                (
                    "files/front/static/a.txt".into(),
                    Content::Inline(b"hi".to_vec())
                ),
                (
                    "components/front.dependency0.wasm".into(),
                    layer("sha256:22")
                ),
            ]
        );
    }

    #[test]
    fn what_is_required_and_unknown_is_refused() {
        let refused = |member: &str, value: Json| {
            let mut locked = serde_json::json!({
                "spin_lock_version": 0, "triggers": [], "components": [],
            });
            locked[member] = value;
            match unlock(locked.to_string().as_bytes()) {
                Ok(_) => panic!("{member} is let through"),
                Err(why) => why,
            }
        };
        let why = refused("spin_lock_version", 2.into());
        assert!(why.contains("version 2"), "{why}");
        let why = refused("must_understand", serde_json::json!(["magic"]));
        assert!(why.contains("magic"), "{why}");
        let why = refused(
            "host_requirements",
            serde_json::json!({ "gpu": "required" }),
        );
        assert!(why.contains("gpu"), "{why}");
        let component = serde_json::json!([{ "id": "a", "source": { "content_type": "x" } }]);
        let why = refused("components", component);
        assert!(why.contains("component a is not in the artifact"), "{why}");
    }
}
