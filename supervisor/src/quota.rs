//! The quotas of a principal, of an owner and of the registry.
//!
//! A permit is taken before the counted object exists, and is returned when it is dropped. So a permit is returned exactly once
//! (contract S5).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;

/// An amount of a resource; permits take parts of it and give them back.
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
    /// Shows the used amount as a metric (contract U2).
    gauge: Gauge,
}

/// A part of a budget.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    amount: usize,
}

/// The resources that a principal may hold at once, over all capsules.
#[derive(Debug)]
pub(crate) struct PrincipalQuota {
    pub(crate) processes: Arc<Budget>,
    pub(crate) ring_memory: Arc<Budget>,
}

/// The permits of one process, taken before it is started.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// Given back when the command has ended.
    pub(crate) slot: Permit,
    /// Given back when the id is removed: the id itself, and the memory for output.
    pub(crate) retained: Vec<Permit>,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(limit: usize) -> Arc<Self> {
        Self::gauged(limit, Gauge::noop())
    }

    /// A budget whose use a gauge shows. Several budgets may share a gauge.
    pub fn gauged(limit: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
            gauge,
        })
    }

    /// Takes `amount`; none if less than that is left.
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Permit> {
        let fits = |used: usize| used.checked_add(amount).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        self.gauge.increment(as_gauged(amount));
        Some(Permit {
            budget: Arc::clone(self),
            amount,
        })
    }

    /// The used amount.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, Ordering::AcqRel);
        self.budget.gauge.decrement(as_gauged(self.amount));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("used", &self.used)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Exact for every amount that a gauge shows.
#[expect(clippy::cast_precision_loss, reason = "things are counted one by one")]
const fn as_gauged(amount: usize) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_q1_a_permit_is_taken_whole_and_given_back_once() {
        let budget = Budget::new(10);
        let seven = budget.take(7).unwrap();
        assert!(budget.take(4).is_none());
        assert!(budget.take(usize::MAX).is_none());
        assert_eq!(budget.used(), 7);
        let three = budget.take(3).unwrap();
        drop(seven);
        assert_eq!(budget.used(), 3);
        drop(three);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn s5_q1_permits_taken_from_many_threads_never_exceed_the_budget() {
        let budget = Budget::new(5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let permit = budget.take(2);
                        assert!(budget.used() <= 5);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
