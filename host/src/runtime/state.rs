//! What the host keeps beside each instance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use tokio_util::sync::CancellationToken;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::calls::Callees;
use super::console;
use super::guest_log::GuestLog;
use super::limits::MemoryLimiter;
use super::outbound::Outbound;
use super::peers::Peers;
use super::stats::Stats;
use super::tasks::{SharedCallees, Tasks};
use super::work::{Work, WorkKind, WorkName};
use crate::capability::blobs::Blobs;
use crate::capability::keyvalue::KeyValue;
use crate::capability::mounts::MountedDirectory;
use crate::capability::outbound::postgres::PostgresConnections;
use crate::capability::outbound::redis::RedisConnections;
use crate::capability::sqlite::Sqlite;
use crate::capability::streams::{Delivery, Streams};
use crate::manifest::ambient::{Ambient, Sockets};
use crate::manifest::model::{Grants, Limits, Reuse};
use crate::name::{ComponentName, Digest, RevisionId};
use crate::telemetry::ComponentMetrics;

/// The capabilities' backends, one set for the host.
pub struct Backends {
    /// Key-value stores.
    pub keyvalue: Arc<dyn KeyValue>,
    /// Message streams.
    pub streams: Arc<dyn Streams>,
    /// Blob containers.
    pub blobs: Blobs,
    /// SQLite databases.
    pub sqlite: Arc<Sqlite>,
    /// Components' own connections to Redis servers.
    pub redis: Arc<RedisConnections>,
    /// Components' own connections to PostgreSQL servers.
    pub postgres: Arc<PostgresConnections>,
    /// The other components, once dispatch is there.
    pub peers: OnceLock<Weak<dyn Peers>>,
}

/// What all instances of one revision share.
pub struct Context {
    /// The component.
    pub component: ComponentName,
    /// Which revision of it.
    pub revision: RevisionId,
    /// Its artifact.
    pub digest: Digest,
    /// What it may use.
    pub grants: Grants,
    /// What it may consume.
    pub limits: Limits,
    /// How far its instances are shared.
    pub reuse: Reuse,
    /// Configuration values: what `wasi:config` answers.
    pub config: Vec<(String, String)>,
    /// Secrets that it may read by name.
    pub secrets: Vec<(String, String)>,
    /// Configuration and secrets: what the environment holds.
    pub environment: Vec<(String, String)>,
    /// Directories that it sees.
    pub mounts: Vec<MountedDirectory>,
    /// What it has without a grant, where it is run without a manifest.
    pub ambient: Option<Ambient>,
    /// Numbers its instances, where they are told.
    pub instance_ids: AtomicU64,
    /// Its requests to other components are told how they got there.
    pub route_headers: bool,
    /// Who fulfils its capabilities.
    pub backends: Arc<Backends>,
    /// Where its work is counted.
    pub metrics: Arc<ComponentMetrics>,
    /// The same by revision.
    pub stats: Stats,
    /// Ends what still works once the revision's time is over.
    pub over: Over,
}

impl Context {
    /// The place in the manifest where something is granted: `key` among Wharf's own grants, which Spin
    /// calls `in_spin`.
    pub fn where_granted(&self, key: &str, in_spin: &str) -> String {
        let component = &self.component;
        match self.grants.refuse_when_called {
            true => format!("{in_spin} in [component.{component}]"),
            false => format!("{key} in [component.{component}.grants]"),
        }
    }

    /// Counts a trap.
    pub fn trapped(&self) {
        self.metrics.traps.inc();
        self.stats.trapped();
    }
}

/// The end of a revision's time: what it has not finished by then is cancelled.
#[derive(Default)]
pub struct Over {
    requests: CancellationToken,
    deliveries: CancellationToken,
}

impl Over {
    /// The signal for one kind of work.
    pub fn of(&self, kind: WorkKind) -> &CancellationToken {
        match kind {
            WorkKind::Request => &self.requests,
            WorkKind::Delivery => &self.deliveries,
        }
    }
}

/// Resources that one instance may hold at once: each may keep header fields, 64 KiB by default, in
/// the host's memory. A request needs about ten.
const RESOURCES_MAX: usize = 1000;

/// The host's side of one instance.
pub struct InstanceState {
    pub(super) context: Arc<Context>,
    pub(super) work: Work,
    /// The message that it handles, while it handles one.
    pub(super) delivery: Option<Arc<Delivery>>,
    /// Made when the guest first asks for it: it costs as much as the rest of an instance that needs
    /// no more than HTTP and its own memory.
    wasi: Option<Box<WasiCtx>>,
    pub(super) http: WasiHttpCtx,
    pub(super) outbound: Outbound,
    pub(super) table: ResourceTable,
    pub(super) limiter: MemoryLimiter,
    pub(super) callees: Callees,
    pub(super) tasks: Tasks,
    /// Made when the guest first writes to it.
    log: Option<GuestLog>,
    /// Whose lines those are that name no request themselves.
    log_owner: WorkName,
    /// Only held: it counts the instance for as long as it lives.
    _alive: Alive,
}

impl InstanceState {
    /// The state of a new instance.
    pub fn new(context: Arc<Context>, work: Work) -> Self {
        context.metrics.instances.inc();
        let mut table = ResourceTable::new();
        let mut http = WasiHttpCtx::new();
        match &context.ambient {
            Some(ambient) => ambient_bounds(ambient, &mut table, &mut http),
            None => {
                table.set_max_capacity(RESOURCES_MAX);
                http.set_field_size_limit(context.limits.request_header_bytes_max);
            }
        }
        Self {
            wasi: None,
            http,
            outbound: Outbound::new(context.clone(), work.clone()),
            delivery: None,
            table,
            limiter: MemoryLimiter::of(&context),
            callees: Callees::default(),
            tasks: Tasks::default(),
            log: None,
            log_owner: work.name(),
            _alive: Alive(context.clone()),
            work,
            context,
        }
    }

    /// Notes that the instance now also works for `work`.
    pub fn set_work(&mut self, work: Work) {
        self.outbound.turn_to(work.clone());
        self.work = work;
    }

    /// Turns to another piece of work: what the last one held of other components is given back, and
    /// of its message nothing is known any more.
    pub fn turn_to(&mut self, work: Work) {
        self.turn_log_to(work.name());
        self.set_work(work);
        self.delivery = None;
        self.callees.clear();
    }

    /// A guest task begins to work for a request, beside `others` or not.
    pub fn begin_task(
        &mut self,
        id: GuestTaskId,
        work: Work,
        callees: &SharedCallees,
        others: bool,
    ) {
        self.turn_log_to(if others {
            WorkName::NOBODY
        } else {
            work.name()
        });
        self.set_work(work.clone());
        self.tasks.begin(id, work, callees);
    }

    /// Where its lines go.
    pub(super) fn guest_log(&mut self) -> &GuestLog {
        self.log
            .get_or_insert_with(|| GuestLog::new(self.context.clone(), self.log_owner))
    }

    fn turn_log_to(&mut self, owner: WorkName) {
        self.log_owner = owner;
        if let Some(log) = &self.log {
            log.turn_to(owner);
        }
    }
}

struct Alive(Arc<Context>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.metrics.instances.dec();
    }
}

/// The bounds of an instance that has no manifest, as far as they are said.
fn ambient_bounds(ambient: &Ambient, table: &mut ResourceTable, http: &mut WasiHttpCtx) {
    if let Some(resources) = ambient.bounds.resources_max {
        table.set_max_capacity(resources);
    }
    if let Some(bytes) = ambient.bounds.fields_bytes_max {
        http.set_field_size_limit(bytes);
    }
}

/// What an instance that has no manifest sees of the machine.
fn surround(builder: &mut WasiCtxBuilder, ambient: &Ambient, id: u64) {
    builder.env("INSTANCE_ID", id.to_string());
    if let Some(console) = &ambient.console {
        let (stdout, stderr) = console::streams(console, id);
        builder.stdout(stdout).stderr(stderr);
    }
    if let Some(directory) = &ambient.working_directory {
        builder.initial_cwd(directory);
    }
    if let Some(bytes) = ambient.bounds.random_bytes_max {
        builder.max_random_size(bytes);
    }
    let Sockets {
        every_address,
        tcp,
        udp,
        names,
    } = ambient.sockets;
    if every_address {
        builder.inherit_network().allow_tcp(true).allow_udp(true);
    }
    if let Some(allowed) = names {
        builder.allow_ip_name_lookup(allowed);
    }
    if let Some(allowed) = tcp {
        builder.allow_tcp(allowed);
    }
    if let Some(allowed) = udp {
        builder.allow_udp(allowed);
    }
}

/// What `wasi:cli` and its like answer. A directory that is no longer there is not seen.
fn wasi(context: &Context, log: &GuestLog) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .envs(&context.environment)
        .stdout(log.stdout())
        .stderr(log.stderr());
    if let Some(ambient) = &context.ambient {
        let id = context.instance_ids.fetch_add(1, Ordering::Relaxed);
        surround(&mut builder, ambient, id);
    }
    for mount in &context.mounts {
        let may = if mount.writable {
            FsPerms::ReadWrite
        } else {
            FsPerms::ReadOnly
        };
        if let Err(error) = builder.preopened_dir(&mount.host, &mount.guest, may) {
            tracing::warn!(component = %context.component, revision = %context.revision, directory = %mount.host.display(), %error, "a mounted directory cannot be opened");
        }
    }
    builder.build()
}

impl IoView for InstanceState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            let log = self
                .log
                .get_or_insert_with(|| GuestLog::new(self.context.clone(), self.log_owner));
            Box::new(wasi(&self.context, log))
        });
        WasiCtxView {
            ctx,
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
