//! What the instances of a host with a change share: its name, and what a change has to remember.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use capsule_conformance::AuditRecord;

/// What all instances of a started host share.
pub(super) struct Shared {
    /// The name of the change.
    pub(super) change: &'static str,
    /// Whether the guest's clock runs faster, so that a case soon misses what never comes.
    pub(super) hurry: bool,
    pub(super) workspace: PathBuf,
    pub(super) memory: Mutex<Memory>,
    pub(super) records: Mutex<Vec<AuditRecord>>,
}

/// What a change has to remember from call to call.
#[derive(Default)]
pub(super) struct Memory {
    /// Every id that was given out.
    pub(super) ids: Vec<String>,
    pub(super) watched: BTreeSet<String>,
    /// The ids of attached handles, by the handle's number.
    pub(super) attached: BTreeMap<u32, String>,
    /// Output that was handed over before.
    pub(super) output: String,
    pub(super) token: Option<String>,
    /// The bytes that a chain of cursors had lost.
    pub(super) lost: u64,
    pub(super) closed: BTreeSet<String>,
    pub(super) refused: u32,
    pub(super) waited: bool,
    pub(super) answered: bool,
    pub(super) handle_dropped: bool,
    /// The host's own hold on a lock.
    pub(super) lock: Option<File>,
    /// Instances that are over and were not dropped.
    pub(super) instances: Vec<Box<dyn Any + Send>>,
}

impl Shared {
    pub(super) fn is(&self, change: &str) -> bool {
        self.change == change
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Vec<AuditRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
