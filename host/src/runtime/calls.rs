//! Typed calls from one component into another.
//!
//! An import that another component exports is linked to a trampoline: it borrows an instance of the
//! callee's current revision, so that either side can be replaced without touching the other. The
//! instance is kept until the caller's work ends: one request never sees two revisions of a callee.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{LinkerInstance, Val};

use super::error::InvokeError;
use super::peers::Borrowed;
use super::state::{CALL_DEPTH_MAX, InstanceState, Work};
use crate::name::ComponentName;

/// The instances of other components that one piece of work holds.
#[derive(Default)]
pub struct Callees(HashMap<ComponentName, Borrowed>);

/// One function of one interface of another component.
struct Target {
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
    engine: &wasmtime::Engine,
    interface: &str,
    import: &ComponentInstance,
    exported_as: &str,
    component: &ComponentName,
) -> wasmtime::Result<()> {
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
            component: component.clone(),
            interface: exported_as.to_owned(),
            function: name.to_owned(),
        });
        if function.async_() {
            linker.func_new_concurrent(name, move |accessor, ty, params, results| {
                let target = target.clone();
                Box::pin(async move {
                    let borrowed = accessor.with(|mut access| {
                        let state: &mut InstanceState = access.get();
                        prepare(state, &target)
                    })?;
                    let borrowed = acquire(borrowed, &target).await?;
                    let called = call(borrowed, &target, &ty, params, results).await?;
                    accessor.with(|mut access| keep(access.get(), &target, called));
                    Ok(())
                })
            })?;
        } else {
            linker.func_new_async(name, move |store, ty, params, results| {
                Box::new(call_from(store, target.clone(), ty, params, results))
            })?;
        }
    }
    Ok(())
}

async fn call_from(
    mut store: StoreContextMut<'_, InstanceState>,
    target: Arc<Target>,
    ty: ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let prepared = prepare(store.data_mut(), &target)?;
    let borrowed = acquire(prepared, &target).await?;
    let borrowed = call(borrowed, &target, &ty, params, results).await?;
    keep(store.data_mut(), &target, borrowed);
    Ok(())
}

/// The callee that this work already holds, or the way to get one.
enum Prepared {
    Held(Borrowed),
    ToBorrow { peers: Arc<dyn super::peers::Peers>, work: Work },
}

fn prepare(state: &mut InstanceState, target: &Target) -> wasmtime::Result<Prepared> {
    if let Some(held) = state.callees.0.remove(&target.component) {
        return Ok(Prepared::Held(held));
    }
    let work = Work { depth: state.work.depth + 1, ..state.work };
    if work.depth > CALL_DEPTH_MAX {
        let component = target.component.clone();
        return Err(InvokeError::TooDeep { component, depth_max: CALL_DEPTH_MAX }.into());
    }
    let peers = state.context.backends.peers.get().and_then(std::sync::Weak::upgrade);
    let peers =
        peers.ok_or_else(|| InvokeError::NotRunning { component: target.component.clone() })?;
    Ok(Prepared::ToBorrow { peers, work })
}

async fn acquire(prepared: Prepared, target: &Target) -> wasmtime::Result<Borrowed> {
    match prepared {
        Prepared::Held(borrowed) => Ok(borrowed),
        Prepared::ToBorrow { peers, work } => Ok(peers.borrow(&target.component, work).await?),
    }
}

/// Calls the callee. When it fails, or is cancelled, the callee's instance is dropped: its state is
/// not known.
async fn call(
    mut borrowed: Borrowed,
    target: &Target,
    _ty: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<Borrowed> {
    let instance = &mut borrowed.instance;
    let function = instance
        .instance
        .get_export_index(&mut instance.store, None, &target.interface)
        .and_then(|interface| {
            instance.instance.get_export_index(
                &mut instance.store,
                Some(&interface),
                &target.function,
            )
        })
        .and_then(|index| instance.instance.get_func(&mut instance.store, index))
        .ok_or_else(|| InvokeError::NotExported {
            component: target.component.clone(),
            export: format!("{}.{}", target.interface, target.function),
        })?;
    function.call_async(&mut instance.store, params, results).await.map_err(|source| {
        let state = instance.store.data();
        state.context.metrics.traps.inc();
        InvokeError::Trap {
            component: target.component.clone(),
            memory_refused: state.limiter.refused(),
            source,
        }
    })?;
    Ok(borrowed)
}

fn keep(state: &mut InstanceState, target: &Target, borrowed: Borrowed) {
    state.callees.0.insert(target.component.clone(), borrowed);
}

impl Drop for Callees {
    fn drop(&mut self) {
        for (_, borrowed) in self.0.drain() {
            borrowed.give_back();
        }
    }
}
