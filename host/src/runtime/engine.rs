//! The engines that one process shares.
//!
//! A 0.2 component needs no concurrency support, and without it a fresh instance costs half; a 0.3
//! component needs it. Epoch checks are compiled in or not. So there are up to four engines, each
//! with its own pool, made when the first component needs one.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::manifest::model::Preemption;

/// How often running guests are asked to yield to the others. Short enough that a deadline is
/// noticed in time and long enough that the checks cost nothing that can be measured.
const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Memory of a freed slot that stays mapped for the next instance, in bytes. With the kernel's
/// pagemap scan only the pages that were touched are reset, which makes a fresh instance cost half.
const MEMORY_KEEP_RESIDENT: usize = 1024 * 1024;

/// The same for tables, in bytes.
const TABLE_KEEP_RESIDENT: usize = 64 * 1024;

/// The same for the stacks that calls run on, in bytes.
const STACK_KEEP_RESIDENT: usize = 64 * 1024;

/// Core instances, memories and tables of one component: SDK guests with adapters have up to five.
const CORE_INSTANCES_PER_COMPONENT: u32 = 20;

/// Elements of one table: big interpreters have some tens of thousands of functions.
const TABLE_ELEMENTS: usize = 100_000;

/// Bounds of each engine's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Component instances alive at once.
    pub instances_max: u32,
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: usize,
}

/// Which of the engines a component runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EngineKind {
    /// The component uses asynchronous component-model features (WASI 0.3).
    pub concurrent: bool,
    /// Where its deadline is checked.
    pub preemption: Preemption,
}

impl EngineKind {
    fn index(self) -> usize {
        let preemption = match self.preemption {
            Preemption::Epoch => 0,
            Preemption::HostCalls => 1,
        };
        usize::from(self.concurrent) * 2 + preemption
    }
}

/// The engines of this process.
pub struct Engines {
    limits: PoolLimits,
    engines: [OnceLock<Engine>; 4],
}

impl Engines {
    /// Engines whose pools have these bounds. None is made yet.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            engines: Default::default(),
        }
    }

    /// The engine of a kind, made now if it is the first use.
    ///
    /// # Errors
    ///
    /// The operating system does not give the address space that the pool reserves.
    pub fn get(&self, kind: EngineKind) -> wasmtime::Result<&Engine> {
        let slot = &self.engines[kind.index()];
        if slot.get().is_none() {
            let engine = Engine::new(&config(kind, self.limits))?;
            if slot.set(engine.clone()).is_ok() && kind.preemption == Preemption::Epoch {
                tick(&engine);
            }
        }
        Ok(slot.get().expect("it was set above"))
    }
}

fn config(kind: EngineKind, limits: PoolLimits) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.wasm_component_model_async(kind.concurrent);
    config.concurrency_support(kind.concurrent);
    config.epoch_interruption(kind.preemption == Preemption::Epoch);
    config.memory_init_cow(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

fn pool(limits: PoolLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances_max)
        .total_core_instances(limits.instances_max.saturating_mul(8))
        .total_memories(limits.instances_max)
        .total_tables(limits.instances_max.saturating_mul(2))
        .total_stacks(limits.instances_max.saturating_mul(2))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memory_size(limits.memory_bytes_max)
        .table_elements(TABLE_ELEMENTS);
    // Without the scan a kept page is reset by writing all of it, which costs more than it saves.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(TABLE_KEEP_RESIDENT)
            .async_stack_keep_resident(STACK_KEEP_RESIDENT);
    }
    pool
}

/// Ticks the engine's epoch for as long as anybody else holds the engine.
fn tick(engine: &Engine) {
    let engine = engine.weak();
    thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(EPOCH_TICK);
            }
        })
        .expect("a thread can be spawned while the host starts");
}
