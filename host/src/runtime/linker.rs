//! Links a component: WASI, the capabilities' views, and typed calls into other components.

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{
    blobstore, config_2024_09_27, config_draft, config_rc1, keyvalue_draft, keyvalue_draft2,
    logging, messaging, secrets,
};
use super::calls;
use super::interfaces::{self, Verdict};
use super::state::InstanceState;
use super::{tasks, views};
use crate::manifest::model::Grants;
use crate::name::ComponentName;

/// What the components of an application export for each other.
#[derive(Default)]
pub struct Exports(Vec<Export>);

/// One interface that a component exports.
struct Export {
    interface: String,
    owner: ComponentName,
    ty: ComponentInstance,
    engine: Engine,
}

impl Exports {
    /// Adds what a component exports.
    pub fn add(&mut self, owner: &ComponentName, component: &Component) {
        let engine = component.engine();
        for (name, item) in component.component_type().exports(engine) {
            let of_host = HOSTS_NAMESPACES
                .iter()
                .any(|namespace| name.starts_with(namespace));
            if let (ComponentItem::ComponentInstance(ty), false) = (item.ty, of_host) {
                let (interface, engine) = (name.to_owned(), engine.clone());
                self.0.push(Export {
                    interface,
                    owner: owner.clone(),
                    ty,
                    engine,
                });
            }
        }
    }

    /// The one export that serves an import of another component.
    fn find(&self, import: &str, importer: &ComponentName) -> Result<&Export, String> {
        let mut serving = self.0.iter().filter(|export| {
            export.owner != *importer && interfaces::serves(&export.interface, import)
        });
        let first = serving.next().ok_or_else(|| NOBODY_EXPORTS.to_owned())?;
        match serving.next() {
            None => Ok(first),
            Some(second) => Err(format!(
                "both {} and {} export it, and only one may: remove one of them, or give it another \
                 interface",
                first.owner, second.owner
            )),
        }
    }
}

/// An import that cannot be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProblem {
    /// The import, such as `wasi:keyvalue/store@0.2.0-draft`.
    pub import: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// Imports that other components serve, with who does.
pub type Calls = Vec<(String, ComponentName)>;

/// Namespaces whose interfaces components export for the host, not for each other.
const HOSTS_NAMESPACES: &[&str] = &["wasi:", "wasmcloud:", "spin:", "fermyon:"];

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
    // Once more without the rest of WASI, which streams and polling do not need.
    host.allow_shadowing(true);
    wasmtime_wasi_io::add_to_linker_async(host)?;
    host.allow_shadowing(false);
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
    secrets::Secrets::add_to_linker::<_, View>(host, state)?;
    messaging::Messages::add_to_linker::<_, View>(host, state)?;
    views::spin::add_to_linker(host, concurrent)?;
    if concurrent {
        tasks::add_to_linker(host)?;
    }
    Ok(linker)
}

/// Adds the typed calls that `component` imports from others, and checks every other import.
///
/// Answers the imports that other components serve, with who does.
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
    concurrent: bool,
) -> wasmtime::Result<Result<Calls, Vec<ImportProblem>>> {
    let engine = component.engine().clone();
    let mut problems = Vec::new();
    let mut calls = Vec::new();
    for (import, item) in component.component_type().imports(&engine) {
        let reason = match refusal(import, name, grants) {
            Refusal::None => continue,
            Refusal::Host(reason) => reason,
            Refusal::Unknown => match item.ty {
                ComponentItem::ComponentInstance(wanted) => {
                    let found = match exports.find(import, name) {
                        Ok(export) => {
                            calls.push((import.to_owned(), export.owner.clone()));
                            link_call(linker, &engine, import, &wanted, export, concurrent)?
                        }
                        Err(reason) => Err(reason),
                    };
                    match found {
                        Ok(()) => continue,
                        Err(reason) => reason,
                    }
                }
                _ => "only interfaces can be imported; put it into an interface".to_owned(),
            },
        };
        problems.push(ImportProblem {
            import: import.to_owned(),
            reason,
        });
    }
    Ok(if problems.is_empty() {
        Ok(calls)
    } else {
        Err(problems)
    })
}

/// Which of `caller`'s imports `callee` does not export in the same form.
pub fn missing_in<'a>(
    caller: &Component,
    imports: impl Iterator<Item = &'a str>,
    callee: &Component,
) -> Vec<ImportProblem> {
    let mut exports = Exports::default();
    let owner: ComponentName = "candidate".parse().expect("a valid name");
    exports.add(&owner, callee);
    let engine = caller.engine();
    let world = caller.component_type();
    let mut problems = Vec::new();
    for import in imports {
        let wanted = world.get_import(engine, import);
        let Some(ComponentItem::ComponentInstance(wanted)) = wanted.map(|item| item.ty) else {
            continue;
        };
        let mut serving = exports.0.iter();
        let reason = match serving.find(|export| interfaces::serves(&export.interface, import)) {
            None => "it is not exported any more".to_owned(),
            Some(export) => match differences(engine, &wanted, export) {
                differences if differences.is_empty() => continue,
                differences => differences.join("; "),
            },
        };
        problems.push(ImportProblem {
            import: import.to_owned(),
            reason,
        });
    }
    problems
}

/// Links one imported interface to the component that exports it. The inner error says why not.
fn link_call(
    linker: &mut Linker<InstanceState>,
    engine: &Engine,
    import: &str,
    wanted: &ComponentInstance,
    export: &Export,
    concurrent: bool,
) -> wasmtime::Result<Result<(), String>> {
    let differences = differences(engine, wanted, export);
    if !differences.is_empty() {
        return Ok(Err(format!(
            "component {} exports it with other types: {}",
            export.owner,
            differences.join("; ")
        )));
    }
    let mut target = linker.instance(import)?;
    let linked = calls::link(
        &mut target,
        engine,
        concurrent,
        import,
        wanted,
        &export.interface,
        &export.owner,
    );
    Ok(linked.map_err(|error| error.to_string()))
}

/// What an import wants of an interface and its export does not have, function by function.
fn differences(engine: &Engine, wanted: &ComponentInstance, export: &Export) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, item) in wanted.exports(engine) {
        let ComponentItem::ComponentFunc(wanted) = item.ty else {
            continue;
        };
        match export
            .ty
            .get_export(&export.engine, name)
            .map(|item| item.ty)
        {
            Some(ComponentItem::ComponentFunc(had)) if is_same(&wanted, &had) => {}
            Some(_) => differences.push(format!("{name} differs")),
            None => differences.push(format!("{name} is missing")),
        }
    }
    differences
}

fn is_same(wanted: &ComponentFunc, had: &ComponentFunc) -> bool {
    wanted.async_() == had.async_()
        && wanted.params().eq(had.params())
        && wanted.results().eq(had.results())
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
        Verdict::OtherVersions { .. } if import.contains("@0.2.0-rc-2023-") => Refusal::Host(
            "it is of a release candidate of WASI 0.2 of 2023, whose functions have other names \
                 and types: build the component with a newer SDK"
                .to_owned(),
        ),
        Verdict::OtherVersions { versions } => Refusal::Host(format!(
            "this host provides the versions {}",
            versions.join(", ")
        )),
    }
}
