//! What one owner has used lately of the rates of its private networks, as plain data (contract W5).
//!
//! It outlives a network. Otherwise an owner that ends its last process and starts another one would have every rate anew. Networks of
//! one owner that are up at once, because their policies differ, use it together.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a wildcard's name counts after it was asked for.
const NAME_COUNTS: Duration = Duration::from_secs(60 * 60);

/// What one owner has used.
#[derive(Debug, Default)]
pub(crate) struct OwnerUsage {
    /// Of a tokio lock, because the connection whose turn it is next waits with it.
    pub(super) dials: tokio::sync::Mutex<Rate>,
    pub(super) queries: Mutex<Rate>,
    names: Mutex<Names>,
}

impl OwnerUsage {
    /// Whether one more query may be answered, at so many a second. Counts it.
    pub(crate) fn admits_query(&self, per_second: u32) -> bool {
        locked(&self.queries).admits(per_second, Instant::now())
    }

    /// Whether this name of a wildcard may be told, if so many may. A name that was told lately is not counted again.
    pub(super) fn has_room_for(&self, name: &str, most: usize) -> bool {
        locked(&self.names).has_room_for(name, most, Instant::now())
    }

    /// Counts a name of a wildcard that is told.
    pub(super) fn told(&self, name: &str) {
        locked(&self.names).told(name, Instant::now());
    }

    /// Counts a name no longer, because no rule allows it now.
    pub(super) fn forget(&self, name: &str) {
        locked(&self.names).forget(name);
    }

    /// When all of it can be used again; none if it can be now.
    pub(crate) fn used_until(&self, now: Instant) -> Option<Instant> {
        // A connection that waits for its turn has the lock: the rate is used up, for a moment at least.
        let dials = self.dials.try_lock().map_or(Some(now), |dials| dials.due);
        let queries = locked(&self.queries).due;
        let names = locked(&self.names).last();
        dials.max(queries).max(names).filter(|until| *until >= now)
    }
}

/// When all units so far would be due at their rate in the long run, as in [`crate::rate`]. The rate is not kept here, because two
/// networks of an owner may have two.
#[derive(Debug, Default)]
pub(super) struct Rate {
    due: Option<Instant>,
}

impl Rate {
    /// Counts a unit of so many a second, in the long run and at once, or refuses it.
    pub(super) fn admits(&mut self, per_second: u32, now: Instant) -> bool {
        let Some(interval) = Duration::from_secs(1).checked_div(per_second) else {
            return false;
        };
        let next = self.due.map_or(now, |due| due.max(now)) + interval;
        // As many at once as in a second. The interval is rounded down, so the product and not a second.
        if next.saturating_duration_since(now) > interval * per_second {
            return false;
        }
        self.due = Some(next);
        true
    }
}

/// The names of wildcards that were told lately: their hashes, and when each was told last.
#[derive(Debug, Default)]
struct Names {
    /// With a key of its own, so that a tree cannot choose two names with one hash.
    hash: RandomState,
    told: HashMap<u64, Instant>,
}

impl Names {
    fn has_room_for(&mut self, name: &str, most: usize, now: Instant) -> bool {
        let counts = |at: &Instant| now.saturating_duration_since(*at) < NAME_COUNTS;
        if self.told.get(&self.hash.hash_one(name)).is_some_and(counts) || self.told.len() < most {
            return true;
        }
        self.told.retain(|_, at| counts(at));
        self.told.len() < most
    }

    fn told(&mut self, name: &str, now: Instant) {
        self.told.insert(self.hash.hash_one(name), now);
    }

    fn forget(&mut self, name: &str) {
        self.told.remove(&self.hash.hash_one(name));
    }

    /// Until when the last of them counts.
    fn last(&self) -> Option<Instant> {
        self.told.values().max().map(|at| *at + NAME_COUNTS)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn admitted(rate: &mut Rate, per_second: u32, now: Instant) -> usize {
        (0..1000).take_while(|_| rate.admits(per_second, now)).count()
    }

    #[test]
    fn w5_a_second_of_units_at_once_and_then_the_rate() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(admitted(&mut rate, 30, start), 30);
        assert_eq!(admitted(&mut rate, 30, start + SECOND / 2), 15);
        assert_eq!(admitted(&mut rate, 30, start + 60 * SECOND), 30, "never more");
        assert_eq!(admitted(&mut Rate::default(), 0, start), 0);
    }

    #[test]
    fn w5_a_name_counts_once_and_for_an_hour() {
        let (mut names, start) = (Names::default(), Instant::now());
        for name in ["a", "b", "a"] {
            assert!(names.has_room_for(name, 2, start));
            names.told(name, start);
        }
        assert!(names.has_room_for("b", 2, start) && !names.has_room_for("c", 2, start));
        assert!(names.has_room_for("c", 3, start), "a network that may have more");
        names.told("b", start + SECOND);
        assert!(!names.has_room_for("c", 2, start + NAME_COUNTS - SECOND));
        assert!(names.has_room_for("c", 2, start + NAME_COUNTS));
        names.told("c", start + NAME_COUNTS);
        assert!(!names.has_room_for("d", 2, start + NAME_COUNTS));
        names.forget("b");
        assert!(names.has_room_for("d", 2, start + NAME_COUNTS));
    }

    #[test]
    fn w5_what_was_used_is_kept_until_all_can_be_used_again() {
        let (usage, now) = (OwnerUsage::default(), Instant::now());
        assert_eq!(usage.used_until(now), None);
        assert!(usage.admits_query(10));
        let until = usage.used_until(now).expect("a query was counted");
        assert!(until <= Instant::now() + SECOND && usage.used_until(until + SECOND).is_none());
        usage.told("a.example");
        assert!(usage.used_until(now).expect("a name counts") > now + NAME_COUNTS - SECOND);
    }
}
