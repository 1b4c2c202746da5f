//! From an artifact's bytes to something that can be called.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::bindings::lifecycle::MigratingIndices;
use super::bindings::spin_http_handler::HttpHandlerIndices;
use super::compile::{CompileCache, CompileError, Origin};
use super::engine::{EngineKind, Engines, PoolLimits};
use super::error::InvokeError;
use super::http::{HttpExport, concurrent, sync, whole};
use super::instance::Instances;
use super::linker::{self, Calls, Exports, ImportProblem};
use super::messages::{Export as MessageExport, Handler as MessageHandler};
use super::migration::Migration;
use super::shape::shape;
use super::state::{Context, InstanceState};
use super::work::Work;
use crate::manifest::model as manifest;
use crate::name::{ComponentName, Digest};

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artifact cannot be read.
    #[error("component {component}: its artifact {} cannot be read; build it with `wharf build`", path.display())]
    Read {
        /// Who.
        component: ComponentName,
        /// The artifact.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The artifact is not the one that the manifest pins.
    #[error("component {component}: its artifact {} has the digest {found}, and the manifest pins {pinned}", path.display())]
    WrongDigest {
        /// Who.
        component: ComponentName,
        /// The artifact.
        path: PathBuf,
        /// What it has.
        found: Digest,
        /// What it must have.
        pinned: Digest,
    },
    /// The artifact does not compile.
    #[error("component {component}")]
    Compile {
        /// Who.
        component: ComponentName,
        /// Why.
        source: CompileError,
    },
    /// Imports that nothing provides or grants.
    #[error(
        "component {component} has imports that cannot be satisfied:{}",
        list(problems)
    )]
    Imports {
        /// Who.
        component: ComponentName,
        /// Each import with what to do about it.
        problems: Vec<ImportProblem>,
    },
    /// Its instances are shared by requests, so none of them may keep a thread.
    #[error(
        "component {component} uses WASI 0.3, for which preemption = \"host-calls\" is not possible: remove the line, or build it for WASI 0.2"
    )]
    Preemption {
        /// Who.
        component: ComponentName,
    },
    /// The engine refuses the component.
    #[error("component {component} cannot be linked")]
    Engine {
        /// Who.
        component: ComponentName,
        /// Why.
        source: wasmtime::Error,
    },
}

fn list(problems: &[ImportProblem]) -> String {
    let line = |problem: &ImportProblem| format!("\n  {}: {}", problem.import, problem.reason);
    problems.iter().map(line).collect()
}

/// A component's bytes, verified.
#[derive(Clone)]
pub struct Artifact {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What `wasm32-wasip2` builds give.
    pub bytes: Arc<[u8]>,
}

impl Artifact {
    /// Reads a component's artifact and checks its digest where the manifest pins one. Blocks.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] and [`LoadError::WrongDigest`].
    pub fn read(
        component: &ComponentName,
        artifact: &manifest::Artifact,
    ) -> Result<Self, LoadError> {
        let path = &artifact.path;
        let bytes = std::fs::read(path).map_err(|source| LoadError::Read {
            component: component.clone(),
            path: path.clone(),
            source,
        })?;
        let digest = Digest::of(&bytes);
        match artifact.sha256 {
            Some(pinned) if pinned != digest => Err(LoadError::WrongDigest {
                component: component.clone(),
                path: path.clone(),
                found: digest,
                pinned,
            }),
            Some(_) | None => Ok(Self {
                digest,
                bytes: bytes.into(),
            }),
        }
    }
}

/// A compiled component, with what it exports.
pub struct Compiled {
    component: Component,
    kind: EngineKind,
    /// Whether it was compiled now.
    pub origin: Origin,
}

impl Compiled {
    /// Adds what it exports for other components.
    pub fn add_exports(&self, owner: &ComponentName, exports: &mut Exports) {
        exports.add(owner, &self.component);
    }

    /// What it imports and exports.
    pub fn world(&self) -> World {
        World(self.component.clone())
    }
}

/// What a component imports and exports, type by type.
#[derive(Clone)]
pub struct World(Component);

/// A component that is ready to work.
pub struct Loaded {
    component: Component,
    /// Its imports that other components serve, with who does.
    calls: Calls,
    /// Its instances.
    pub instances: Arc<Instances>,
    /// How it serves HTTP, if it does.
    pub http: Option<HttpExport>,
    /// How it handles messages, if it does.
    pub messages: Option<MessageHandler>,
    /// Its migration hook, if it has one.
    pub migration: Option<Migration>,
}

impl Loaded {
    /// Adds what it exports for other components.
    pub fn add_exports(&self, exports: &mut Exports) {
        exports.add(&self.instances.context().component, &self.component);
    }

    /// What it imports from the component `callee`, and an artifact of that component with the world
    /// `world` does not export in the same form.
    pub fn missing_in(&self, callee: &ComponentName, world: &World) -> Vec<ImportProblem> {
        let imports = self.calls.iter().filter(|(_, owner)| owner == callee);
        let imports = imports.map(|(import, _)| import.as_str());
        linker::missing_in(&self.component, imports, &world.0)
    }

    /// The components that it calls.
    pub fn callees(&self) -> impl Iterator<Item = &ComponentName> {
        self.calls.iter().map(|(_, owner)| owner)
    }

    /// What it imports and exports.
    pub fn world(&self) -> World {
        World(self.component.clone())
    }

    /// Makes an instance within the component's limits and gives it back, so that a component that
    /// cannot be instantiated is known before it gets any work.
    ///
    /// # Errors
    ///
    /// [`InvokeError::Instantiate`], [`InvokeError::PoolExhausted`] or [`InvokeError::Deadline`].
    pub async fn prewarm(&self, work: Work) -> Result<(), InvokeError> {
        let instances = self.instances.clone();
        let component = instances.context().component.clone();
        let deadline = instances.context().limits.deadline;
        let made = self.instances.spawn(async move {
            let made = tokio::time::timeout(deadline, instances.take(work)).await;
            made.map(|made| made.map(|instance| instances.give_back(instance)))
        });
        match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(InvokeError::Deadline {
                component,
                deadline,
            }),
            Err(_) => Err(InvokeError::Panic { component }),
        }
    }
}

/// Compiles and links components.
pub struct Runtime {
    engines: Engines,
    cache: CompileCache,
    workers: Handle,
    linkers: Mutex<HashMap<EngineKind, Linker<InstanceState>>>,
}

impl Runtime {
    /// A runtime whose compiled code is cached in `cache_dir`. `workers` are the threads for
    /// components whose deadline is checked at host calls only.
    ///
    /// # Errors
    ///
    /// The cache cannot be used.
    pub fn new(
        limits: PoolLimits,
        cache_dir: &Path,
        workers: Handle,
    ) -> Result<Self, CompileError> {
        let cache = CompileCache::open(cache_dir)?;
        Ok(Self {
            engines: Engines::new(limits),
            cache,
            workers,
            linkers: Mutex::default(),
        })
    }

    /// Compiles an artifact, or finds its compiled code. Blocks for as long as compiling takes.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn compile(
        &self,
        name: &ComponentName,
        artifact: &Artifact,
        preemption: manifest::Preemption,
    ) -> Result<Compiled, LoadError> {
        // Bytes without a shape are not compiled either, and compiling says why.
        let concurrent = shape(&artifact.bytes).is_ok_and(|shape| shape.concurrent);
        if concurrent && preemption == manifest::Preemption::HostCalls {
            return Err(LoadError::Preemption {
                component: name.clone(),
            });
        }
        let kind = EngineKind {
            concurrent,
            preemption,
        };
        let engine = self
            .engines
            .get(kind)
            .map_err(|source| engine_error(name, source))?;
        let (component, origin) = self
            .cache
            .component(engine, artifact.digest, &artifact.bytes)
            .map_err(|source| LoadError::Compile {
                component: name.clone(),
                source,
            })?;
        Ok(Compiled {
            component,
            kind,
            origin,
        })
    }

    /// Links a compiled component. `exports` says which other component exports what.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; all imports that cannot be satisfied are listed at once.
    pub fn link(
        &self,
        compiled: &Compiled,
        context: Arc<Context>,
        exports: &Exports,
    ) -> Result<Loaded, LoadError> {
        let name = context.component.clone();
        let engine_error = |source| engine_error(&name, source);
        let component = &compiled.component;
        let mut linker = self.host_linker(compiled.kind).map_err(engine_error)?;
        let calls = linker::link_imports(
            &mut linker,
            component,
            &name,
            &context.grants,
            exports,
            compiled.kind.concurrent,
        )
        .map_err(engine_error)?
        .map_err(|problems| LoadError::Imports {
            component: name.clone(),
            problems,
        })?;
        let pre = linker.instantiate_pre(component).map_err(engine_error)?;
        let (component, workers) = (component.clone(), self.workers.clone());
        Ok(ready(
            compiled.kind,
            pre,
            context,
            component,
            calls,
            workers,
        ))
    }

    /// Removes an artifact's compiled code from the cache.
    pub fn forget(&self, digest: Digest) {
        self.cache.forget(digest);
    }

    fn host_linker(&self, kind: EngineKind) -> wasmtime::Result<Linker<InstanceState>> {
        let mut linkers = self.linkers.lock().expect("no holder of this lock panics");
        if let Some(linker) = linkers.get(&kind) {
            return Ok(linker.clone());
        }
        let linker = linker::host_linker(self.engines.get(kind)?, kind.concurrent)?;
        linkers.insert(kind, linker.clone());
        Ok(linker)
    }
}

fn engine_error(name: &ComponentName, source: wasmtime::Error) -> LoadError {
    LoadError::Engine {
        component: name.clone(),
        source,
    }
}

/// Finds the exports that the host calls.
fn ready(
    kind: EngineKind,
    pre: InstancePre<InstanceState>,
    context: Arc<Context>,
    component: Component,
    calls: Calls,
    workers: Handle,
) -> Loaded {
    let service = ServiceIndices::new(&pre).ok();
    let proxy = ProxyIndices::new(&pre).ok();
    let messages = MessageExport::of(&pre);
    let whole = HttpHandlerIndices::new(&pre).ok();
    let migration = MigratingIndices::new(&pre).ok();
    // A 0.3 handler's instances are shared by its own means; here they are made one by one.
    let reuse_max = if service.is_some() {
        1
    } else {
        context.reuse.requests_max.unwrap_or(1)
    };
    let instances = Arc::new(Instances::new(
        context,
        pre,
        kind.preemption,
        workers,
        reuse_max,
    ));
    let http = match (service, proxy) {
        (Some(indices), _) => Some(HttpExport::Concurrent(concurrent::Handler::new(
            instances.clone(),
            indices,
        ))),
        (None, Some(indices)) => Some(HttpExport::Sync(sync::Handler::new(
            instances.clone(),
            indices,
        ))),
        (None, None) => {
            whole.map(|indices| HttpExport::Whole(whole::Handler::new(instances.clone(), indices)))
        }
    };
    let messages = messages.map(|export| MessageHandler::new(instances.clone(), export));
    let migration = migration.map(|indices| Migration::new(instances.clone(), indices));
    Loaded {
        component,
        calls,
        instances,
        http,
        messages,
        migration,
    }
}
