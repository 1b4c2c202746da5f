//! What can be said of an application's imports without compiling anything.

use std::collections::BTreeMap;

use super::interfaces::serves;
use super::linker::{NOBODY_EXPORTS, Refusal, refusal};
use super::shape::{Shape, shape};
use crate::manifest::model::{Application, Grants};
use crate::name::ComponentName;

/// Every import that nothing provides or grants, and every artifact that is not a component, in
/// words. Components whose artifacts are not there are passed over.
pub fn check_imports(application: &Application) -> Vec<String> {
    let mut problems = Vec::new();
    let shapes = shapes(application, &mut problems);
    for (name, shape) in &shapes {
        let grants = &application.components[*name].grants;
        for import in &shape.imports {
            let reason = match refusal(import, name, grants) {
                Refusal::None => continue,
                Refusal::Host(reason) => reason,
                Refusal::Unknown if is_exported(&shapes, name, import) => continue,
                Refusal::Unknown => NOBODY_EXPORTS.to_owned(),
            };
            problems.push(format!("component {name} imports {import}: {reason}"));
        }
    }
    problems
}

/// What is wrong with an artifact that can be told before it is compiled: that it is no component, or
/// imports what the host does not give to the component `name`. Whether other components export what
/// else it imports is known when it is linked.
pub fn check_artifact(name: &ComponentName, grants: &Grants, bytes: &[u8]) -> Vec<String> {
    let shape = match shape(bytes) {
        Ok(shape) => shape,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            return vec![format!("component {name}: {error}{cause}")];
        }
    };
    let refused = |import: &String| match refusal(import, name, grants) {
        Refusal::None | Refusal::Unknown => None,
        Refusal::Host(reason) => Some(format!("component {name} imports {import}: {reason}")),
    };
    shape.imports.iter().filter_map(refused).collect()
}

fn is_exported(
    shapes: &BTreeMap<&ComponentName, Shape>,
    importer: &ComponentName,
    import: &str,
) -> bool {
    shapes
        .iter()
        .filter(|(name, _)| **name != importer)
        .any(|(_, shape)| shape.exports.iter().any(|export| serves(export, import)))
}

fn shapes<'a>(
    application: &'a Application,
    problems: &mut Vec<String>,
) -> BTreeMap<&'a ComponentName, Shape> {
    let mut shapes = BTreeMap::new();
    for (name, component) in &application.components {
        let path = &component.artifact.path;
        if !path.exists() {
            continue;
        }
        let read = std::fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|bytes| shape(&bytes).map_err(|error| error.to_string())) {
            Ok(shape) => {
                shapes.insert(name, shape);
            }
            Err(error) => {
                problems.push(format!(
                    "component {name}: its artifact {}: {error}",
                    path.display()
                ));
            }
        }
    }
    shapes
}
