//! The embedder's observer of denials, at a rate for each owner: a guest can cause thousands of denials in a second, and what is
//! told of them goes to a terminal or a log.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::wit::Denial;
use capsule_supervisor::Owner;
use capsule_supervisor::internals::Rates;

/// Denials of one owner that are told in a second, in the long run.
const PER_SECOND: u32 = 4;
/// Denials of one owner that are told at once.
const BURST: u32 = 16;
/// The most owners whose omitted denials are counted.
const OWNERS: usize = 1024;

/// A function that is told of a denial, with the number of the owner's denials that were omitted before it.
pub(super) type Observer = dyn Fn(&Owner, &Denial, u64) + Send + Sync;

/// The observer and its rates.
pub(super) struct Denials {
    observer: Box<Observer>,
    rates: Mutex<(Rates<Owner>, HashMap<Owner, u64>)>,
}

impl Denials {
    pub(super) fn new(observer: Box<Observer>) -> Self {
        Self {
            observer,
            rates: Mutex::new((Rates::new(PER_SECOND, BURST), HashMap::new())),
        }
    }

    /// Tells the observer, unless the owner has had too many denials lately.
    pub(super) fn tell(&self, owner: &Owner, denial: &Denial) {
        let omitted = {
            let mut guard = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            let (rates, omitted) = &mut *guard;
            if !rates.admit(owner, 1, Instant::now()) {
                if omitted.len() < OWNERS || omitted.contains_key(owner) {
                    *omitted.entry(owner.clone()).or_default() += 1;
                }
                return;
            }
            omitted.remove(owner).unwrap_or(0)
        };
        (self.observer)(owner, denial, omitted);
    }
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::audit::Outcome;
    use crate::wit::Refusal;
    use capsule_supervisor::Principal;

    #[tokio::test(start_paused = true)]
    async fn u3_a_flood_of_denials_is_told_at_a_rate_and_counted() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let denials = Denials::new(Box::new({
            let told = Arc::clone(&told);
            move |owner, _, omitted| told.lock().unwrap().push((owner.capsule.clone(), omitted))
        }));
        let owner = |capsule: &str| Owner {
            principal: Principal::Anonymous,
            capsule: capsule.into(),
        };
        let denial = Denial {
            operation: "spawn",
            outcome: Outcome::error("capability-denied"),
            refusal: Refusal::Persistent,
        };
        for _ in 0..1000 {
            denials.tell(&owner("a"), &denial);
        }
        denials.tell(&owner("b"), &denial);
        tokio::time::advance(Duration::from_secs(1)).await;
        denials.tell(&owner("a"), &denial);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 18);
        assert_eq!(told[16..], [("b".into(), 0), ("a".into(), 1000 - 16)]);
    }
}
