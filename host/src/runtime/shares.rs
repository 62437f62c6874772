//! Each principal's share of the places for instances (Q5): a principal that has used its share waits, and the others still find
//! places.
//!
//! A principal has a count only while it has claims, so memory does not grow with the number of principals ever
//! seen. Counts lie in a few shards, each behind a lock that is held for a look-up and never across a wait.
//!
//! A call takes its share before it asks for a place of the runtime, so a call that waits for its share holds no place.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use capsule_supervisor::Principal;

/// With this number, calls of different principals on a few dozen processors rarely use the same lock.
const SHARDS: usize = 16;

type Shard = HashMap<Principal, Count>;

/// The shares of all principals. Each share has the same size.
pub(super) struct Shares {
    each: usize,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// The count of one principal.
struct Count {
    places: Arc<Semaphore>,
    /// How many claims hold or wait for a part of it.
    claims: usize,
}

/// A claim to a part of a principal's share, which waits for the part and then holds it. Dropping it gives the part
/// back.
pub(super) struct Claim {
    shares: Arc<Shares>,
    principal: Principal,
    places: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Shares {
    pub(super) fn new(each: u32) -> Arc<Self> {
        Arc::new(Self {
            each: usize::try_from(each)
                .unwrap_or(Semaphore::MAX_PERMITS)
                .min(Semaphore::MAX_PERMITS),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
        })
    }

    /// A claim that holds nothing yet.
    pub(super) fn claim(self: &Arc<Self>, principal: &Principal) -> Claim {
        let places = {
            let mut shard = self.shard(principal);
            let count = shard.entry(principal.clone()).or_insert_with(|| Count {
                places: Arc::new(Semaphore::new(self.each)),
                claims: 0,
            });
            count.claims += 1;
            Arc::clone(&count.places)
        };
        Claim {
            shares: Arc::clone(self),
            principal: principal.clone(),
            places,
            held: None,
        }
    }

    fn shard(&self, principal: &Principal) -> MutexGuard<'_, Shard> {
        let [first, rest @ ..] = &self.shards;
        let number = self.hasher.hash_one(principal) % (SHARDS as u64);
        let shard = usize::try_from(number)
            .ok()
            .and_then(|number| rest.get(number))
            .unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn principals(&self) -> usize {
        let lock = |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(lock).sum()
    }
}

impl Claim {
    /// Takes a part of the share if one is free, and returns whether the claim holds one.
    pub(super) fn try_take(&mut self) -> bool {
        if self.held.is_none() {
            self.held = Arc::clone(&self.places).try_acquire_owned().ok();
        }
        self.held.is_some()
    }

    /// Takes a part of the share, in the order of asking.
    pub(super) async fn take(mut self) -> Result<Self, AcquireError> {
        if self.held.is_none() {
            self.held = Some(Arc::clone(&self.places).acquire_owned().await?);
        }
        Ok(self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut shard = self.shares.shard(&self.principal);
        if let Some(count) = shard.get_mut(&self.principal) {
            count.claims -= 1;
            if count.claims == 0 {
                shard.remove(&self.principal);
            }
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares")
            .field("each", &self.each)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Principal {
        Principal::Named(name.into())
    }

    #[test]
    fn q5_a_full_share_is_full_for_its_principal_only_and_nothing_is_kept() {
        let shares = Shares::new(2);
        let mut held: Vec<_> = (0..3).map(|_| shares.claim(&named("ada"))).collect();
        let took: Vec<_> = held.iter_mut().map(Claim::try_take).collect();
        assert_eq!(took, [true, true, false]);
        assert!(shares.claim(&named("bob")).try_take());
        assert!(shares.claim(&Principal::Anonymous).try_take());
        assert_eq!(shares.principals(), 1, "bob's is gone with his last claim");
        drop(held.remove(0));
        assert!(
            held.iter_mut().all(Claim::try_take),
            "a part given back is there to take"
        );
        drop(held);
        assert_eq!(shares.principals(), 0);
    }

    #[tokio::test]
    async fn q5_a_dropped_wait_for_a_share_leaves_nothing() {
        let shares = Shares::new(1);
        let mut held = shares.claim(&named("ada"));
        assert!(held.try_take());
        let waiting = tokio::spawn(shares.claim(&named("ada")).take());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(held);
        assert_eq!(shares.principals(), 0);
    }
}
