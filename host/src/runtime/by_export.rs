//! Binding requests and messages to components by what they export, where the manifest names none.

use super::shape::{Shape, shape};
use crate::manifest::model::{Application, ByExport, PathPattern, RequestsByExport, Route};
use crate::name::ComponentName;

/// Binds what is left to exports in `application`, whose artifacts `bytes` gives: `None` where one
/// cannot be had, and then nothing is bound to its component.
///
/// # Errors
///
/// Requests or messages that no component handles, in words.
pub fn bind_by_export(
    application: &mut Application,
    bytes: impl Fn(&ComponentName) -> Option<Vec<u8>>,
) -> Result<(), Vec<String>> {
    let ByExport {
        components,
        requests,
        patterns,
    } = std::mem::take(&mut application.by_export);
    if requests.is_empty() && patterns.is_empty() {
        return Ok(());
    }
    let mut problems = Vec::new();
    let mut shapes: Vec<(&ComponentName, Shape)> = Vec::new();
    for name in &components {
        // What is no component is refused where it is loaded.
        if let Some(Ok(shape)) = bytes(name).map(|bytes| shape(&bytes)) {
            shapes.push((name, shape));
        }
    }
    let complete = shapes.len() == components.len();
    for wanted in &requests {
        match for_requests(&shapes, wanted) {
            Some(name) => application.routes.push(Route {
                host: wanted.host.clone(),
                ..Route::new(PathPattern::any(), name.clone())
            }),
            None if complete => problems.push(
                "no component of the workload exports wasi:http/incoming-handler or wasi:http/handler, which \
                 its hostInterfaces need"
                    .to_owned(),
            ),
            None => {}
        }
    }
    let handlers: Vec<_> = shapes
        .iter()
        .filter(|(_, shape)| exports(shape, "wasmcloud:messaging/handler@"))
        .collect();
    if handlers.is_empty() && complete && !patterns.is_empty() {
        problems.push(
            "no component of the workload exports wasmcloud:messaging/handler, which its subscriptions need"
                .to_owned(),
        );
    }
    for pattern in &patterns {
        for (name, _) in &handlers {
            application.subscribe(pattern, name);
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn for_requests<'a>(
    shapes: &[(&'a ComponentName, Shape)],
    wanted: &RequestsByExport,
) -> Option<&'a ComponentName> {
    let serves = |shape: &Shape| {
        exports(shape, "wasi:http/incoming-handler@") || exports(shape, "wasi:http/handler@")
    };
    let mut serving = shapes.iter().filter(|(_, shape)| serves(shape));
    let named = serving
        .clone()
        .find(|(name, _)| Some(name.as_str()) == wanted.name.as_deref());
    named.or_else(|| serving.next()).map(|(name, _)| *name)
}

fn exports(shape: &Shape, interface: &str) -> bool {
    let mut exports = shape.exports.iter();
    exports.any(|export| export.starts_with(interface))
}
