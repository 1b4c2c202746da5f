//! What the host keeps beside each instance.

use std::sync::{Arc, OnceLock, Weak};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::calls::Callees;
use super::guest_log::GuestLog;
use super::limits::MemoryLimiter;
use super::outbound::Outbound;
use super::peers::Peers;
use crate::capability::blobs::Blobs;
use crate::capability::keyvalue::KeyValue;
use crate::capability::streams::Streams;
use crate::manifest::model::{Grants, Limits, Reuse};
use crate::name::{ComponentName, Digest};
use crate::telemetry::ComponentMetrics;

/// The capabilities' backends, one set for the host.
pub struct Backends {
    /// Key-value stores.
    pub keyvalue: Arc<dyn KeyValue>,
    /// Message streams.
    pub streams: Arc<dyn Streams>,
    /// Blob containers.
    pub blobs: Blobs,
    /// The other components, once dispatch is there.
    pub peers: OnceLock<Weak<dyn Peers>>,
}

/// What all instances of one revision share.
pub struct Context {
    /// The component.
    pub component: ComponentName,
    /// Its artifact.
    pub digest: Digest,
    /// What it may use.
    pub grants: Grants,
    /// What it may consume.
    pub limits: Limits,
    /// How far its instances are shared.
    pub reuse: Reuse,
    /// Configuration values, without secrets: what `wasi:config` answers.
    pub config: Vec<(String, String)>,
    /// Configuration and secrets: what the environment holds.
    pub environment: Vec<(String, String)>,
    /// Who fulfils its capabilities.
    pub backends: Arc<Backends>,
    /// Where its work is counted.
    pub metrics: Arc<ComponentMetrics>,
}

/// What an instance works for right now.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Names the request or delivery in the logs.
    pub id: u64,
    /// How many calls between components lie between it and the outside world.
    pub depth: u8,
}

/// How deep calls between components may go. Applications have two or three layers; a circle would
/// otherwise eat every instance of the pool.
pub const CALL_DEPTH_MAX: u8 = 8;

/// Resources that one instance may hold at once: each may keep header fields, 64 KiB by default, in
/// the host's memory. A request needs about ten.
const RESOURCES_MAX: usize = 1000;

/// The host's side of one instance.
pub struct InstanceState {
    pub(super) context: Arc<Context>,
    pub(super) work: Work,
    /// Made when the guest first asks for it: it costs as much as the rest of an instance that needs
    /// no more than HTTP and its own memory.
    wasi: Option<Box<WasiCtx>>,
    pub(super) http: WasiHttpCtx,
    pub(super) outbound: Outbound,
    pub(super) table: ResourceTable,
    pub(super) limiter: MemoryLimiter,
    pub(super) callees: Callees,
    /// Only held: it counts the instance for as long as it lives.
    _alive: Alive,
}

impl InstanceState {
    /// The state of a new instance.
    pub fn new(context: Arc<Context>, work: Work) -> Self {
        context.metrics.instances.inc();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(context.limits.request_header_bytes_max);
        Self {
            wasi: None,
            http,
            outbound: Outbound::new(context.clone(), work),
            table,
            limiter: MemoryLimiter::new(context.limits.memory_bytes_max),
            callees: Callees::default(),
            _alive: Alive(context.clone()),
            work,
            context,
        }
    }

    /// Notes that the instance now also works for `work`.
    pub fn set_work(&mut self, work: Work) {
        self.work = work;
        self.outbound.turn_to(work);
    }

    /// Turns to another piece of work: what the last one held of other components is given back.
    pub fn turn_to(&mut self, work: Work) {
        self.set_work(work);
        self.callees.clear();
    }
}

struct Alive(Arc<Context>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.metrics.instances.dec();
    }
}

/// What `wasi:cli` and its like answer.
fn wasi(context: &Arc<Context>, work: Work) -> WasiCtx {
    let log = GuestLog::new(context.clone(), work.id);
    WasiCtxBuilder::new()
        .envs(&context.environment)
        .stdout(log.stdout())
        .stderr(log.stderr())
        .build()
}

impl IoView for InstanceState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self
                .wasi
                .get_or_insert_with(|| Box::new(wasi(&self.context, self.work))),
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
