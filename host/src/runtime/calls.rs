//! Typed calls from one component into another.
//!
//! An import that another component exports is linked to a trampoline: it borrows an instance of the
//! callee's current revision for the call, so that either side can be replaced without touching the
//! other. The callee's lease is kept until the caller's request is answered: one request never sees two
//! revisions of a callee.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{LinkerInstance, Val};
use wasmtime::{AsContextMut, Engine, StoreContextMut};

use super::error::InvokeError;
use super::peers::{Callee, Peers};
use super::state::InstanceState;
use super::tasks::{SharedCallees, turn_to_caller};
use super::work::{CALL_DEPTH_MAX, Work};
use crate::name::ComponentName;

/// The revisions of other components that one piece of work has called.
#[derive(Default)]
pub struct Callees(Vec<(ComponentName, Callee)>);

impl Callees {
    fn get(&self, component: &ComponentName) -> Option<&Callee> {
        let mut held = self.0.iter();
        held.find_map(|(held, callee)| (held == component).then_some(callee))
    }

    /// Keeps the first of a component's revisions that came, and gives that one.
    fn keep(&mut self, target: &Target, leased: Callee) -> Callee {
        if let Some(kept) = self.get(&target.component) {
            return kept.clone();
        }
        self.0.push((target.component.clone(), leased.clone()));
        leased
    }

    /// Gives all of them back.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Why a lock can be taken.
const UNPOISONED: &str = "no holder of this lock panics";

/// Numbers the links between imports and callees.
static LINKS: AtomicU64 = AtomicU64::new(0);

/// One function of one interface of another component.
struct Target {
    link: u64,
    component: ComponentName,
    interface: String,
    function: String,
}

/// Links every function of an imported interface to the component that exports it.
///
/// # Errors
///
/// The interface has something that cannot cross between components: a resource, or an
/// asynchronous function on an engine without concurrency.
pub fn link(
    linker: &mut LinkerInstance<'_, InstanceState>,
    engine: &Engine,
    concurrent: bool,
    interface: &str,
    import: &ComponentInstance,
    exported_as: &str,
    component: &ComponentName,
) -> wasmtime::Result<()> {
    // An instance that works for several requests at once keeps the callees beside its tasks.
    let keeps = !concurrent;
    for (name, item) in import.exports(engine) {
        let ComponentItem::ComponentFunc(function) = item.ty else {
            if matches!(item.ty, ComponentItem::Resource(_)) {
                wasmtime::bail!(
                    "{interface} has the resource `{name}`, and handles of resources cannot cross \
                     between components that are replaced one by one: pass records instead"
                );
            }
            continue;
        };
        let target = Arc::new(Target {
            link: LINKS.fetch_add(1, Ordering::Relaxed),
            component: component.clone(),
            interface: exported_as.to_owned(),
            function: name.to_owned(),
        });
        if function.async_() {
            linker.func_new_concurrent(name, move |accessor, _ty, params, results| {
                let target = target.clone();
                Box::pin(async move {
                    let pinned = accessor.with(|mut access| {
                        turn_to_caller(&mut access.as_context_mut())?;
                        pin(access.get(), &target)
                    })?;
                    let work = pinned.work.clone();
                    call(&pinned.callee(&target)?, work, &target, params, results).await
                })
            })?;
        } else {
            linker.func_new_async(name, move |store, _ty, params, results| {
                Box::new(call_from(store, target.clone(), keeps, params, results))
            })?;
        }
    }
    Ok(())
}

async fn call_from(
    mut store: StoreContextMut<'_, InstanceState>,
    target: Arc<Target>,
    keeps: bool,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    turn_to_caller(&mut store)?;
    let pinned = pin(store.data_mut(), &target)?;
    let work = pinned.work.clone();
    let callee = pinned.callee(&target)?;
    call(&callee, work, &target, params, results).await?;
    let callees = &mut store.data_mut().callees;
    if keeps && callees.get(&target.component).is_none() {
        callees.0.push((target.component.clone(), callee));
    }
    Ok(())
}

/// Who does a call, and for what work.
struct Pinned {
    found: Found,
    /// Where a request of a shared instance keeps the revisions that it has called.
    kept: Option<SharedCallees>,
    work: Work,
}

/// The callee's revision that this work has called before, or the way to lease the current one.
enum Found {
    Held(Callee),
    Peers(Arc<dyn Peers>),
}

impl Pinned {
    fn callee(self, target: &Target) -> wasmtime::Result<Callee> {
        let peers = match self.found {
            Found::Held(callee) => return Ok(callee),
            Found::Peers(peers) => peers,
        };
        let leased = peers.callee(&target.component, &self.work)?;
        Ok(match &self.kept {
            Some(kept) => kept.lock().expect(UNPOISONED).keep(target, leased),
            None => leased,
        })
    }
}

fn pin(state: &mut InstanceState, target: &Target) -> wasmtime::Result<Pinned> {
    let work = state.work.next();
    let component = || target.component.clone();
    if work.depth > CALL_DEPTH_MAX {
        let depth_max = CALL_DEPTH_MAX;
        return Err(InvokeError::TooDeep {
            component: component(),
            depth_max,
        }
        .into());
    }
    let kept = state.tasks.callees();
    let held = match &kept {
        Some(kept) => kept
            .lock()
            .expect(UNPOISONED)
            .get(&target.component)
            .cloned(),
        None => state.callees.get(&target.component).cloned(),
    };
    if let Some(callee) = held {
        let found = Found::Held(callee);
        return Ok(Pinned { found, kept, work });
    }
    let peers = state
        .context
        .backends
        .peers
        .get()
        .and_then(std::sync::Weak::upgrade);
    let peers = peers.ok_or_else(|| InvokeError::NotRunning {
        component: component(),
    })?;
    let found = Found::Peers(peers);
    Ok(Pinned { found, kept, work })
}

/// Calls the callee in an instance of its own. When it fails, or is cancelled, the instance is
/// dropped: its state is not known.
async fn call(
    callee: &Callee,
    work: Work,
    target: &Target,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let context = callee.instances.context();
    let began = Instant::now();
    let over = context.over.of(work.kind);
    let called = tokio::select! {
        biased;
        called = call_instance(callee, work, target, params, results) => called,
        () = over.cancelled() => Err(InvokeError::Retired {
            component: target.component.clone(),
        }),
    };
    context.stats.ended(called.is_err(), began.elapsed());
    Ok(called?)
}

async fn call_instance(
    callee: &Callee,
    work: Work,
    target: &Target,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), InvokeError> {
    let instances = &callee.instances;
    let function = instances.function(target.link, &target.interface, &target.function);
    let mut instance = instances.take(work).await?;
    let function = function
        .and_then(|function| instance.instance.get_func(&mut instance.store, function))
        .ok_or_else(|| InvokeError::NotExported {
            component: target.component.clone(),
            export: format!("{}.{}", target.interface, target.function),
        })?;
    match function
        .call_async(&mut instance.store, params, results)
        .await
    {
        Ok(()) => {
            instances.give_back(instance);
            Ok(())
        }
        Err(source) => Err(InvokeError::of_call(&instance.store, source)),
    }
}
