//! Why a piece of work on a component failed.
//!
//! Four kinds stay apart because their consequences differ: the guest answered an error, the guest
//! trapped or ran too long, the host could not serve it, and the caller was wrong.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Store};

use super::state::InstanceState;
use crate::name::ComponentName;

/// Why a call into a component failed.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The guest answered with an error instead of a response or an acknowledgement.
    #[error("component {component} answered an error: {error}")]
    GuestError {
        /// Who.
        component: ComponentName,
        /// The error in the guest's words.
        error: String,
    },
    /// The guest returned without having set a response.
    #[error("component {component} returned without a response")]
    NoResponse {
        /// Who.
        component: ComponentName,
    },
    /// The guest trapped: unreachable code, a panic, an access out of bounds, a stack overflow, an
    /// allocation past its limit.
    #[error("component {component} trapped{}", if *memory_refused { " after it asked for more memory than its limit" } else { "" })]
    Trap {
        /// Who.
        component: ComponentName,
        /// It had been refused memory before.
        memory_refused: bool,
        /// The trap and the guest's stack.
        source: wasmtime::Error,
    },
    /// The guest did not finish, or did not begin its response, in time.
    #[error("component {component} did not answer within {}", humantime::format_duration(*deadline))]
    Deadline {
        /// Who.
        component: ComponentName,
        /// The limit that passed.
        deadline: Duration,
    },
    /// As many requests wait for an instance as the manifest allows.
    #[error(
        "component {component} is busy: its {instances_max} instances work and {queue_max} requests wait"
    )]
    Overloaded {
        /// Who.
        component: ComponentName,
        /// The limit of instances.
        instances_max: usize,
        /// The limit of the queue.
        queue_max: usize,
    },
    /// The engine's pool has no slot for another instance.
    #[error("no instance of component {component} can be made now")]
    PoolExhausted {
        /// Who.
        component: ComponentName,
        /// What the pool said.
        source: wasmtime::Error,
    },
    /// The component cannot be instantiated.
    #[error("component {component} cannot be instantiated{}", if *memory_refused { ": it asked for more memory than its limit" } else { "" })]
    Instantiate {
        /// Who.
        component: ComponentName,
        /// It was refused memory on the way.
        memory_refused: bool,
        /// Why.
        source: wasmtime::Error,
    },
    /// The host failed.
    #[error("the host failed while it served component {component}")]
    Host {
        /// Who.
        component: ComponentName,
        /// Why.
        source: wasmtime::Error,
    },
    /// The host panicked while it served the component: a mistake of ours.
    #[error("the host panicked while it served component {component}")]
    Panic {
        /// Who.
        component: ComponentName,
    },
    /// The component has no such export.
    #[error("component {component} does not export {export}")]
    NotExported {
        /// Who.
        component: ComponentName,
        /// What was asked for.
        export: String,
    },
    /// Components call each other in a circle, or too deep.
    #[error("calls between components are more than {depth_max} deep at component {component}")]
    TooDeep {
        /// Who would have been called.
        component: ComponentName,
        /// The limit.
        depth_max: u8,
    },
    /// The work's revision was replaced, and the work did not end within the limit of its drain.
    #[error("component {component} was replaced, and this work did not finish in time")]
    Retired {
        /// Who.
        component: ComponentName,
    },
    /// No such component, or it is shut down.
    #[error("component {component} is not running")]
    NotRunning {
        /// Who.
        component: ComponentName,
    },
    /// The request's headers are larger than the component takes.
    #[error("the request's headers have {bytes} bytes; component {component} takes {bytes_max}")]
    HeadersTooLarge {
        /// Who.
        component: ComponentName,
        /// What came.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The request's body is larger than the component takes.
    #[error(
        "the request's body is larger than the {bytes_max} bytes that component {component} takes"
    )]
    BodyTooLarge {
        /// Who.
        component: ComponentName,
        /// The limit.
        bytes_max: u64,
    },
    /// The request is not valid HTTP for a component.
    #[error("the request is not valid: {reason}")]
    BadRequest {
        /// What is wrong.
        reason: String,
    },
}

impl InvokeError {
    /// Why a call into a guest ended without a result. A callee that had no room for the call, say,
    /// is not a trap of the caller.
    pub(super) fn of_call(store: &Store<InstanceState>, source: wasmtime::Error) -> Self {
        let source = match source.downcast::<Self>() {
            Ok(error @ (Self::Overloaded { .. } | Self::PoolExhausted { .. })) => return error,
            Ok(error @ (Self::NotRunning { .. } | Self::TooDeep { .. } | Self::Retired { .. })) => {
                return error;
            }
            Ok(error) => error.into(),
            Err(source) => source,
        };
        let state = store.data();
        let component = state.context.component.clone();
        if source.is::<PoolConcurrencyLimitError>() {
            return Self::PoolExhausted { component, source };
        }
        state.context.trapped();
        Self::Trap {
            component,
            memory_refused: state.limiter.refused(),
            source,
        }
    }
}
