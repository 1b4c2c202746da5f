//! Everything that runs WebAssembly; the only module that names wasmtime.
//!
//! ```text
//! artifact -> compile (cached) -> link (grants checked) -> Loaded
//!                                                            |- http      -> response
//!                                                            |- messages  -> outcome
//!                                                            \- instances -> typed calls of others
//! ```
//!
//! It knows neither routes nor subscriptions, nor which revision is current: whoever calls it holds
//! a lease.

mod background;
mod bindings;
mod by_export;
mod calls;
mod check;
mod compile;
mod console;
mod engine;
mod error;
mod guest_log;
mod http;
mod instance;
mod interfaces;
mod limits;
mod linker;
mod load;
mod messages;
mod migration;
mod outbound;
mod peers;
mod shape;
mod state;
mod stats;
mod tasks;
mod told;
mod trace;
mod views;
mod waiting;
mod work;

pub use background::Background;
pub use by_export::bind_by_export;
pub use check::{check_artifact, check_imports};
pub use compile::{CompileCache, CompileError, Origin};
pub use engine::{EngineKind, Engines, PoolLimits};
pub use error::InvokeError;
pub use http::{GuestBody, HTTP_EXPORTS, HttpExport};
pub use instance::Instances;
pub use interfaces::{ACCEPTED, Accepted, Need, Verdict, verdict};
pub use linker::{Exports, ImportProblem};
pub use load::{Artifact, Compiled, LoadError, Loaded, Runtime, World};
pub use messages::{Handler as MessageHandler, Incoming, MESSAGE_EXPORTS};
pub use migration::{Migration, MigrationError};
pub use peers::{Callee, Peers};
pub use shape::{Shape, ShapeError, shape, whole_wit, wit};
pub use state::{Backends, Context, Over};
pub use stats::{Sample, Stats};
pub use told::tell;
pub use trace::{SpanId, Trace, TraceId};
pub use waiting::{Cancelled, Timer, Timers};
pub use work::{CALL_DEPTH_MAX, Work, WorkKind, WorkName};

/// The bodies that pass between components, and why one breaks off.
pub mod wasi_body {
    pub use wasmtime_wasi_http::{Error, WasiBody};
}
