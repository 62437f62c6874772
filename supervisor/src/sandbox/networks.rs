//! The private networks of a launcher: one for each owner that has a tree, and policy.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::launcher::LaunchError;
use crate::network::{OwnerNetwork, PrivateNetwork};
use crate::owner::Owner;

/// The networks that are up. A tree holds its own.
#[derive(Debug, Default)]
pub(super) struct Networks {
    owners: Mutex<HashMap<Owner, Slot>>,
    /// Of callers without a name.
    scopes: Mutex<HashMap<u64, Slot>>,
}

/// The networks of one owner, one for each policy: more than one only while trees of an earlier policy run. Locked while one is
/// made, so that two trees that start at once share it.
type Slot = Arc<Mutex<Vec<Weak<OwnerNetwork>>>>;

impl Networks {
    /// The network of this owner's trees, which is made by `new` if it is not there.
    pub(super) fn of(
        &self,
        owner: &Owner,
        policy: &PrivateNetwork,
        new: impl FnOnce() -> Result<Arc<OwnerNetwork>, LaunchError>,
    ) -> Result<Arc<OwnerNetwork>, LaunchError> {
        found_or_made(&slot(&self.owners, owner), policy, new)
    }

    /// The network of the trees of one caller without a name.
    pub(super) fn of_scope(
        &self,
        scope: u64,
        policy: &PrivateNetwork,
        new: impl FnOnce() -> Result<Arc<OwnerNetwork>, LaunchError>,
    ) -> Result<Arc<OwnerNetwork>, LaunchError> {
        found_or_made(&slot(&self.scopes, &scope), policy, new)
    }

    /// The network that an owner's last tree has joined, if it is up.
    pub(super) fn existing(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        let slot = locked(&self.owners).get(owner).map(Arc::clone)?;
        locked(&slot).iter().rev().find_map(Weak::upgrade)
    }
}

fn found_or_made(
    slot: &Slot,
    policy: &PrivateNetwork,
    new: impl FnOnce() -> Result<Arc<OwnerNetwork>, LaunchError>,
) -> Result<Arc<OwnerNetwork>, LaunchError> {
    let mut slot = locked(slot);
    slot.retain(|network| network.strong_count() > 0);
    let fits = |network: &Arc<OwnerNetwork>| network.policy() == policy && network.namespace().is_usable();
    if let Some(network) = slot.iter().rev().filter_map(Weak::upgrade).find(fits) {
        return Ok(network);
    }
    let network = new()?;
    slot.push(Arc::downgrade(&network));
    Ok(network)
}

fn slot<K: Clone + Eq + Hash>(slots: &Mutex<HashMap<K, Slot>>, key: &K) -> Slot {
    let mut slots = locked(slots);
    if let Some(slot) = slots.get(key) {
        return Arc::clone(slot);
    }
    // One that a launch holds is in use, whatever is in it. Others that were dropped are removed at times: when their number has
    // doubled.
    if slots.len() == slots.capacity() {
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || locked(slot).iter().any(|one| one.strong_count() > 0));
    }
    Arc::clone(slots.entry(key.clone()).or_default())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
