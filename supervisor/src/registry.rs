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
/// Cloning is cheap and means the same registry. When the last clone and the last [`Scope`] are dropped, every process is
/// ended; [`Registry::shutdown`] does that and waits for it.
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

    /// The processes of `owner` alone.
    #[must_use]
    pub fn scope(&self, owner: Owner) -> Scope {
        Scope::new(Arc::clone(&self.0), owner)
    }

    /// The destination of the lines that guests log.
    #[doc(hidden)]
    pub fn guest_log(&self) -> &GuestLog {
        &self.0.guest_log
    }

    /// From now on, lifecycle events go to `events`, besides all earlier destinations. Without this, events are not published.
    pub fn publish_to(&self, events: Arc<dyn Events>) {
        self.0.tasks.events.add(events);
    }

    /// Ends every process (TERM, a short grace, KILL) and waits until all are gone. From the first call on, spawns are
    /// [`Error::Cancelled`](super::Error::Cancelled). May be called again, and dropped: the end goes on.
    pub async fn shutdown(&self) {
        self.0.tasks.closing.cancel();
        self.0.tasks.tracker.close();
        self.0.tasks.tracker.wait().await;
        self.0.prewarmer.ended().await;
    }

    /// Ends every process that `capsule` started so far, under whichever principal and however it is held, and waits until
    /// nothing of them is left (TERM, a short grace, KILL). Spawns in flight are among them; later ones are not concerned.
    /// Once begun, the end goes on without its caller.
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

    /// The limits given at the start.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// A name for `id` that can be told to others: a keyed hash, under a random key that this registry uses for nothing
    /// else, in hexadecimal. The same for the same text as long as the registry lives, and the same work for every text of
    /// its length, whether it is an id or not (contract I2, I3).
    #[must_use]
    pub fn audit_name(&self, id: &str) -> String {
        self.0.key.audit_name(id)
    }

    /// How many ids are retained, of live and of exited processes.
    #[must_use]
    pub fn retained(&self) -> usize {
        self.0.retained.used()
    }

    /// How many tasks supervise processes, and how many spawns are under way. None once everything is released, or after
    /// [`Self::shutdown`], but for a spawn that is being refused at that moment.
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
