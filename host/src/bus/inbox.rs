//! A queue with its lock and its waiters, and the sending half that a carrier holds.
//!
//! No wake-up is lost: a waiter registers before it checks the queue, and each change of the queue wakes the waiters afterwards.
//! The lock is not held while waiters are woken.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::queue::{Delivery, Queue};
use super::{Error, Message, Pattern, Subscriber};
use capsule_supervisor::Principal;

#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    closed: bool,
}

impl Inbox {
    pub(super) fn new(queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { queue, closed: false }),
            changed: Notify::new(),
        })
    }

    fn push(&self, message: &Arc<Message>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.queue.push(Arc::clone(message));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Accepts no more messages. Waiting messages can still be read.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Returns the waiting messages, or none. `Closed` if no more can come.
    pub(super) fn take(&self) -> Result<Delivery, Error> {
        let mut state = self.lock();
        if state.closed && state.queue.is_silent() {
            return Err(Error::Closed);
        }
        Ok(state.queue.take())
    }

    /// Takes the oldest message of this principal, if there is one.
    pub(super) fn pop_of(&self, principal: &Principal) -> Option<Arc<Message>> {
        self.lock().queue.pop_of(principal)
    }

    /// Takes the next message in turn, if there is one. `Closed` if no more can come.
    pub(super) fn pop(&self) -> Result<Option<Arc<Message>>, Error> {
        let mut state = self.lock();
        match state.queue.pop() {
            None if state.closed => Err(Error::Closed),
            message => Ok(message),
        }
    }

    /// Waits until the turn is that of a principal that `admit` accepts. Calls `admit` again after every change and
    /// whenever `freed` is notified. `Closed` if no more can come.
    pub(super) async fn turn<T>(
        &self,
        freed: &Notify,
        mut admit: impl FnMut(&Principal) -> Option<T>,
    ) -> Result<(Principal, T), Error> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let mut freed = std::pin::pin!(freed.notified());
            freed.as_mut().enable();
            {
                let state = self.lock();
                if let Some(turn) = state.queue.turn(&mut admit) {
                    return Ok(turn);
                }
                if state.closed && state.queue.is_empty() {
                    return Err(Error::Closed);
                }
            }
            tokio::select! {
                () = changed => {}
                () = freed => {}
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        self.lock().queue.counts()
    }

    /// Waits until [`Self::take`] would return a message, a loss or `Closed`.
    pub(super) async fn ready(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.lock();
                if state.closed || !state.queue.is_silent() {
                    return;
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription from the side of a carrier: its pattern, its subscriber, and the queue for its messages. Cloning is
/// cheap and shares the subscription.
#[derive(Clone)]
pub struct Interest {
    pattern: Pattern,
    subscriber: Arc<Subscriber>,
    inbox: Arc<Inbox>,
}

impl Interest {
    pub(super) fn new(pattern: Pattern, subscriber: Subscriber, inbox: Arc<Inbox>) -> Self {
        Self {
            pattern,
            subscriber: Arc::new(subscriber),
            inbox,
        }
    }

    /// The pattern of the topics.
    #[must_use]
    pub const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The subscriber.
    #[must_use]
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// Queues the message if it matches and the subscriber may receive it; otherwise it does nothing. It never blocks.
    /// A message that does not fit is added to the subscriber's count of losses.
    pub fn deliver(&self, message: &Arc<Message>) {
        if self.pattern.matches(&message.topic) && self.subscriber.hears(&message.audience) {
            self.inbox.push(message);
        }
    }

    /// Declares that no more messages will come. The subscriber reads the waiting messages and then gets `closed`.
    pub fn close(&self) {
        self.inbox.close();
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest")
            .field("pattern", &self.pattern)
            .field("subscriber", &self.subscriber)
            .finish_non_exhaustive()
    }
}
