//! What one owner has: its persistent processes by the hash of their id, and its quotas.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::id::{AsItIs, IdHash};
use super::life::process::Process;
use super::log::cursor::CursorKey;
use super::quota::{Budget, Permit};
use super::registry::Purse;
use super::types::{Phase, ProcessInfo};
use super::{Error, ProcessId};

type Entries = HashMap<IdHash, Arc<Entry>, BuildHasherDefault<AsItIs>>;

/// The processes of one owner.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Mutex<Entries>,
    next: AtomicU64,
    generation: Mutex<Arc<Generation>>,
    pub(crate) retained: Arc<Budget>,
    pub(crate) purse: Arc<Purse>,
}

/// A persistent process, as its owner knows it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ProcessId,
    /// Spawn order.
    pub(crate) number: u64,
    pub(crate) label: String,
    pub(crate) command: String,
    pub(crate) cursors: CursorKey,
    pub(crate) process: Arc<Process>,
}

/// A persistent process's place in the tables and in the quotas; given up when dropped.
pub(crate) struct Place {
    table: Arc<Table>,
    key: IdHash,
    _permits: [Permit; 3],
}

/// The processes that an owner starts between two times that all of them are ended, held or not.
#[derive(Debug)]
struct Generation {
    closing: CancellationToken,
    members: TaskTracker,
}

/// Membership in a generation, from before the command is started until nothing of it is left.
#[derive(Debug)]
pub(crate) struct Member {
    /// The whole generation is to end.
    pub(crate) closing: CancellationToken,
    _counted: TaskTrackerToken,
    /// The table can be found for as long as something in it runs, though its owner's last instance be gone.
    _table: Arc<Table>,
}

impl Table {
    pub(crate) fn new(purse: Arc<Purse>, retained: usize, closing: &CancellationToken) -> Self {
        Self {
            entries: Mutex::default(),
            next: AtomicU64::new(0),
            generation: Mutex::new(Generation::new(closing)),
            retained: Budget::new(retained),
            purse,
        }
    }

    /// The number of the next process.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &IdHash) -> Result<Arc<Entry>, Error> {
        self.lock().get(key).cloned().ok_or(Error::NoSuchProcess)
    }

    /// All that are named, in spawn order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.lock().values().cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        entries
    }

    pub(crate) fn insert(self: &Arc<Self>, key: IdHash, entry: Entry, permits: [Permit; 3]) -> Place {
        self.lock().insert(key, Arc::new(entry));
        Place {
            table: Arc::clone(self),
            key,
            _permits: permits,
        }
    }

    /// A caller that asks for it before a command is started is waited for by [`Self::end_all`], or sees the end.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        let generation = self.generation();
        Member {
            closing: generation.closing.clone(),
            _counted: generation.members.token(),
            _table: Arc::clone(self),
        }
    }

    /// Ends every process that was started so far, by a handle or to be kept, and waits until nothing of them is left.
    /// Once begun, the end goes on without its caller.
    pub(crate) fn end_all(&self, closing: &CancellationToken) -> impl Future<Output = ()> + use<> {
        let ended = std::mem::replace(&mut *self.generation(), Generation::new(closing));
        ended.closing.cancel();
        ended.members.close();
        async move { ended.members.wait().await }
    }

    fn generation(&self) -> MutexGuard<'_, Arc<Generation>> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn new(closing: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            closing: closing.child_token(),
            members: TaskTracker::new(),
        })
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
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let entry = self.table.lock().remove(&self.key);
        // Outside of the lock: the rings go with it.
        drop(entry);
    }
}
