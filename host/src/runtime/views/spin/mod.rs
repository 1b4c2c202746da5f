//! The interfaces of Spin, in the versions that its SDKs' guests import: `fermyon:spin@2.0.0`, whose
//! functions are synchronous, and `spin:*`, most of whose are not.
//!
//! Each is there for every component to link, since guests built with an SDK import whatever their
//! language's world has: what is not granted is denied when it is asked for, with the interface's own
//! error.

mod key_value;
pub mod postgres;
pub mod redis;
pub mod sqlite;
pub mod unserved;
mod variables;

use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, HasData, Linker};

use crate::runtime::bindings::{spin_2, spin_3, spin_postgres_3};
use crate::runtime::state::InstanceState;
use crate::runtime::tasks::turn_to_caller;

/// How the generated bindings reach the instance.
pub struct Spin;

impl HasData for Spin {
    type Data<'a> = &'a mut InstanceState;
}

/// What an asynchronous function gets of the instance.
type Caller = Accessor<InstanceState, Spin>;

/// Looks at the instance, turned to the work of the task that calls.
fn at<R>(caller: &Caller, look: impl FnOnce(&mut InstanceState) -> R) -> wasmtime::Result<R> {
    caller.with(|mut access| {
        turn_to_caller(&mut access.as_context_mut())?;
        Ok(look(access.get()))
    })
}

impl InstanceState {
    /// Tells an operator what would have allowed a connection.
    fn connection_denied(&self, address: &str) {
        let component = &self.context.component;
        tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), "outbound connection denied: to allow it, add \"{address}\" to what the manifest lets the component reach");
    }
}

/// Links all of them. Asynchronous functions need an engine with concurrency: without it there is
/// what the packages that have both have of synchronous ones.
///
/// # Errors
///
/// Two definitions of one name, which is a mistake of this module.
pub fn add_to_linker(linker: &mut Linker<InstanceState>, concurrent: bool) -> wasmtime::Result<()> {
    fn state(state: &mut InstanceState) -> &mut InstanceState {
        state
    }
    spin_2::SpinTwo::add_to_linker::<_, Spin>(linker, state)?;
    spin_postgres_3::SpinPostgresThree::add_to_linker::<_, Spin>(linker, state)?;
    if concurrent {
        return spin_3::SpinThree::add_to_linker::<_, Spin>(linker, state);
    }
    sqlite::add_synchronous(linker)?;
    postgres::add_synchronous(linker)
}
