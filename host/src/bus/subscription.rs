//! A subscription, from the side of its holder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::inbox::Inbox;
use super::{Delivery, Error, Lease, Message};
use capsule_supervisor::Principal;
use capsule_supervisor::internals::{Budget, Permit};

/// The number of subscriptions that a principal may hold at once, over all capsules.
#[derive(Debug)]
pub(super) struct PrincipalQuota {
    pub(super) subscriptions: Arc<Budget>,
}

/// A queue of the messages that match a pattern. Dropping it ends the subscription and frees its place in the
/// principal's quota. Waiting messages are lost.
pub struct Subscription {
    inbox: Arc<Inbox>,
    recv_max: Duration,
    // The order of the fields matters: the carrier drops the subscription before its place is free again.
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

    /// Takes the messages that are queued now, possibly none.
    ///
    /// # Errors
    /// [`Error::Closed`] if the carrier is gone and everything was read.
    pub fn poll(&self) -> Result<Delivery, Error> {
        self.inbox.take()
    }

    /// As [`Self::poll`], but waits for the first message or the first loss, for at most `timeout` and
    /// [`BusLimits::recv_max`](super::BusLimits::recv_max). The wait holds no thread. If the future is dropped, no
    /// message is taken.
    ///
    /// # Errors
    /// [`Error::Timeout`], and the errors of [`Self::poll`].
    pub async fn recv(&self, timeout: Duration) -> Result<Delivery, Error> {
        tokio::time::timeout(timeout.min(self.recv_max), self.inbox.ready())
            .await
            .map_err(|_| Error::Timeout)?;
        self.inbox.take()
    }

    /// A source that becomes ready with a message, and may outlive the subscription.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness(Arc::clone(&self.inbox))
    }

    /// Waits for a message of a principal that `admit` accepts, and returns the principal whose turn it is. The
    /// principals with waiting messages take turns, so that none of them delays the others. The call takes no message.
    /// It calls `admit` again after every change and whenever `freed` is notified.
    ///
    /// # Errors
    /// [`Error::Closed`] if the carrier is gone and everything was read.
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

    /// Takes the oldest message of this principal, if there is one, and resets the count of losses since the last read.
    #[cfg_attr(
        not(feature = "runtime"),
        expect(dead_code, reason = "for interceptors, which the runtime has")
    )]
    pub(crate) fn pop_of(&self, principal: &Principal) -> Option<Arc<Message>> {
        self.inbox.pop_of(principal)
    }

    /// Takes one message: the oldest of the principal whose turn it is. It resets the count of losses since the last
    /// read.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn pop(&self) -> Result<Option<Arc<Message>>, Error> {
        self.inbox.pop()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// How many messages did not fit, and how many were merged with a waiting one, since the subscription began.
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

/// Waits for a subscription's next message, loss or end. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Inbox>);

impl Readiness {
    /// Waits until there is a message or a count of losses, or until the subscription has ended. Any number of tasks
    /// may wait, any number of times. The future may be dropped at any point.
    pub async fn ready(&self) {
        self.0.ready().await;
    }
}
