//! A guest's call and its record (contract U1).
//!
//! Each function of an interface begins a [`Call`] with [`CapsuleCtxView::call`], names the processes that the call is about, and
//! does its work in [`Call::run`] or [`Call::wait`], which give it an [`Access`]. Only an [`Access`] gives it the context's
//! [`State`] and the values of a guest's handles, which are [`Recorded`]. So every function that acts leaves a record, with the
//! outcome that the guest gets. A call that is dropped early, because its instance goes away, leaves its record then.
//!
//! A record contains neither the topic nor the content of a message. The topic of a process that is watched without a suffix
//! ends in the process's id.
//!
//! These functions leave no record, because none of them acts on a process, a message or another capsule:
//! - all of `astrid:io`: it waits for events that a recorded call subscribed to;
//! - `clock-ms`, `clock-monotonic-ns`, `sleep-ns` and `random-bytes` of `astrid:sys`: time and random bytes;
//! - `get-caller` and `enumerate-capabilities`: they tell the caller about itself;
//! - `log`: it has a log of its own, which bounds each owner's rate.

use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{CapsuleCtx, CapsuleCtxView, State};
use crate::audit::{KeyDetails, Outcome, Record, SpawnDetails};
use crate::bus;
use crate::locks;
use crate::wit::asking::Asking;
use crate::wit::denial::{Denial, Refusal};
use crate::wit::error::{Reason, Unloaded};
use crate::wit::hooks::CapsuleHooks;
use capsule_supervisor::{Handle, SpawnRequest};

/// The value of a guest's handle, in the store's table. Only a call that leaves a record can reach the inside.
#[derive(Debug)]
pub struct Recorded<T>(T);

/// The value of an `astrid:process/host.process-handle`. When the guest, its table or its store drops it, a process that was
/// started with it ends.
pub type ProcessHandle = Recorded<Handle>;

/// The value of an `astrid:ipc/host.subscription`. Dropping it ends the subscription.
pub type Subscription = Recorded<bus::Subscription>;

/// The value of a `capsule:sync/lock.guard`. Dropping it frees the lock.
pub type LockGuard = Recorded<locks::Guard>;

/// A call that has begun. When it is dropped, it leaves its record.
#[must_use]
pub(in crate::wit) struct Call<'v>(Access<'v>);

/// The state that a call works with. When it is dropped, it hands the record to the hooks, if they want one.
pub(in crate::wit) struct Access<'v> {
    pub(in crate::wit) state: &'v mut State,
    pub(in crate::wit) hooks: &'v mut dyn CapsuleHooks,
    table: &'v mut ResourceTable,
    operation: &'static str,
    record: Option<Record>,
    refused: Option<Refusal>,
    unload: &'v CancellationToken,
}

impl CapsuleCtxView<'_> {
    /// Begins a call of the function with this name in its interface. The name of a method has the resource before it.
    pub(in crate::wit) fn call(&mut self, operation: &'static str) -> Call<'_> {
        let CapsuleCtx { state, unload, .. } = &mut *self.ctx;
        let wanted = self.hooks.wants_audit();
        Call(Access {
            operation,
            record: wanted.then(|| Record::new(state.scope.owner(), operation)),
            refused: None,
            state,
            hooks: self.hooks,
            table: self.table,
            unload,
        })
    }
}

/// The processes that the call is about.
impl Call<'_> {
    /// Records the process of this id; no process if the id is unknown.
    pub(in crate::wit) fn about(mut self, id: &str) -> Self {
        self.0.note(id);
        self
    }

    /// The processes of these ids.
    pub(in crate::wit) fn about_all(mut self, ids: &[String]) -> Self {
        /// The most names that a record keeps.
        const NAMED: usize = 32;
        let Access { state, record, .. } = &mut self.0;
        if let Some(record) = record {
            let names: Vec<_> = ids.iter().take(NAMED).map(|id| state.scope.audit_name(id)).collect();
            record.about(names, ids.len().saturating_sub(NAMED));
        }
        self
    }

    /// The process of this handle, which has an id where it was attached to by one.
    pub(in crate::wit) fn on(mut self, handle: &Resource<ProcessHandle>) -> Self {
        let Access {
            state, record, table, ..
        } = &mut self.0;
        let id = table.get(handle).ok().and_then(|handle| handle.0.id());
        if let (Some(id), Some(record)) = (id, record) {
            record.about([state.scope.audit_name(id.expose())], 0);
        }
        self
    }

    /// A key of the owner's store, and the value that it is to have; or the name of a lock.
    pub(in crate::wit) fn of_key(mut self, key: &str, value: Option<&[u8]>) -> Self {
        let Access { state, record, .. } = &mut self.0;
        if let Some(record) = record {
            let details = KeyDetails::of(key, value.map(<[u8]>::len), &|text| state.scope.audit_name(text));
            record.key = Some(Box::new(details));
        }
        self
    }

    /// A process that is to be started.
    pub(in crate::wit) fn spawning(mut self, request: &SpawnRequest) -> Self {
        let Access { state, record, .. } = &mut self.0;
        if let Some(record) = record {
            let details = SpawnDetails::of(request, &|text| state.scope.audit_name(text));
            record.spawn = Some(Box::new(details));
        }
        self
    }
}

/// The work.
impl Call<'_> {
    /// Does the work, and records the outcome.
    pub(in crate::wit) fn run<T, E>(mut self, work: impl FnOnce(&mut Access<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: Reason,
        for<'e> Outcome: From<&'e E>,
    {
        let answer = work(&mut self.0);
        self.0.end(answer)
    }

    /// Does work that waits, until the capsule is unloaded, and records the outcome. It does not begin after an unload. If the
    /// future is dropped, the work is abandoned, and the record says so.
    pub(in crate::wit) async fn wait<T, E>(
        mut self,
        work: impl AsyncFnOnce(&mut Access<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Unloaded> + Reason,
        for<'e> Outcome: From<&'e E>,
    {
        let waited = self.0.unload.run_until_cancelled(work(&mut self.0)).await;
        self.0.end(waited.unwrap_or_else(|| Err(Unloaded.into())))
    }

    /// Takes a handle away, and waits for `close` or until the capsule is unloaded. The unload is no error, because the value is
    /// closed all the same.
    pub(in crate::wit) async fn close<T: 'static>(
        mut self,
        handle: Resource<Recorded<T>>,
        close: impl AsyncFnOnce(T),
    ) -> wasmtime::Result<()> {
        let closed = match self.0.delete(handle) {
            Ok(value) => {
                let _: Option<()> = self.0.unload.run_until_cancelled(close(value)).await;
                Ok(())
            }
            Err(misuse) => Err(misuse.into()),
        };
        self.0.end(closed)
    }
}

impl Access<'_> {
    fn end<T, E>(&mut self, answer: Result<T, E>) -> Result<T, E>
    where
        E: Reason,
        for<'e> Outcome: From<&'e E>,
    {
        let outcome = answer.as_ref().map_or_else(Outcome::from, |_| Outcome::OK);
        if let Some(record) = &mut self.record {
            record.outcome = outcome;
        }
        if let Err(error) = &answer {
            self.deny(outcome, error.reason());
        }
        answer
    }

    /// Tells the hooks and the record why the call was refused, if it was.
    fn deny(&mut self, outcome: Outcome, reason: Option<String>) {
        // What a hook has refused is the reason only if the call has failed for that.
        let refused = self
            .refused
            .take()
            .filter(|_| outcome == Outcome::error("capability-denied"));
        let Some(refusal) = refused.or_else(|| reason.map(Refusal::Rule)) else {
            return;
        };
        let scope = &self.state.scope;
        let denial = Denial {
            operation: self.operation,
            outcome,
            refusal: refusal.redacted(&|text| scope.audit_name(text)),
        };
        if let Some(record) = &mut self.record {
            record.denial = Some(denial.refusal.to_string());
        }
        self.hooks.denied(scope.owner(), &denial);
    }

    /// The state, and the hooks for a spawn of this command.
    pub(in crate::wit) fn asking(&mut self, command: &str) -> (&State, Asking<'_>) {
        (self.state, Asking::new(self.hooks, &mut self.refused, command))
    }

    /// Notes what a hook has refused.
    pub(in crate::wit) fn refuse(&mut self, refusal: Refusal) {
        self.refused = Some(refusal);
    }

    /// Notes the process of this id in the record. A call may learn the id only during its work.
    pub(in crate::wit) fn note(&mut self, id: &str) {
        if let Some(record) = &mut self.record {
            record.about([self.state.scope.audit_name(id)], 0);
        }
    }

    /// Notes the name of a lock in the record.
    pub(in crate::wit) fn note_key(&mut self, key: &str) {
        if let Some(record) = &mut self.record {
            let details = KeyDetails::of(key, None, &|text| self.state.scope.audit_name(text));
            record.key = Some(Box::new(details));
        }
    }

    /// The value of the handle. A number that is not a handle in the table is an error, and ends the guest.
    pub(in crate::wit) fn get<T: 'static>(&self, handle: &Resource<Recorded<T>>) -> Result<&T, ResourceTableError> {
        Ok(&self.table.get(handle)?.0)
    }

    /// Makes a handle.
    pub(in crate::wit) fn push<T: Send + 'static>(
        &mut self,
        value: T,
    ) -> Result<Resource<Recorded<T>>, ResourceTableError> {
        self.table.push(Recorded(value))
    }

    /// Takes a handle away, and returns its value.
    pub(in crate::wit) fn delete<T: 'static>(
        &mut self,
        handle: Resource<Recorded<T>>,
    ) -> Result<T, ResourceTableError> {
        Ok(self.table.delete(handle)?.0)
    }

    /// Fails if the table has no room for a handle. The room stays free while the call lasts, because the call owns the table.
    pub(in crate::wit) fn require_room(&mut self) -> Result<(), ResourceTableError> {
        let room = self.table.push(())?;
        self.table.delete(room)
    }

    /// A pollable that owns its event source, so that the handle may be dropped first (A1).
    pub(in crate::wit) fn pollable(&mut self, ready: impl Pollable) -> wasmtime::Result<Resource<DynPollable>> {
        let ready = self.table.push(ready)?;
        subscribe(self.table, ready)
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.hooks.audit(record);
        }
    }
}
