//! A subscription, from the side of its holder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::inbox::Inbox;
use super::{Delivery, Error, Lease, Message};
use capsule_supervisor::Principal;
use capsule_supervisor::internals::{Budget, Permit};

/// The resources that a principal may hold at once, over all capsules.
#[derive(Debug)]
pub(super) struct PrincipalQuota {
    pub(super) subscriptions: Arc<Budget>,
}

/// Messages that match a pattern, as they come. Dropping it ends the interest and frees its place in the principal's
/// number; what waited is gone.
pub struct Subscription {
    inbox: Arc<Inbox>,
    recv_max: Duration,
    // In this order: the carrier drops the subscription before its place is free again.
    _lease: Lease,
    _permit: Option<Permit>,
    _quota: Option<Arc<PrincipalQuota>>,
}

impl Subscription {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        recv_max: Duration,
        lease: Lease,
        place: Option<(Permit, Arc<PrincipalQuota>)>,
    ) -> Self {
        let (permit, quota) = place.unzip();
        Self {
            inbox,
            recv_max,
            _lease: lease,
            _permit: permit,
            _quota: quota,
        }
    }

    /// What is queued now, possibly nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the carrier is gone and everything was read.
    pub fn poll(&self) -> Result<Delivery, Error> {
        self.inbox.take()
    }

    /// The same, but waits for the first message, or the first loss, for `timeout` at most;
    /// [`BusLimits::recv_max`](super::BusLimits::recv_max) where that is less. Holds no thread. Dropping the future takes
    /// nothing out.
    ///
    /// # Errors
    /// [`Error::Timeout`], and as [`Self::poll`].
    pub async fn recv(&self, timeout: Duration) -> Result<Delivery, Error> {
        tokio::time::timeout(timeout.min(self.recv_max), self.inbox.ready())
            .await
            .map_err(|_| Error::Timeout)?;
        self.inbox.take()
    }

    /// Something to wait for that may outlive the subscription.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness(Arc::clone(&self.inbox))
    }

    /// Waits until a message waits of a principal whom `admit` lets in, and says whose turn it is: the principals who have
    /// messages here take turns, so that no one of them holds up the others. Takes nothing out. Asks `admit` again after
    /// every change and whenever `freed` is notified.
    ///
    /// # Errors
    /// [`Error::Closed`] once the carrier is gone and everything was read.
    #[cfg_attr(
        not(feature = "runtime"),
        expect(dead_code, reason = "for interceptors, which the runtime has")
    )]
    pub(crate) async fn turn<T>(
        &self,
        freed: &Notify,
        admit: impl FnMut(&Principal) -> Option<T>,
    ) -> Result<(Principal, T), Error> {
        self.inbox.turn(freed, admit).await
    }

    /// Takes out the oldest message of this principal alone, if there is one, and forgets how many were dropped since the
    /// last read.
    #[cfg_attr(
        not(feature = "runtime"),
        expect(dead_code, reason = "for interceptors, which the runtime has")
    )]
    pub(crate) fn pop_of(&self, principal: &Principal) -> Option<Arc<Message>> {
        self.inbox.pop_of(principal)
    }

    /// Takes out one message: the oldest of the principal whose turn it is. Forgets how many were dropped since the last
    /// read.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn pop(&self) -> Result<Option<Arc<Message>>, Error> {
        self.inbox.pop()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// How many messages did not fit, and how many were merged with one that waited, since the beginning.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.inbox.counts()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.inbox).finish()
    }
}

/// Whether a subscription has something to tell. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Inbox>);

impl Readiness {
    /// Waits until a message or the count of a loss waits, or the subscription is over. May be waited for any number of
    /// times, by any number of tasks, and dropped at any point.
    pub async fn ready(&self) {
        self.0.ready().await;
    }
}
