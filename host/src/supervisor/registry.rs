//! The registry: admits processes, and knows who owns which.
//!
//! Each owner has a table of its own, and a call goes through the table of the live owner. So another owner's process
//! cannot be named, and asking for one is the same look-up in the same table as asking for an id that never was
//! (contract I3).

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::events::Events;
use super::id::RegistryKey;
use super::life::process::Tasks;
use super::life::timers::Timers;
use super::lull::Lulls;
use super::quota::Budget;
use super::request::CommandView;
use super::scope::Scope;
use super::table::Table;
use super::{Limits, Owner, Principal, metrics};
#[cfg(feature = "component")]
use crate::guest_log::GuestLog;
use crate::sandbox::Launcher;

/// The processes of one host.
///
/// Cloning is cheap and means the same registry. When the last clone and the last [`Scope`] are dropped, every process is
/// ended; [`Registry::shutdown`] does that and waits for it.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) limits: Limits,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) key: RegistryKey,
    pub(crate) tasks: Tasks,
    pub(crate) lulls: Lulls,
    pub(crate) retained: Arc<Budget>,
    #[cfg(feature = "component")]
    pub(crate) guest_log: GuestLog,
    principals: Interned<Principal, Purse>,
    tables: Interned<Owner, Table>,
}

/// What a principal may have at once, over all capsules.
#[derive(Debug)]
pub(crate) struct Purse {
    pub(crate) processes: Arc<Budget>,
    pub(crate) ring_memory: Arc<Budget>,
}

/// What the embedder is asked, in the order of contract S4.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ask<'a> {
    /// May this capsule have processes at all?
    Process,
    /// May it run this command?
    Command(CommandView<'a>),
    /// May it have processes that outlive the instance?
    Persistent,
}

/// The embedder's say. Asked on the path of a spawn, so it must not block.
pub trait Gate: Send {
    /// Whether to allow it. A `false` ends the spawn with `capability-denied`, and nothing ran.
    fn allows(&mut self, ask: Ask<'_>) -> bool;
}

/// Why there is no registry.
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
        let key = RegistryKey::generate().map_err(RegistryError::Random)?;
        let tasks = Tasks {
            timers: Timers::start(&runtime),
            runtime,
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
            events: Arc::default(),
        };
        metrics::describe();
        let retained = Budget::gauged(limits.retained_total, metrics::retained());
        let (principals, tables) = (Interned::default(), Interned::default());
        #[cfg(feature = "component")]
        let guest_log = GuestLog::new(limits.guest_output_per_second, limits.guest_output_burst);
        Ok(Self(Arc::new(Inner {
            limits,
            launcher,
            key,
            tasks,
            lulls: Lulls::default(),
            retained,
            #[cfg(feature = "component")]
            guest_log,
            principals,
            tables,
        })))
    }

    /// The processes of `owner` alone.
    #[must_use]
    pub fn scope(&self, owner: Owner) -> Scope {
        let inner = &self.0;
        let purse = inner.principals.get(&owner.principal, || Purse {
            processes: Budget::gauged(inner.limits.processes_per_principal, metrics::live()),
            ring_memory: Budget::new(inner.limits.ring_memory_per_principal),
        });
        let table = inner.tables.get(&owner, || {
            Table::new(purse, inner.limits.retained_per_owner, &inner.tasks.closing)
        });
        Scope::new(self.clone(), owner, table)
    }

    /// From now on, lifecycle events go to `events`, besides wherever else they go. Without this they go nowhere.
    pub fn publish_to(&self, events: Arc<dyn Events>) {
        self.0.tasks.events.add(events);
    }

    /// Ends every process (TERM, a short grace, KILL) and waits until all are gone. From the first call on, spawns are
    /// [`Error::Cancelled`](super::Error::Cancelled). May be called again, and dropped: the end goes on.
    pub async fn shutdown(&self) {
        self.0.tasks.closing.cancel();
        self.0.tasks.tracker.close();
        self.0.tasks.tracker.wait().await;
        self.0.lulls.over().await;
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.closing.cancel();
    }
}

/// One shared value a key, for as long as it is held.
pub(crate) struct Interned<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Interned<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Interned<K, V> {
    /// The values whose keys are `wanted`.
    fn all(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<V>> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .filter(|(key, _)| wanted(key))
            .filter_map(|(_, value)| value.upgrade())
            .collect()
    }

    pub(crate) fn get(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = map.get(key).and_then(Weak::upgrade) {
            return value;
        }
        // Keys whose value is gone are swept when the map would grow for a new one: the cost is spread over the
        // insertions that made it grow.
        if map.len() == map.capacity() {
            map.retain(|_, value| value.strong_count() > 0);
        }
        let value = Arc::new(make());
        map.insert(key.clone(), Arc::downgrade(&value));
        value
    }
}
