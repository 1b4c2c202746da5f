//! What can be said of an application's imports without compiling anything.

use std::collections::BTreeMap;

use super::interfaces::serves;
use super::linker::{NOBODY_EXPORTS, Refusal, refusal};
use super::shape::{Shape, shape};
use crate::manifest::model::Application;
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
