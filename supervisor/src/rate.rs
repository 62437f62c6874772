//! A rate limit for each of many keys, as plain data.
//!
//! It keeps one moment for each key (the generic cell rate algorithm): the time at which all events so far would be due at the
//! long-run rate. A key whose moment has passed is in the same state as a new key, and is removed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// The due times of all keys that were used lately.
#[derive(Debug)]
pub struct Rates<K> {
    /// The time between two units in the long run.
    interval: Duration,
    /// How far the due time may be in the future.
    ahead: Duration,
    due: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// Admits so many units a second in the long run, and `burst` at once. A rate or a burst of zero admits nothing.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second);
        // With a rate of zero, no unit ever fits.
        let ahead = interval.map_or(Duration::ZERO, |interval| interval * burst);
        Self {
            interval: interval.unwrap_or(Duration::MAX),
            ahead,
            due: HashMap::new(),
        }
    }

    /// Counts so many units for `key`, or refuses all of them.
    pub fn admit(&mut self, key: &K, units: u32, now: Instant) -> bool {
        let due = self.due.get(key).map_or(now, |due| *due.max(&now));
        let next = self
            .interval
            .checked_mul(units)
            .and_then(|interval| due.checked_add(interval));
        let Some(next) = next else {
            return false;
        };
        if next.saturating_duration_since(now) > self.ahead {
            return false;
        }
        if let Some(due) = self.due.get_mut(key) {
            *due = next;
        } else {
            if self.due.len() == self.due.capacity() {
                self.due.retain(|_, due| *due > now);
            }
            self.due.insert(key.clone(), next);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Owner, Principal};

    fn owner(name: &str) -> Owner {
        Owner {
            principal: Principal::Named(name.into()),
            capsule: "c".into(),
        }
    }

    fn admitted(rates: &mut Rates<Owner>, owner: &Owner, now: Instant) -> usize {
        (0..1000).take_while(|_| rates.admit(owner, 1, now)).count()
    }

    #[test]
    fn e4_a_burst_then_the_rate_and_each_owner_apart() {
        let start = Instant::now();
        let mut rates = Rates::new(10, 5);
        let (ada, bob) = (owner("ada"), owner("bob"));
        assert_eq!(admitted(&mut rates, &ada, start), 5);
        assert_eq!(admitted(&mut rates, &bob, start), 5);
        assert_eq!(admitted(&mut rates, &ada, start + Duration::from_millis(99)), 0);
        assert_eq!(admitted(&mut rates, &ada, start + Duration::from_millis(100)), 1);
        assert_eq!(admitted(&mut rates, &ada, start + Duration::from_millis(300)), 2);
        assert_eq!(
            admitted(&mut rates, &ada, start + Duration::from_secs(60)),
            5,
            "never more than a burst"
        );
    }

    #[test]
    fn u3_units_are_admitted_together_or_not_at_all() {
        let start = Instant::now();
        let mut rates = Rates::new(10, 5);
        let ada = owner("ada");
        assert!(!rates.admit(&ada, 6, start), "more than there ever may be");
        assert!(rates.admit(&ada, 4, start));
        assert!(!rates.admit(&ada, 2, start));
        assert!(rates.admit(&ada, 1, start));
        assert!(!rates.admit(&ada, u32::MAX, start + Duration::from_secs(1000)));
    }

    #[test]
    fn e4_a_rate_of_zero_allows_no_message() {
        let now = Instant::now();
        assert_eq!(admitted(&mut Rates::new(0, 5), &owner("ada"), now), 0);
        assert_eq!(admitted(&mut Rates::new(5, 0), &owner("ada"), now), 0);
    }

    #[test]
    fn e4_who_is_quiet_again_is_forgotten() {
        let start = Instant::now();
        let mut rates = Rates::new(1000, 10);
        for n in 0..100_000_u32 {
            let now = start + Duration::from_millis(n.into());
            assert!(rates.admit(&owner(&n.to_string()), 1, now));
        }
        assert!(rates.due.capacity() < 100, "{}", rates.due.capacity());
    }
}
