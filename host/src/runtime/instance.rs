//! Instances: made fresh, or taken from those that idle where the manifest shares them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wasmtime::component::{self, ComponentExportIndex, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store};
use wasmtime_wasi_http::p2::bindings::Proxy;

use super::error::InvokeError;
use super::http::Exchange;
use super::state::{Context, InstanceState};
use super::work::Work;
use crate::manifest::ambient::Bounds;
use crate::manifest::model::Preemption;

/// Live state of a component, in one store, and its place among the instances that may live.
pub struct Instance {
    /// The store.
    pub store: Store<InstanceState>,
    /// What was instantiated in it.
    pub instance: component::Instance,
    /// Its export for HTTP, kept by whoever calls it between two requests.
    pub proxy: Option<Proxy>,
    /// The exchange whose body it may not have finished.
    pub exchange: Option<Weak<Exchange>>,
    /// Pieces of work that it has served.
    served: u32,
    place: Place,
}

/// A place among the instances that may live; given back when dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Idle {
    fn wake(self, place: OwnedSemaphorePermit) -> Instance {
        let Self {
            store,
            instance,
            proxy,
            exchange,
            served,
            swept: _,
        } = self;
        Instance {
            store,
            instance,
            proxy,
            exchange,
            served,
            place: Place { _permit: place },
        }
    }
}

impl Instance {
    /// Takes the instance apart, for an owner that keeps its own count of what it serves.
    pub fn into_parts(self) -> (Store<InstanceState>, component::Instance, Place) {
        (self.store, self.instance, self.place)
    }
}

/// An instance that may serve again. It holds no place: whoever takes it brings one.
struct Idle {
    store: Store<InstanceState>,
    instance: component::Instance,
    proxy: Option<Proxy>,
    exchange: Option<Weak<Exchange>>,
    served: u32,
    /// It idled when the others were swept last.
    swept: bool,
}

impl Idle {
    /// Dropping it would end a response that is still on its way, as if it were whole.
    fn owes(&self) -> bool {
        let exchange = self.exchange.as_ref().and_then(Weak::upgrade);
        exchange.is_some_and(|exchange| !exchange.has_ended())
    }
}

/// Makes a revision's instances and keeps the idle ones.
pub struct Instances {
    context: Arc<Context>,
    pre: InstancePre<InstanceState>,
    preemption: Preemption,
    workers: Handle,
    reuse_max: u32,
    idle: Mutex<Vec<Idle>>,
    /// The functions that others have called, by the number of the call's link.
    functions: RwLock<Vec<(u64, ComponentExportIndex)>>,
    /// A task drops what idles too long.
    sweeping: AtomicBool,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Instances {
    /// Instances of what `pre` holds. Each serves `reuse_max` pieces of work.
    pub fn new(
        context: Arc<Context>,
        pre: InstancePre<InstanceState>,
        preemption: Preemption,
        workers: Handle,
        reuse_max: u32,
    ) -> Self {
        let places = Arc::new(Semaphore::new(context.limits.instances_max));
        let waiting = Arc::new(Semaphore::new(context.limits.queue_max));
        Self {
            context,
            pre,
            preemption,
            workers,
            reuse_max,
            idle: Mutex::default(),
            functions: RwLock::default(),
            sweeping: AtomicBool::new(false),
            places,
            waiting,
        }
    }

    /// What all these instances share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The function `interface`.`name`, if the component exports one. `link` is the number of the link
    /// that asks, under which the answer is kept: finding it costs as much as a call.
    pub fn function(&self, link: u64, interface: &str, name: &str) -> Option<ComponentExportIndex> {
        let known = self
            .functions
            .read()
            .expect("no holder of this lock panics")
            .iter()
            .find_map(|(known, function)| (*known == link).then_some(*function));
        if known.is_some() {
            return known;
        }
        let component = self.pre.component();
        let interface = component.get_export_index(None, interface)?;
        let function = component.get_export_index(Some(&interface), name)?;
        self.functions
            .write()
            .expect("no holder of this lock panics")
            .push((link, function));
        Some(function)
    }

    /// Whether a piece of work may be done on the thread that asks for it, since it gives the thread
    /// back at every tick.
    pub fn yields(&self) -> bool {
        self.preemption == Preemption::Epoch
    }

    /// Runs a piece of work where it belongs: a component that may keep a thread works on those that
    /// serve no requests.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match self.preemption {
            Preemption::Epoch => tokio::spawn(work),
            Preemption::HostCalls => self.workers.spawn(work),
        }
    }

    /// An instance for `work`: an idle one, else a fresh one. Waits in the queue while as many live
    /// as may; the caller bounds the wait. Cancelling gives the place back.
    ///
    /// # Errors
    ///
    /// [`InvokeError::Overloaded`] when the queue is full, [`InvokeError::PoolExhausted`] when the
    /// engine has no slot, [`InvokeError::Instantiate`] when the component's start fails.
    pub async fn take(&self, work: Work) -> Result<Instance, InvokeError> {
        let place = self.enter().await?;
        match self.take_idle(&work) {
            Some(idle) => Ok(idle.wake(place)),
            None => self.make(work, place).await,
        }
    }

    /// A fresh instance for `work` if there is a place for one now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Instances::take`]; `Ok(None)` when as many live as may.
    pub async fn try_make(&self, work: Work) -> Result<Option<Instance>, InvokeError> {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => self.make(work, place).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, InvokeError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| InvokeError::Overloaded {
                component: self.context.component.clone(),
                instances_max: self.context.limits.instances_max,
                queue_max: self.context.limits.queue_max,
            })?;
        let place = self.places.clone().acquire_owned().await;
        Ok(place.expect("the semaphore is never closed"))
    }

    async fn make(&self, work: Work, place: OwnedSemaphorePermit) -> Result<Instance, InvokeError> {
        let state = InstanceState::new(self.context.clone(), work);
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        if let Some(ambient) = &self.context.ambient {
            bound(&mut store, &ambient.bounds);
        }
        if self.yields() {
            // From the first tick on, every tick gives the thread to other work, and is where a guest
            // whose work was cancelled ends.
            store.epoch_deadline_async_yield_and_update(1);
        }
        self.arm(&mut store);
        match self.pre.instantiate_async(&mut store).await {
            Ok(instance) => {
                let place = Place { _permit: place };
                Ok(Instance {
                    store,
                    instance,
                    proxy: None,
                    exchange: None,
                    served: 0,
                    place,
                })
            }
            Err(source) => {
                let component = self.context.component.clone();
                Err(if source.is::<PoolConcurrencyLimitError>() {
                    InvokeError::PoolExhausted { component, source }
                } else {
                    self.context.trapped();
                    InvokeError::Instantiate {
                        component,
                        memory_refused: store.data().limiter.refused(),
                        source,
                    }
                })
            }
        }
    }

    /// Lets the guest run to the next tick: a store's deadline is absolute.
    fn arm(&self, store: &mut Store<InstanceState>) {
        if self.yields() {
            store.set_epoch_deadline(1);
        }
    }

    fn take_idle(&self, work: &Work) -> Option<Idle> {
        if self.reuse_max <= 1 {
            return None;
        }
        let mut idle = self
            .idle
            .lock()
            .expect("no holder of this lock panics")
            .pop()?;
        idle.store.data_mut().turn_to(work.clone());
        self.arm(&mut idle.store);
        Some(idle)
    }

    /// Gives back an instance whose work ended well. It idles where it may serve again.
    pub fn give_back(self: &Arc<Self>, mut instance: Instance) {
        instance.served += 1;
        if instance.served >= self.reuse_max {
            return;
        }
        // Whatever it held of other components is released now, not when it is next used.
        let work = instance.store.data().work.clone();
        instance.store.data_mut().turn_to(work);
        let Instance {
            store,
            instance,
            proxy,
            exchange,
            served,
            place,
        } = instance;
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.push(Idle {
            store,
            instance,
            proxy,
            exchange,
            served,
            swept: false,
        });
        drop(idle);
        // Only now: whoever waits for the place finds the instance.
        drop(place);
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// The bounds of a store whose component has no manifest, as far as they are said.
fn bound(store: &mut Store<InstanceState>, bounds: &Bounds) {
    if let Some(fuel) = bounds.hostcall_fuel {
        store.set_hostcall_fuel(fuel);
    }
    if let Some(handles) = bounds.handles_max {
        store.set_max_component_handles(handles);
    }
}

/// Drops what has idled too long, until nothing idles: what idles at two sweeps in turn, which is for
/// once to twice the timeout.
async fn sweep(instances: Weak<Instances>) {
    loop {
        let Some(timeout) = instances.upgrade().map(|i| i.context.reuse.idle_timeout) else {
            return;
        };
        tokio::time::sleep(timeout).await;
        let Some(instances) = instances.upgrade() else {
            return;
        };
        let mut idle = instances
            .idle
            .lock()
            .expect("no holder of this lock panics");
        let expires = |idle: &mut Idle| std::mem::replace(&mut idle.swept, true) && !idle.owes();
        let expired: Vec<Idle> = idle.extract_if(.., expires).collect();
        // Under the lock, so that whatever comes to idle from here on starts another sweep.
        let done = idle.is_empty();
        if done {
            instances.sweeping.store(false, Ordering::Release);
        }
        drop(idle);
        drop(expired);
        if done {
            return;
        }
    }
}
