//! The private networks of a launcher, one for each owner that has a tree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::launcher::LaunchError;
use super::start::no_network;
use crate::network::private::PrivateNetwork;
use crate::os::init::Init;
use crate::owner::{Owner, Principal};

/// An owner's network, for as long as one of its trees holds it. Locked while it is made, so that two trees that start at once
/// share it.
type Slot = Arc<Mutex<Weak<PrivateNetwork>>>;

#[derive(Debug, Default)]
pub(super) struct Networks(Mutex<HashMap<Owner, Slot>>);

impl Networks {
    /// The network of this owner's trees. Blocks until it is made. Without an owner, and for callers without a name, who may be
    /// different persons, it is the tree's alone.
    pub(super) fn of(&self, owner: Option<&Owner>, init: &Init) -> Result<Arc<PrivateNetwork>, LaunchError> {
        let named = owner.filter(|owner| owner.principal != Principal::Anonymous);
        let Some(owner) = named else { return made(init) };
        let slot = self.slot(owner);
        let mut slot = locked(&slot);
        if let Some(network) = slot.upgrade().filter(|network| network.namespace().is_usable()) {
            return Ok(network);
        }
        let network = made(init)?;
        *slot = Arc::downgrade(&network);
        Ok(network)
    }

    fn slot(&self, owner: &Owner) -> Slot {
        let mut slots = locked(&self.0);
        if let Some(slot) = slots.get(owner) {
            return Arc::clone(slot);
        }
        // A slot that another launch holds is in use, whatever is in it.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || locked(slot).strong_count() > 0);
        Arc::clone(slots.entry(owner.clone()).or_default())
    }
}

fn made(init: &Init) -> Result<Arc<PrivateNetwork>, LaunchError> {
    let made = init.network().map_err(no_network)?;
    Ok(Arc::new(PrivateNetwork::new(made)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
