//! The state that a registry, its scopes and their handles share.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::RegistryKey;
use super::life::supervise::Tasks;
use super::life::timers::Timers;
use super::prewarmer::Prewarmer;
use super::quota::{Budget, PrincipalQuota};
use super::table::Table;
use super::{Limits, Owner, Principal, metrics};
use crate::guest_log::GuestLog;
use crate::interned::Interned;
use crate::sandbox::Launcher;

/// Dropping it ends every process.
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) key: RegistryKey,
    pub(crate) tasks: Tasks,
    pub(crate) prewarmer: Prewarmer,
    pub(crate) retained: Arc<Budget>,
    pub(crate) guest_log: GuestLog,
    principals: Interned<Principal, PrincipalQuota>,
    pub(crate) tables: Interned<Owner, Table>,
}

impl Core {
    /// # Errors
    /// The operating system has no random bytes.
    pub(crate) fn new(
        runtime: Handle,
        launcher: Arc<dyn Launcher>,
        limits: Limits,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let key = RegistryKey::generate()?;
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
        let guest_log = GuestLog::new(limits.guest_output_per_second, limits.guest_output_burst);
        Ok(Arc::new(Self {
            limits,
            launcher,
            key,
            tasks,
            prewarmer: Prewarmer::default(),
            retained,
            guest_log,
            principals,
            tables,
        }))
    }

    /// The processes of `owner`.
    pub(crate) fn table(&self, owner: &Owner) -> Arc<Table> {
        let quota = self.principals.get(&owner.principal, || PrincipalQuota {
            processes: Budget::gauged(self.limits.processes_per_principal, metrics::live()),
            ring_memory: Budget::new(self.limits.ring_memory_per_principal),
        });
        self.tables.get(owner, || {
            Table::new(quota, self.limits.retained_per_owner, &self.tasks.closing)
        })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.tasks.closing.cancel();
    }
}
