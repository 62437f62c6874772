//! How fast each owner may publish, as plain data.
//!
//! Kept as one moment an owner (the generic cell rate algorithm): when everything published so far would have been due at
//! the long-run rate. An owner whose moment has passed is as good as one that never published, and is forgotten.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::supervisor::Owner;

#[derive(Debug)]
pub(super) struct Rates {
    /// Between two messages in the long run.
    interval: Duration,
    /// How far the due moment may lie ahead.
    ahead: Duration,
    due: HashMap<Owner, Instant>,
}

impl Rates {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second);
        // With a rate of zero nothing ever fits.
        let ahead = interval.map_or(Duration::ZERO, |interval| interval * burst);
        Self {
            interval: interval.unwrap_or(Duration::MAX),
            ahead,
            due: HashMap::new(),
        }
    }

    /// Counts a message of `owner`, or refuses it.
    pub(super) fn admit(&mut self, owner: &Owner, now: Instant) -> bool {
        let due = self.due.get(owner).map_or(now, |due| *due.max(&now));
        let Some(next) = due.checked_add(self.interval) else {
            return false;
        };
        if next.saturating_duration_since(now) > self.ahead {
            return false;
        }
        if let Some(due) = self.due.get_mut(owner) {
            *due = next;
        } else {
            if self.due.len() == self.due.capacity() {
                self.due.retain(|_, due| *due > now);
            }
            self.due.insert(owner.clone(), next);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Principal;

    fn owner(name: &str) -> Owner {
        Owner {
            principal: Principal::Named(name.into()),
            capsule: "c".into(),
        }
    }

    fn admitted(rates: &mut Rates, owner: &Owner, now: Instant) -> usize {
        (0..1000).take_while(|_| rates.admit(owner, now)).count()
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
    fn e4_zero_lets_nobody_publish() {
        let now = Instant::now();
        assert_eq!(admitted(&mut Rates::new(0, 5), &owner("ada"), now), 0);
        assert_eq!(admitted(&mut Rates::new(5, 0), &owner("ada"), now), 0);
    }

    #[test]
    fn e4_who_is_quiet_again_is_forgotten() {
        let start = Instant::now();
        let mut rates = Rates::new(1000, 10);
        for n in 0..100_000_u32 {
            assert!(rates.admit(&owner(&n.to_string()), start + Duration::from_millis(n.into())));
        }
        assert!(rates.due.capacity() < 100, "{}", rates.due.capacity());
    }
}
