//! The bus within this process: the subscriptions by topic.
//!
//! The keys are those with which a message can be looked up: its topic, and the at most eight stems before a wildcard that match
//! it. So the cost of a message depends on the subscriptions that it reaches, and not on the number of all subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::{Bus, Error, Interest, Lease, Message};

/// The default [`Bus`]: hands each message over at once, to the subscriptions of this process.
#[derive(Debug, Default)]
pub struct InProcess(Arc<RwLock<Interests>>);

#[derive(Debug, Default)]
struct Interests {
    next: u64,
    exact: Slots,
    below: Slots,
}

/// The interests with the same text before the wildcard, each under its number.
type Slots = HashMap<String, HashMap<u64, Interest>>;

impl InProcess {
    /// A bus without subscriptions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        let interests = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let slots = interests.exact.values().chain(interests.below.values());
        slots.map(HashMap::len).sum()
    }
}

impl Bus for InProcess {
    fn publish(&self, message: Arc<Message>) -> Result<(), Error> {
        let found: Vec<Interest> = {
            let interests = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let exact = interests.exact.get(message.topic.as_str());
            let below = message.topic.stems().filter_map(|stem| interests.below.get(stem));
            let slots = exact.into_iter().chain(below).flat_map(HashMap::values);
            slots
                .filter(|interest| interest.subscriber().hears(&message.audience))
                .cloned()
                .collect()
        };
        for interest in found {
            interest.deliver(&message);
        }
        Ok(())
    }

    fn subscribe(&self, interest: Interest) -> Result<Lease, Error> {
        let (stem, wildcard) = interest.pattern().parts();
        let stem = stem.to_owned();
        let mut interests = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let number = interests.next;
        interests.next += 1;
        interests
            .slots(wildcard)
            .entry(stem.clone())
            .or_default()
            .insert(number, interest);
        drop(interests);
        Ok(Box::new(Entry {
            interests: Arc::downgrade(&self.0),
            stem,
            wildcard,
            number,
        }))
    }
}

impl Interests {
    const fn slots(&mut self, wildcard: bool) -> &mut Slots {
        if wildcard { &mut self.below } else { &mut self.exact }
    }
}

/// Removes an interest from the bus when it is dropped.
struct Entry {
    interests: Weak<RwLock<Interests>>,
    stem: String,
    wildcard: bool,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(interests) = self.interests.upgrade() else {
            return;
        };
        let mut interests = interests.write().unwrap_or_else(PoisonError::into_inner);
        let slots = interests.slots(self.wildcard);
        let gone = slots.get_mut(&self.stem).and_then(|slot| slot.remove(&self.number));
        if slots.get(&self.stem).is_some_and(HashMap::is_empty) {
            slots.remove(&self.stem);
        }
        if slots.capacity() > 4 * slots.len() + 64 {
            slots.shrink_to_fit();
        }
        // Interests that only this list holds are dropped after the lock is released.
        drop(interests);
        drop(gone);
    }
}
