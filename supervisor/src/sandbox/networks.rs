//! The private networks of a launcher: one for each owner that has a tree, and policy.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::launcher::LaunchError;
use crate::network::usage::OwnerUsage;
use crate::network::{OwnerNetwork, PrivateNetwork};
use crate::owner::Owner;

/// The networks that are up. A tree holds its own.
#[derive(Debug, Default)]
pub(super) struct Networks {
    owners: Mutex<HashMap<Owner, Arc<Slot>>>,
    /// Of callers without a name.
    scopes: Mutex<HashMap<u64, Arc<Slot>>>,
}

/// The networks of one owner.
#[derive(Debug, Default)]
struct Slot {
    /// Held while a network is made, which may take long, so that two trees that start at once share it. Only launches wait for it.
    making: Mutex<()>,
    /// One for each policy: more than one only while trees of an earlier policy run.
    networks: Mutex<Vec<Weak<OwnerNetwork>>>,
    /// Kept until the owner's next network gains nothing by it.
    usage: Arc<OwnerUsage>,
}

/// The most owners without a network whose usage is kept.
const USAGES: usize = 1024;

impl Networks {
    /// The network of this owner's trees, which is made by `new` if it is not there.
    pub(super) fn of(
        &self,
        owner: &Owner,
        policy: &PrivateNetwork,
        new: impl FnOnce(&Arc<OwnerUsage>) -> Result<Arc<OwnerNetwork>, LaunchError>,
    ) -> Result<Arc<OwnerNetwork>, LaunchError> {
        found_or_made(&slot(&self.owners, owner), policy, new)
    }

    /// The network of the trees of one caller without a name.
    pub(super) fn of_scope(
        &self,
        scope: u64,
        policy: &PrivateNetwork,
        new: impl FnOnce(&Arc<OwnerUsage>) -> Result<Arc<OwnerNetwork>, LaunchError>,
    ) -> Result<Arc<OwnerNetwork>, LaunchError> {
        found_or_made(&slot(&self.scopes, &scope), policy, new)
    }

    /// The latest network of an owner, if one is up. Waits for no launch, because tasks call it.
    pub(super) fn existing(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        let slot = locked(&self.owners).get(owner).map(Arc::clone)?;
        locked(&slot.networks).iter().rev().find_map(Weak::upgrade)
    }
}

fn found_or_made(
    slot: &Slot,
    policy: &PrivateNetwork,
    new: impl FnOnce(&Arc<OwnerUsage>) -> Result<Arc<OwnerNetwork>, LaunchError>,
) -> Result<Arc<OwnerNetwork>, LaunchError> {
    let _making = locked(&slot.making);
    let fits = |network: &Arc<OwnerNetwork>| network.policy() == policy && network.namespace().is_usable();
    let up: Vec<_> = locked(&slot.networks).iter().rev().filter_map(Weak::upgrade).collect();
    if let Some(network) = up.into_iter().find(fits) {
        return Ok(network);
    }
    let network = new(&slot.usage)?;
    let mut networks = locked(&slot.networks);
    networks.retain(|network| network.strong_count() > 0);
    networks.push(Arc::downgrade(&network));
    Ok(network)
}

fn slot<K: Clone + Eq + Hash>(slots: &Mutex<HashMap<K, Arc<Slot>>>, key: &K) -> Arc<Slot> {
    let mut slots = locked(slots);
    if let Some(slot) = slots.get(key) {
        return Arc::clone(slot);
    }
    // Those that nothing needs are removed at times: when their number has doubled.
    if slots.len() == slots.capacity() {
        sweep(&mut slots, Instant::now());
    }
    Arc::clone(slots.entry(key.clone()).or_default())
}

/// Removes the slots of owners that have no network and have used nothing of their rates lately. What is kept of the latter is
/// bounded: those go first whose rates can be used again soonest.
fn sweep<K: Clone + Eq + Hash>(slots: &mut HashMap<K, Arc<Slot>>, now: Instant) {
    let mut used = Vec::new();
    slots.retain(|key, slot| {
        // One that a launch holds is in use, whatever is in it.
        let is_up = locked(&slot.networks).iter().any(|network| network.strong_count() > 0);
        if is_up || Arc::strong_count(slot) > 1 {
            return true;
        }
        let until = slot.usage.used_until(now);
        used.extend(until.map(|until| (until, key.clone())));
        until.is_some()
    });
    used.sort_unstable_by_key(|(until, _)| *until);
    let excess = used.len().saturating_sub(USAGES);
    for (_, key) in used.iter().take(excess) {
        slots.remove(key);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Principal;

    /// Of a launch that takes long. If this waited for it, it would not end.
    #[test]
    fn w1_a_task_that_looks_for_a_network_waits_for_no_launch() {
        let networks = Networks::default();
        let owner = Owner {
            principal: Principal::Named("alice".into()),
            capsule: "editor".into(),
        };
        let slot = slot(&networks.owners, &owner);
        let _making = locked(&slot.making);
        assert!(networks.existing(&owner).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn w5_what_an_owner_has_used_is_kept_while_it_counts_and_for_so_many_owners() {
        let mut slots = HashMap::<usize, Arc<Slot>>::new();
        for number in 0..USAGES + 10 {
            let slot = Arc::<Slot>::default();
            // The first of them can use it all again first.
            let queries = if number < 10 { 1 } else { 2 };
            (0..queries).for_each(|_| assert!(slot.usage.admits_query(10)));
            slots.insert(number, slot);
        }
        slots.insert(usize::MAX, Arc::default());
        sweep(&mut slots, Instant::now());
        let mut kept: Vec<_> = slots.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, (10..USAGES + 10).collect::<Vec<_>>());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        sweep(&mut slots, Instant::now());
        assert!(slots.is_empty());
    }
}
