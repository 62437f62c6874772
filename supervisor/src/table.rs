//! The table of one owner: its persistent processes by the hash of their id, and its quotas.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::generation::{Generations, Member};
use super::identity_hasher::IdentityHasher;
use super::keys::IdHash;
use super::life::process::Process;
use super::log::cursor::CursorKey;
use super::quota::{Budget, Permit, PrincipalQuota};
use super::types::{Phase, ProcessInfo};
use super::{Error, ProcessId};

type Entries = HashMap<IdHash, Arc<Entry>, BuildHasherDefault<IdentityHasher>>;

/// The processes of one owner.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Mutex<Entries>,
    next: AtomicU64,
    generations: Generations,
    pub(crate) retained: Arc<Budget>,
    pub(crate) quota: Arc<PrincipalQuota>,
}

/// A persistent process, as its owner knows it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ProcessId,
    /// The number in spawn order.
    pub(crate) number: u64,
    pub(crate) label: String,
    pub(crate) command: String,
    pub(crate) cursors: CursorKey,
    pub(crate) process: Arc<Process>,
}

/// Keeps a persistent process in the table and in the quotas until it is dropped.
pub(crate) struct EntryGuard {
    table: Arc<Table>,
    key: IdHash,
    _permits: Vec<Permit>,
}

impl Table {
    pub(crate) fn new(quota: Arc<PrincipalQuota>, retained: usize, closing: &CancellationToken) -> Self {
        Self {
            entries: Mutex::default(),
            next: AtomicU64::new(0),
            generations: Generations::new(closing),
            retained: Budget::new(retained),
            quota,
        }
    }

    /// The number of the next process.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &IdHash) -> Result<Arc<Entry>, Error> {
        self.lock().get(key).cloned().ok_or(Error::NoSuchProcess)
    }

    /// All persistent processes of the owner, in spawn order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.lock().values().cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        entries
    }

    pub(crate) fn insert(self: &Arc<Self>, key: IdHash, entry: Entry, permits: Vec<Permit>) -> EntryGuard {
        self.lock().insert(key, Arc::new(entry));
        EntryGuard {
            table: Arc::clone(self),
            key,
            _permits: permits,
        }
    }

    /// As [`Generations::join`]. The table can be found while a process in it runs, even if its owner's last instance has ended.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        self.generations.join(Arc::clone(self) as _)
    }

    /// As [`Generations::end`].
    pub(crate) fn end_all(&self, closing: &CancellationToken) -> impl Future<Output = ()> + use<> {
        self.generations.end(closing)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(crate) fn info(&self) -> ProcessInfo {
        let process = &self.process;
        let exit = process.exit();
        let now = Instant::now();
        let outputs = [&process.stdout, &process.stderr];
        let usage = process.meter.usage();
        ProcessInfo {
            id: self.id.clone(),
            label: self.label.clone(),
            command: self.command.clone(),
            os_pid: process.os_pid(),
            phase: if exit.is_some() { Phase::Exited } else { Phase::Running },
            exit,
            age: now.saturating_duration_since(process.started),
            idle: now.saturating_duration_since(process.touched()),
            buffered_bytes: outputs.iter().map(|output| output.buffered() as u64).sum(),
            bytes_dropped: outputs.iter().map(|output| output.evicted()).sum(),
            stdin_open: process.stdin.is_open(),
            cpu: usage.cpu,
            mem_bytes_peak: usage.peak_bytes,
            published: process.published(),
        }
    }
}

impl Drop for EntryGuard {
    fn drop(&mut self) {
        let entry = self.table.lock().remove(&self.key);
        // Outside of the lock, because the rings are freed with the entry.
        drop(entry);
    }
}
