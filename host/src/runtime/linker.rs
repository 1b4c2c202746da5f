//! Links a component: WASI, the capabilities' views, and typed calls into other components.

use std::collections::BTreeMap;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::Engine;

use super::bindings::{
    blobstore, config_2024_09_27, config_draft, config_rc1, keyvalue_draft, keyvalue_draft2,
    logging, messaging,
};
use super::calls;
use super::interfaces::{self, Verdict};
use super::state::InstanceState;
use crate::manifest::model::Grants;
use crate::name::ComponentName;

/// What the components of an application export: interface name to the component that has it.
pub type Exports = BTreeMap<String, ComponentName>;

/// An import that cannot be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProblem {
    /// The import, such as `wasi:keyvalue/store@0.2.0-draft`.
    pub import: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// What is said of an import that nobody provides.
pub const NOBODY_EXPORTS: &str = "the host does not provide it and no other component of the \
                                  application exports it: add the component that does";

/// The host's own interfaces on one engine.
///
/// # Errors
///
/// Two definitions of one name, which is a mistake of this module.
pub fn host_linker(engine: &Engine, concurrent: bool) -> wasmtime::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    let host = &mut linker;
    wasmtime_wasi::p2::add_to_linker_async(host)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(host)?;
    if concurrent {
        wasmtime_wasi::p3::add_to_linker(host)?;
        wasmtime_wasi_http::p3::add_to_linker(host)?;
    }
    fn state(state: &mut InstanceState) -> &mut InstanceState {
        state
    }
    type View = HasSelf<InstanceState>;
    keyvalue_draft::Imports::add_to_linker::<_, View>(host, state)?;
    keyvalue_draft2::Imports::add_to_linker::<_, View>(host, state)?;
    // Not the whole world: its wasi:io is there already.
    blobstore::wasi::blobstore::blobstore::add_to_linker::<_, View>(host, state)?;
    blobstore::wasi::blobstore::container::add_to_linker::<_, View>(host, state)?;
    blobstore::wasi::blobstore::types::add_to_linker::<_, View>(host, state)?;
    config_rc1::Imports::add_to_linker::<_, View>(host, state)?;
    config_2024_09_27::Imports::add_to_linker::<_, View>(host, state)?;
    config_draft::Imports::add_to_linker::<_, View>(host, state)?;
    logging::Imports::add_to_linker::<_, View>(host, state)?;
    messaging::Messages::add_to_linker::<_, View>(host, state)?;
    Ok(linker)
}

/// Adds the typed calls that `component` imports from others, and checks every other import.
///
/// # Errors
///
/// The outer error is the engine's. The inner one lists all imports that cannot be satisfied.
pub fn link_imports(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    name: &ComponentName,
    grants: &Grants,
    exports: &Exports,
) -> wasmtime::Result<Result<(), Vec<ImportProblem>>> {
    let engine = component.engine().clone();
    let mut problems = Vec::new();
    for (import, item) in component.component_type().imports(&engine) {
        let reason = match refusal(import, name, grants) {
            Refusal::None => continue,
            Refusal::Host(reason) => reason,
            Refusal::Unknown => {
                let exported = exports
                    .iter()
                    .find(|(export, owner)| interfaces::serves(export, import) && *owner != name);
                match (exported, item.ty) {
                    (Some((export, owner)), ComponentItem::ComponentInstance(instance)) => {
                        let mut target = linker.instance(import)?;
                        match calls::link(&mut target, &engine, import, &instance, export, owner) {
                            Ok(()) => continue,
                            Err(error) => error.to_string(),
                        }
                    }
                    (None, ComponentItem::ComponentInstance(_)) => NOBODY_EXPORTS.to_owned(),
                    (_, _) => "only interfaces can be imported; put it into an interface".to_owned(),
                }
            }
        };
        problems.push(ImportProblem { import: import.to_owned(), reason });
    }
    Ok(if problems.is_empty() { Ok(()) } else { Err(problems) })
}

/// The host's answer to an import, in words where it is no.
pub enum Refusal {
    /// The host provides it.
    None,
    /// The host knows it, and this is why the component does not get it.
    Host(String),
    /// Only another component could provide it.
    Unknown,
}

/// Whether, and why not, the host gives `import` to the component `name`.
pub fn refusal(import: &str, name: &ComponentName, grants: &Grants) -> Refusal {
    match interfaces::verdict(import, grants) {
        Verdict::Provided => Refusal::None,
        Verdict::Unknown => Refusal::Unknown,
        Verdict::NotGranted { line } => Refusal::Host(format!(
            "nothing grants it: add `{line}` to [component.{name}.grants]"
        )),
        Verdict::OtherVersions { versions } => {
            Refusal::Host(format!("this host provides the versions {}", versions.join(", ")))
        }
    }
}

/// The interfaces that a component exports and that are not the host's to call.
pub fn typed_exports(component: &Component) -> Vec<String> {
    let engine = component.engine();
    component
        .component_type()
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("wasi:") && !name.starts_with("wasmcloud:"))
        .collect()
}
