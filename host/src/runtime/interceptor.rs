//! Messages that start an instance, so that a capsule without a running instance still receives the messages of its
//! interceptors (E3).
//!
//! Each interceptor has a queue on the bus, in which equal waiting messages are merged and the principals take turns. Its
//! task starts an instance for one message after the other. A principal with many messages, or with slow instances, delays no
//! other principal (Q5): once the permitted number of instances runs for it, its messages stay in the queue, and the messages of
//! other principals pass them. A message whose instance fails is not delivered again: the failure is logged and counted
//! ([`Deliveries`]).
//!
//! A loop of interceptors that cause each other's messages is bounded in these ways:
//! - a message carries the number of messages that led to it, and publishing is refused beyond
//!   [`BusLimits::depth_max`](crate::bus::BusLimits::depth_max);
//! - few instances of a capsule run at once for messages of one principal ([`CONCURRENT`]). All such instances together take at
//!   most half of the places for calls, those of a principal at most its share, and places are given in the order of the
//!   requests. A loop can also go through processes, whose events do not count as caused by a message. Such a loop is only as fast
//!   as its instances, and takes no call's turn;
//! - publishing has a rate for each owner, and a queue is bounded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::error::CallError;
use super::loaded::Loaded;
use super::options::Interceptor;
use super::shares::{Claim, Shares};
use super::store::CallContext;
use crate::bus::{Error, Message, Subscriber, Subscription};
use capsule_supervisor::Principal;
use capsule_supervisor::printable::Printable;

/// How many instances of one capsule run at once, or wait for their principal's share, for messages of one principal.
const CONCURRENT: u32 = 4;

/// What became of the messages for a capsule's interceptors. Each message that matched is in one of these counts, waits, or is
/// being processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Messages whose instance returned a result.
    pub succeeded: u64,
    /// Messages whose instance failed or could not be started.
    pub failed: u64,
    /// Messages that were equal to a waiting message.
    pub merged: u64,
    /// Messages that did not fit into the queue.
    pub dropped: u64,
}

/// The interceptors of one capsule.
pub(super) struct Interceptors {
    loaded: Arc<Loaded>,
    served: Vec<(Interceptor, Subscription)>,
    /// The number of places of [`CONCURRENT`] that each principal holds.
    concurrent: Arc<Shares>,
    /// Notified when a place is free again.
    freed: Notify,
    running: watch::Sender<usize>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Interceptors {
    /// Subscribes the interceptors.
    pub(super) fn listen(loaded: &Arc<Loaded>) -> Result<Arc<Self>, Error> {
        let (messaging, options) = (&loaded.runtime.0.messaging, &loaded.options);
        let subscriber = Subscriber::interceptor(options.capsule_id.clone(), options.grants.topics.reach);
        let listen = |interceptor: &Interceptor| {
            let subscription = messaging.subscribe(subscriber.clone(), interceptor.topic.clone())?;
            Ok((interceptor.clone(), subscription))
        };
        Ok(Arc::new(Self {
            loaded: Arc::clone(loaded),
            served: options.interceptors.iter().map(listen).collect::<Result<_, Error>>()?,
            concurrent: Shares::new(CONCURRENT),
            freed: Notify::new(),
            running: watch::Sender::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    /// Starts instances for received messages, until the capsule's services are ended.
    pub(super) fn serve(self: &Arc<Self>) {
        for number in 0..self.served.len() {
            let serving = serve(Arc::clone(self), number);
            let until_ended = self.loaded.services.clone().run_until_cancelled_owned(serving);
            drop(self.loaded.tasks.spawn(until_ended));
        }
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
struct Running(Arc<Interceptors>);

impl Running {
    fn begin(interceptors: &Arc<Interceptors>) -> Self {
        interceptors.running.send_modify(|running| *running += 1);
        Self(Arc::clone(interceptors))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

/// One of the [`CONCURRENT`] places of a principal. Dropping it frees the place for the principal's next message.
struct Turn {
    claim: Option<Claim>,
    interceptors: Arc<Interceptors>,
}

impl Turn {
    fn of(interceptors: &Arc<Interceptors>, principal: &Principal) -> Option<Self> {
        let mut claim = interceptors.concurrent.claim(principal);
        claim.try_take().then(|| Self {
            claim: Some(claim),
            interceptors: Arc::clone(interceptors),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Freed before the other waiters are notified.
        self.claim = None;
        self.interceptors.freed.notify_waiters();
    }
}

/// Starts an instance for each message of one interceptor, for ever. Dropping the future ends none of the started
/// instances.
async fn serve(interceptors: Arc<Interceptors>, number: usize) {
    let Some((interceptor, subscription)) = interceptors.served.get(number) else {
        return;
    };
    let loaded = &*interceptors.loaded;
    let runtime = &*loaded.runtime.0;
    loop {
        let admit = |principal: &Principal| Turn::of(&interceptors, principal);
        let (principal, turn) = match subscription.turn(&interceptors.freed, admit).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(capsule = loaded.options.capsule_id, action = interceptor.action, %error,
                    "an interceptor gets no more messages");
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
        let running = Running::begin(&interceptors);
        // The message may have been dropped meanwhile.
        let Some(message) = subscription.pop_of(&principal) else {
            continue;
        };
        let (interceptors, action) = (Arc::clone(&interceptors), interceptor.action.clone());
        drop(loaded.calls.spawn(async move {
            match interceptors.within_share(&message.principal, (share, slot)).await {
                Some(places) => {
                    interceptors.deliver(&action, &message).await;
                    drop(places);
                }
                None => drop(interceptors.failed.fetch_add(1, Ordering::Relaxed)),
            }
            drop(turn);
            drop(running);
        }));
    }
}

/// A place among those for interceptors, and a place among all.
type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Interceptors {
    /// Takes a part of the principal's share for an instance that has `places`. While there is none, it gives them back,
    /// for the messages of other principals. `None` once the capsule is unloaded.
    async fn within_share(&self, principal: &Principal, places: Places) -> Option<(Claim, Places)> {
        let runtime = &*self.loaded.runtime.0;
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
        self.loaded.unload.run_until_cancelled(in_turn).await?
    }

    async fn deliver(&self, action: &str, message: &Message) {
        let context = CallContext {
            principal: message.principal.clone(),
            source: Some(message.source.clone()),
            depth: message.depth.saturating_add(1),
            unload: self.loaded.unload.clone(),
            on_ready: None,
            regain: None,
        };
        // The message itself is not logged, because its topic may be an id.
        let capsule = self.loaded.options.capsule_id.as_str();
        let counted = match self.loaded.perform(context, action, message.payload.as_bytes()).await {
            Ok(answer) => {
                let shown = Printable(&answer.action);
                if matches!(answer.action.as_str(), "deny" | "abort") {
                    tracing::warn!(capsule, action, answer = %shown, "an interceptor refused a message, which was delivered all the same");
                } else {
                    tracing::debug!(capsule, action, answer = %shown, "an interceptor was called");
                }
                &self.succeeded
            }
            Err(error) => {
                if !matches!(error, CallError::Cancelled) {
                    tracing::warn!(capsule, action, %error, "an interceptor failed");
                }
                &self.failed
            }
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}
