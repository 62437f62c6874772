//! The limit on an instance's linear memories.

use wasmtime::ResourceLimiter;

/// Adds up the memories of a store, and remembers a refusal, because the guest's own failure that follows does not name
/// its cause.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    limit: usize,
    used: usize,
    refused: bool,
}

impl MemoryLimiter {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            refused: false,
        }
    }

    /// The limit, if the guest ever exceeded it.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The guest's own maximum. The growth would fail later anyway, but then it would already be counted.
            return Ok(false);
        }
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds every table, and passes its bound here.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together_and_a_refusal_is_remembered() {
        let mut memory = MemoryLimiter::new(100);
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 30, None).unwrap());
        assert_eq!(memory.refused(), None);
        assert!(!memory.memory_growing(60, 71, None).unwrap());
        assert_eq!(memory.refused(), Some(100));
        assert!(
            memory.memory_growing(60, 70, None).unwrap(),
            "what was refused is not counted"
        );
    }

    #[test]
    fn a_guests_own_bound_is_not_our_refusal() {
        let mut memory = MemoryLimiter::new(100);
        assert!(!memory.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!(memory.refused(), None);
        assert!(memory.memory_growing(0, 100, None).unwrap(), "nor is it counted");
    }
}
