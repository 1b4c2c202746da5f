//! What one instance may allocate.

use wasmtime::ResourceLimiter;

use super::state::Context;
use crate::manifest::ambient::Bounds;

/// Elements of all tables of one instance.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Core instances, tables and memories of one store, typed callees not included: they have stores of
/// their own. A guest that wants more than this is not a service.
const OBJECTS_MAX: usize = 100;

/// Bounds the linear memory of one instance, all its memories together.
#[derive(Debug)]
pub struct MemoryLimiter {
    bytes_max: usize,
    bytes: usize,
    refused: bool,
    table_elements_max: usize,
    instances_max: usize,
    tables_max: usize,
    memories_max: usize,
    growth_traps: bool,
}

impl MemoryLimiter {
    /// A limiter of `bytes_max` bytes, and of the host's own bounds in everything else.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            refused: false,
            table_elements_max: TABLE_ELEMENTS_MAX,
            instances_max: OBJECTS_MAX,
            tables_max: OBJECTS_MAX,
            memories_max: OBJECTS_MAX,
            growth_traps: false,
        }
    }

    /// The limiter of an instance of `context`.
    pub fn of(context: &Context) -> Self {
        let limiter = Self::new(context.limits.memory_bytes_max);
        match &context.ambient {
            Some(ambient) => limiter.within(&ambient.bounds),
            None => limiter,
        }
    }

    fn within(self, bounds: &Bounds) -> Self {
        let or = |said: Option<usize>, own: usize| said.unwrap_or(own);
        Self {
            table_elements_max: or(bounds.table_elements_max, self.table_elements_max),
            instances_max: or(bounds.instances_max, self.instances_max),
            tables_max: or(bounds.tables_max, self.tables_max),
            memories_max: or(bounds.memories_max, self.memories_max),
            growth_traps: bounds.growth_traps,
            ..self
        }
    }

    /// The answer to growth that is not allowed.
    fn refuse(&self, what: &str, desired: usize) -> wasmtime::Result<bool> {
        if self.growth_traps {
            return Err(wasmtime::Error::msg(format!(
                "{what} may not grow to {desired}"
            )));
        }
        Ok(false)
    }

    /// Whether the guest asked for more than it may have. A trap after that is most likely the
    /// guest's answer to it.
    pub fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.bytes - current.min(self.bytes) + desired;
        if total > self.bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            return self.refuse("memory", desired);
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_elements_max || maximum.is_some_and(|maximum| desired > maximum) {
            return self.refuse("a table", desired);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_share_its_limit() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).expect("answers"));
        assert!(limiter.memory_growing(0, 40, None).expect("answers"));
        assert!(!limiter.refused());
        assert!(!limiter.memory_growing(60, 61, None).expect("answers"));
        assert!(limiter.refused());
    }

    #[test]
    fn bounds_that_are_said_replace_the_hosts_own() {
        let bounds = Bounds {
            table_elements_max: Some(10),
            memories_max: Some(2),
            ..Bounds::default()
        };
        let mut limiter = MemoryLimiter::new(100).within(&bounds);
        assert!(limiter.table_growing(0, 10, None).expect("answers"));
        assert!(!limiter.table_growing(0, 11, None).expect("answers"));
        assert_eq!((limiter.memories(), limiter.tables()), (2, OBJECTS_MAX));
        let traps = Bounds {
            growth_traps: true,
            ..bounds
        };
        let mut limiter = MemoryLimiter::new(100).within(&traps);
        assert!(limiter.table_growing(0, 11, None).is_err());
        assert!(limiter.memory_growing(0, 101, None).is_err());
        assert!(limiter.refused());
    }
}
