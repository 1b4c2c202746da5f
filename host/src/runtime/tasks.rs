//! Which request each guest task of a shared instance works for.
//!
//! An instance of a 0.3 component works for several requests at once, each in a guest task of its
//! own. The engine tells a host function that has the store which task called it; those that need the
//! request's identity, depth or callees are linked here, and turn the instance to that task first.
//!
//! The engine gives no store to a standard stream: its lines carry a request's number only where the
//! instance works for one alone. Of a single task it tells neither the end, once it has responded,
//! nor can it be cancelled (wasmtime issue 11833): the instance as a whole can.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use wasmtime::component::{GuestTaskId, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

use super::bindings::logging::wasi::logging::logging::{Host as _, Level};
use super::bindings::messaging::wasmcloud::messaging::consumer::Host as _;
use super::bindings::messaging::wasmcloud::messaging::types::BrokerMessage;
use super::calls::Callees;
use super::state::InstanceState;
use super::work::Work;

/// The callees of a request, for as long as it is answered.
pub type SharedCallees = Arc<Mutex<Callees>>;

/// The tasks of one instance. The engine gives an ended task's id to a later one, so there are no
/// more of them than ever lived at once.
#[derive(Default)]
pub struct Tasks {
    by_id: HashMap<GuestTaskId, Task>,
    current: Weak<Mutex<Callees>>,
}

struct Task {
    work: Work,
    callees: Weak<Mutex<Callees>>,
}

impl Tasks {
    /// A task begins to work for a request.
    pub fn begin(&mut self, id: GuestTaskId, work: Work, callees: &SharedCallees) {
        let callees = Arc::downgrade(callees);
        self.by_id.insert(id, Task { work, callees });
    }

    /// The callees of the request that the instance was turned to last, unless it was answered.
    pub fn callees(&self) -> Option<SharedCallees> {
        self.current.upgrade()
    }
}

/// What `wasi:http/outgoing-handler.handle` takes.
type OutgoingParams = (
    Resource<HostOutgoingRequest>,
    Option<Resource<p2::RequestOptions>>,
);

/// Turns the instance to the work of the task that calls the host now. Without shared instances
/// there is nothing to turn.
///
/// # Errors
///
/// The engine has lost track of its tasks.
pub fn turn_to_caller(store: &mut StoreContextMut<'_, InstanceState>) -> wasmtime::Result<()> {
    if store.data().tasks.by_id.is_empty() {
        return Ok(());
    }
    // The root of the stack is the call that the host made: the request.
    let root = store.async_call_stack()?.last();
    let state = store.data_mut();
    if let Some(task) = root.and_then(|root| state.tasks.by_id.get(&root)) {
        let work = task.work.clone();
        state.tasks.current = task.callees.clone();
        state.set_work(work);
    }
    Ok(())
}

/// Links anew, for an engine with concurrency, the host's functions that need to know the request.
///
/// # Errors
///
/// A definition does not fit the engine, which is a mistake of this module.
pub fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker
        .instance("wasi:http/client@0.3.0")?
        .func_wrap_concurrent("send", |accessor, (request,): (Resource<p3::Request>,)| {
            Box::pin(async move {
                accessor.with(|mut access| turn_to_caller(&mut access.as_context_mut()))?;
                // Its first step, before it waits for anything, asks the instance's outbound side.
                let accessor = accessor.with_getter::<WasiHttp>(InstanceState::http);
                Ok((match WasiHttp::send(&accessor, request).await {
                    Ok(response) => Ok(response),
                    Err(error) => Err(error.downcast()?),
                },))
            })
        })?;
    linker
        .instance("wasi:http/outgoing-handler@0.2.12")?
        .func_wrap("handle", |mut store, (request, options): OutgoingParams| {
            turn_to_caller(&mut store)?;
            Ok((match store.data_mut().http().handle(request, options) {
                Ok(response) => Ok::<Resource<HostFutureIncomingResponse>, _>(response),
                Err(error) => Err::<_, p2::ErrorCode>(error.downcast()?),
            },))
        })?;
    linker
        .instance("wasi:logging/logging@0.1.0-draft")?
        .func_wrap(
            "log",
            |mut store, (level, context, message): (Level, String, String)| {
                turn_to_caller(&mut store)?;
                store.data_mut().log(level, context, message)
            },
        )?;
    linker
        .instance("wasmcloud:messaging/consumer@0.2.0")?
        .func_wrap_async("publish", |mut store, (message,): (BrokerMessage,)| {
            Box::new(async move {
                turn_to_caller(&mut store)?;
                Ok((store.data_mut().publish(message).await?,))
            })
        })?;
    linker.allow_shadowing(false);
    Ok(())
}
