//! A host with one change: `capsule-host`'s adapter, as an embedder with an engine of its own uses it, of which one behaviour is
//! another than that of the contract.
//!
//! A change has a name, which is the same text in the table of mutations and at the place that makes it. A name that no place
//! knows changes nothing; then the case passes, and the table's test fails.
//!
//! The cases' components are linked as they are: the change is in the host, between the case and the adapter. This host starts no
//! interceptors, serves no WASI, and does not end a guest that computes for too long.

mod host;
mod other;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capsule_conformance::AuditRecord;
use capsule_host::runtime::Grants;
use capsule_host::{CapsuleCtx, CapsuleCtxView};
use wasmtime::Store;
use wasmtime::component::{HasData, ResourceTable};

use self::host::Hooks;
pub(crate) use self::host::Mutant;

/// What all instances of a started host share.
pub(crate) struct Shared {
    /// The name of the change.
    change: &'static str,
    /// Whether the guest's clock runs faster, so that a case soon misses what never comes.
    hurry: bool,
    workspace: PathBuf,
    memory: Mutex<Memory>,
    records: Mutex<Vec<AuditRecord>>,
}

/// What a change has to remember from call to call.
#[derive(Default)]
struct Memory {
    /// Every id that was given out.
    ids: Vec<String>,
    watched: BTreeSet<String>,
    /// The ids of attached handles, by the handle's number.
    attached: BTreeMap<u32, String>,
    /// Output that was handed over before.
    output: String,
    token: Option<String>,
    /// The bytes that a chain of cursors had lost.
    lost: u64,
    closed: BTreeSet<String>,
    refused: u32,
    waited: bool,
    answered: bool,
    handle_dropped: bool,
    /// The host's own hold on a lock.
    lock: Option<File>,
    /// Instances that are over and were not dropped.
    instances: Vec<Store<State>>,
}

impl Shared {
    fn is(&self, change: &str) -> bool {
        self.change == change
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Vec<AuditRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The data of a store.
pub(crate) struct State {
    capsule: CapsuleCtx,
    /// That of version 1.0.0 of `astrid:process`.
    older: CapsuleCtx,
    table: ResourceTable,
    hooks: Hooks,
    shared: Arc<Shared>,
}

impl State {
    fn served(&mut self) -> Served<'_> {
        Served {
            host: CapsuleCtxView {
                ctx: &mut self.capsule,
                table: &mut self.table,
                hooks: &mut self.hooks,
            },
            shared: &self.shared,
        }
    }

    fn older(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.older,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// What the interfaces are served from: the adapter, and what is changed of it.
struct Served<'a> {
    host: CapsuleCtxView<'a>,
    shared: &'a Shared,
}

impl Served<'_> {
    fn is(&self, change: &str) -> bool {
        self.shared.is(change)
    }
}

/// Names, for a linker, what is served.
struct Changed;

impl HasData for Changed {
    type Data<'a> = Served<'a>;
}

/// The grants of a case, with that of the shell that some changes need.
fn with_shell(mut grants: Grants) -> Grants {
    grants.commands.push("sh".into());
    grants
}
