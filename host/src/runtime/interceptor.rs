//! Messages that start an instance: a capsule with no instance alive still learns of what it asked to be told (E3).
//!
//! Each interceptor has a queue on the bus, in which equal messages that wait are merged and the principals take turns, and a
//! task that starts an instance for one message after the other. A principal whose messages are many, or whose instances
//! are slow, holds up no other's (Q5): its messages stay in the queue while as many instances as may run at once for it
//! do, and those of the others go past them.
//!
//! What bounds a loop of interceptors that cause each other's messages:
//! - a message says how many led to it, and publishing is refused beyond
//!   [`BusLimits::depth_max`](crate::bus::BusLimits::depth_max);
//! - few instances of a capsule run at once for messages of one principal ([`AT_ONCE`]), those of all capsules and principals
//!   take half of the places of calls at most, those of a principal its share, and places are given in the order in which
//!   they were asked for; so a loop through processes, whose events no message leads to, goes no faster than its instances
//!   do, and keeps no call from its turn;
//! - publishing has a rate for each owner, and a queue its bounds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::capsule::Loaded;
use super::error::CallError;
use super::shares::{Claim, Shares};
use super::state::Cause;
use crate::bus::{Error, Message, Messaging, Pattern, Subscriber, Subscription};
use crate::printable::Printable;
use crate::supervisor::Principal;

/// How many instances of one capsule run at once, or wait for their principal's share, for messages of one principal.
const AT_ONCE: u32 = 4;

/// An action that is called for every message whose topic matches, each in a fresh instance, on behalf of the message's
/// principal. The payload is the message's.
///
/// It hears what happens to its own capsule's processes and messages of any principal, and beyond that what
/// [`Topics::reach`](super::Topics) says. Messages equal to one that waits are merged with it. What the action answers goes
/// nowhere; a failure is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interceptor {
    /// Which messages.
    pub topic: Pattern,
    /// Which action.
    pub action: String,
}

/// What became of the messages for a capsule's interceptors. Each that matched is in one of these, or waits, or runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// An instance was started for it and answered.
    pub succeeded: u64,
    /// An instance was started for it, or could not be, and failed.
    pub failed: u64,
    /// It was equal to one that waited.
    pub merged: u64,
    /// It did not fit into the queue.
    pub dropped: u64,
}

/// The interceptors of one capsule.
pub(super) struct Interceptors {
    served: Vec<(Interceptor, Subscription)>,
    /// Who has how many of [`AT_ONCE`].
    at_once: Arc<Shares>,
    /// One of them is free again.
    freed: Notify,
    running: watch::Sender<usize>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Interceptors {
    pub(super) fn listen(
        messaging: &Messaging,
        subscriber: &Subscriber,
        interceptors: &[Interceptor],
    ) -> Result<Self, Error> {
        let listen = |interceptor: &Interceptor| {
            let subscription = messaging.subscribe(subscriber.clone(), interceptor.topic.clone())?;
            Ok((interceptor.clone(), subscription))
        };
        Ok(Self {
            served: interceptors.iter().map(listen).collect::<Result<_, Error>>()?,
            at_once: Shares::new(AT_ONCE),
            freed: Notify::new(),
            running: watch::Sender::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.served.len()
    }

    pub(super) fn deliveries(&self) -> Deliveries {
        let mut sum = Deliveries {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            ..Deliveries::default()
        };
        for (_, subscription) in &self.served {
            let (dropped, merged) = subscription.counts();
            sum.dropped += dropped;
            sum.merged += merged;
        }
        sum
    }

    /// Waits until no message waits and no instance runs for one.
    pub(super) async fn idle(&self) {
        let mut running = self.running.subscribe();
        loop {
            running.mark_unchanged();
            // In this order: a message is counted as running before it is taken out of its queue.
            let none_waits = self.served.iter().all(|(_, subscription)| subscription.is_empty());
            if none_waits && *running.borrow() == 0 {
                return;
            }
            if running.changed().await.is_err() {
                return;
            }
        }
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptors")
            .field("len", &self.served.len())
            .finish_non_exhaustive()
    }
}

/// Counts a message as running until it is dropped.
struct Running(Arc<Loaded>);

impl Running {
    fn begin(loaded: &Arc<Loaded>) -> Self {
        loaded.interceptors.running.send_modify(|running| *running += 1);
        Self(Arc::clone(loaded))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.interceptors.running.send_modify(|running| *running -= 1);
    }
}

/// One of the [`AT_ONCE`] of a principal. Dropped, it is there for the principal's next message.
struct Turn {
    claim: Option<Claim>,
    loaded: Arc<Loaded>,
}

impl Turn {
    fn of(loaded: &Arc<Loaded>, principal: &Principal) -> Option<Self> {
        let mut claim = loaded.interceptors.at_once.claim(principal);
        claim.try_take().then(|| Self {
            claim: Some(claim),
            loaded: Arc::clone(loaded),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Free before it is told.
        self.claim = None;
        self.loaded.interceptors.freed.notify_waiters();
    }
}

/// Starts an instance for each message of one interceptor, for ever. Dropping it leaves those that were started.
pub(super) async fn serve(loaded: Arc<Loaded>, number: usize) {
    let Some((interceptor, subscription)) = loaded.interceptors.served.get(number) else {
        return;
    };
    loop {
        let runtime = &*loaded.runtime.0;
        let admit = |principal: &Principal| Turn::of(&loaded, principal);
        let (principal, turn) = match subscription.turn(&loaded.interceptors.freed, admit).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(capsule = loaded.options.capsule_id, action = interceptor.action, %error,
                    "an interceptor hears nothing more");
                return;
            }
        };
        // Before the message is taken: until then an equal one is merged with it.
        let Ok(share) = Arc::clone(&runtime.for_interceptors).acquire_owned().await else {
            return;
        };
        let Ok(slot) = Arc::clone(&runtime.slots).acquire_owned().await else {
            return;
        };
        let running = Running::begin(&loaded);
        // It may have had to go meanwhile.
        let Some(message) = subscription.pop_of(&principal) else {
            continue;
        };
        let (capsule, action) = (Arc::clone(&loaded), interceptor.action.clone());
        drop(loaded.calls.spawn(async move {
            match capsule.within_share(&message.principal, (share, slot)).await {
                Some(places) => {
                    capsule.deliver(&action, &message).await;
                    drop(places);
                }
                None => drop(capsule.interceptors.failed.fetch_add(1, Ordering::Relaxed)),
            }
            drop(turn);
            drop(running);
        }));
    }
}

/// A place among those for interceptors, and one among all.
type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Loaded {
    /// Takes a part of the principal's share for an instance that has `places`. While there is none, it gives them back,
    /// for the messages of other principals. `None` once the capsule is unloaded.
    async fn within_share(&self, principal: &Principal, places: Places) -> Option<(Claim, Places)> {
        let runtime = &*self.runtime.0;
        let mut claim = runtime.shares.claim(principal);
        if claim.try_take() {
            return Some((claim, places));
        }
        drop(places);
        let in_turn = async {
            let claim = claim.take().await.ok()?;
            let share = Arc::clone(&runtime.for_interceptors).acquire_owned().await.ok()?;
            let slot = Arc::clone(&runtime.slots).acquire_owned().await.ok()?;
            Some((claim, (share, slot)))
        };
        self.notice.run_until_cancelled(in_turn).await?
    }

    async fn deliver(&self, action: &str, message: &Message) {
        let cause = Cause {
            principal: message.principal.clone(),
            source: Some(message.source.clone()),
            depth: message.depth.saturating_add(1),
            unload: self.notice.clone(),
            on_ready: None,
            regain: None,
        };
        // Nothing of the message is logged: its topic may be an id.
        let capsule = self.options.capsule_id.as_str();
        let counted = match self.perform(cause, action, message.payload.as_bytes()).await {
            Ok(answer) => {
                let answer = Printable(&answer.action);
                tracing::debug!(capsule, action, %answer, "an interceptor was called");
                &self.interceptors.succeeded
            }
            Err(error) => {
                if !matches!(error, CallError::Cancelled) {
                    tracing::warn!(capsule, action, %error, "an interceptor failed");
                }
                &self.interceptors.failed
            }
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}
