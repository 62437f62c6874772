//! The registry of all processes of a host, and the way to those of one owner.
//!
//! Each owner has a table of its own, and a call looks an id up in its own owner's table. So a call cannot name another owner's
//! process: such an id takes the same look-up in the same table as an id that never existed (contract I3).

use std::fmt;
use std::sync::Arc;

use super::events::Events;
use super::scope::Scope;
use super::shared::Core;
use super::{Limits, Owner};
use crate::guest_log::GuestLog;
use crate::sandbox::Launcher;

/// The processes of one host.
///
/// Cloning is cheap and shares the registry. When the last clone and the last [`Scope`] are dropped, every process is
/// ended. [`Registry::shutdown`] ends them too, and waits until they have ended.
#[derive(Clone)]
pub struct Registry(Arc<Core>);

/// The reason why a registry could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The operating system has no random bytes, so ids would not be unforgeable.
    #[error("no random bytes from the operating system: {0}")]
    Random(#[source] getrandom::Error),
}

impl Registry {
    /// A registry whose processes are started by `launcher` and supervised by tasks on `runtime`.
    ///
    /// The runtime needs its I/O and time drivers, and must outlive the processes: they belong to it and not to the
    /// instances that started them. When it is dropped, every process is killed.
    ///
    /// # Errors
    /// [`RegistryError::Random`].
    pub fn new(
        runtime: tokio::runtime::Handle,
        launcher: Arc<dyn Launcher>,
        limits: Limits,
    ) -> Result<Self, RegistryError> {
        let core = Core::new(runtime, launcher, limits).map_err(RegistryError::Random)?;
        Ok(Self(core))
    }

    /// The scope for the processes of `owner`.
    #[must_use]
    pub fn scope(&self, owner: Owner) -> Scope {
        Scope::new(Arc::clone(&self.0), owner)
    }

    /// The owners that have a process, an exited one that is still kept, or a [`Scope`], in no order.
    #[must_use]
    pub fn owners(&self) -> Vec<Owner> {
        self.0.tables.keys()
    }

    /// The destination of the lines that guests log.
    #[doc(hidden)]
    pub fn guest_log(&self) -> &GuestLog {
        &self.0.guest_log
    }

    /// Adds `events` to the destinations of lifecycle events. Without a destination, events are not published.
    pub fn publish_to(&self, events: Arc<dyn Events>) {
        self.0.tasks.events.add(events);
    }

    /// Waits until the destinations have the event of every exit that is visible when this is called. An exit is visible shortly
    /// before its event is published: a caller that saw the last exit, and then looks for messages that wait, calls this between the
    /// two. Exits that become visible later may be waited for, too. The future may be dropped.
    pub async fn exits_published(&self) {
        self.0.tasks.events.exits_published().await;
    }

    /// Ends every process (TERM, a short grace, KILL) and waits until all are gone. After the first call, spawns return
    /// [`Error::Cancelled`](super::Error::Cancelled). It may be called again. If the future is dropped, the shutdown
    /// still completes.
    pub async fn shutdown(&self) {
        self.0.tasks.closing.cancel();
        self.0.tasks.tracker.close();
        self.0.tasks.tracker.wait().await;
        self.0.prewarmer.ended().await;
        self.0.launcher.quiesced().await;
    }

    /// Ends every process that `capsule` started so far, under any principal and however it is held (TERM, a short
    /// grace, KILL). Waits until nothing of them is left. Spawns in flight are included; later ones are not affected.
    /// If the future is dropped, the end still completes.
    pub fn end_capsule(&self, capsule: &str) -> impl Future<Output = ()> + use<> {
        let closing = &self.0.tasks.closing;
        let tables = self.0.tables.all(|owner| owner.capsule == capsule);
        let ending: Vec<_> = tables.iter().map(|table| table.end_all(closing)).collect();
        async move {
            for ending in ending {
                ending.await;
            }
        }
    }

    /// The limits with which the registry was made.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// A name for `id` that may be shown to others: a keyed hash in hexadecimal, under a random key that this registry
    /// uses for nothing else. The name of a text is the same as long as the registry lives, and takes the same work for
    /// every text of its length, whether it is an id or not (contract I2, I3).
    #[must_use]
    pub fn audit_name(&self, id: &str) -> String {
        self.0.key.audit_name(id)
    }

    /// The number of retained ids, of live and of exited processes.
    #[must_use]
    pub fn retained(&self) -> usize {
        self.0.retained.used()
    }

    /// The number of tasks that supervise processes and of spawns in progress. It is 0 when every process was released,
    /// and after [`Self::shutdown`], except while a spawn is being refused.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.tracker.len()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("retained", &self.retained())
            .finish_non_exhaustive()
    }
}
