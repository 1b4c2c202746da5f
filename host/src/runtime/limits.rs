//! What one instance may allocate.

use wasmtime::ResourceLimiter;

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
}

impl MemoryLimiter {
    /// A limiter of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            refused: false,
        }
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
            return Ok(false);
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
        Ok(desired <= TABLE_ELEMENTS_MAX && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        OBJECTS_MAX
    }

    fn tables(&self) -> usize {
        OBJECTS_MAX
    }

    fn memories(&self) -> usize {
        OBJECTS_MAX
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
}
