//! One owner's view of the registry: every call that a guest can make.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::admission::Fresh;
use super::id::IdHash;
use super::life::capture;
use super::life::lifecycle::End;
use super::life::process::{Keep, Process, Tenure};
use super::log::cursor::CursorKey;
use super::log::output::Output;
use super::log::text;
use super::quota::{Budget, Permit};
use super::registry::{Gate, Purse, Registry};
use super::request::{SpawnRequest, Tier};
use super::types::{ExitInfo, LogChunk, LogStream, Logs, Owner, Phase, ProcessInfo, RunOutput, Signal};
use super::{Error, Overflow, ProcessId};
use crate::sandbox::{Launch, ResourceLimits, Workspace};

/// What one owner may do with its processes; another owner's cannot be named here.
///
/// An id that is unknown, malformed, released, reaped or another owner's is [`Error::NoSuchProcess`] to every call, in
/// the same way (contract I3). Every future may be dropped at any time; what that means is said with each.
#[derive(Clone)]
pub struct Scope {
    registry: Registry,
    owner: Owner,
    table: Arc<Table>,
}

/// The persistent processes of one owner.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Mutex<HashMap<IdHash, Arc<Entry>>>,
    next: AtomicU64,
    retained: Arc<Budget>,
    purse: Arc<Purse>,
}

#[derive(Debug)]
struct Entry {
    id: ProcessId,
    /// Spawn order.
    number: u64,
    label: String,
    command: String,
    cursors: CursorKey,
    process: Arc<Process>,
}

/// A persistent process's place in the tables and in the quotas; given up when dropped.
struct Place {
    table: Arc<Table>,
    key: IdHash,
    _permits: [Permit; 3],
}

impl Scope {
    pub(crate) fn new(registry: Registry, owner: Owner, table: Arc<Table>) -> Self {
        Self { registry, owner, table }
    }

    /// Whose processes these are.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Runs a command to its end and returns all that it printed (S8). Dropped, it ends the command.
    ///
    /// # Errors
    /// Those of S1 to S7, in the order of S4; [`Error::TooLarge`] where it printed more than can be captured;
    /// [`Error::Cancelled`] where the registry shut down meanwhile.
    pub async fn spawn(
        &self,
        mut request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<RunOutput, Error> {
        let registry = &self.registry.0;
        let limits = registry.admit(&request, &self.owner.principal, workspace, gate, Tier::Captured)?;
        let slot = self.table.purse.processes.take(1).ok_or(Error::Quota)?;
        // Nobody could write to it, and end of file must come.
        request.keep_stdin_open = false;
        let keep = Keep {
            ring: registry.limits.capture_max,
            overflow: Overflow::Backpressure,
            ends_when_full: true,
            lifetime: None,
            idle: None,
            retention: None,
            ..self.keep(&mut request, limits)
        };
        let launch = launch_of(request, workspace, &keep);
        let Fresh {
            launched,
            permits: slot,
            token,
        } = registry.launch(launch, slot).await?;
        let process = Process::supervise(launched, keep, slot, &registry.tasks, |_| Box::new(()))?;
        drop(token);
        capture::run(process).await
    }

    /// Starts a process that the host keeps, and returns its id (S7, S10). It runs on when the future is dropped after
    /// the command was started, until one of its timers ends it; dropped before, nothing runs.
    ///
    /// # Errors
    /// Those of S1 to S7 and S10, in the order of S4; [`Error::Quota`] and [`Error::RegistryFull`] by Q1 to Q3;
    /// [`Error::Cancelled`] where the registry has shut down.
    pub async fn spawn_persistent(
        &self,
        mut request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<ProcessId, Error> {
        let registry = &self.registry.0;
        let limits = registry.admit(&request, &self.owner.principal, workspace, gate, Tier::Persistent)?;
        let keep = self.keep(&mut request, limits);
        let purse = &self.table.purse;
        let slot = purse.processes.take(1).ok_or(Error::Quota)?;
        let permits = [
            purse
                .ring_memory
                .take(keep.ring.saturating_mul(2))
                .ok_or(Error::Quota)?,
            self.table.retained.take(1).ok_or(Error::RegistryFull)?,
            registry.retained.take(1).ok_or(Error::RegistryFull)?,
        ];
        let id = ProcessId::generate().map_err(|error| Error::Host(format!("no random bytes: {error}")))?;
        let label = text::label(request.label.as_deref(), &request.cmd);
        let command = text::command(&request.cmd, &request.args);

        let launch = launch_of(request, workspace, &keep);
        let Fresh {
            launched,
            permits: (slot, permits),
            token,
        } = registry.launch(launch, (slot, permits)).await?;
        let tenure = |process: &Arc<Process>| -> Tenure {
            let key = registry.key.hash(id.expose());
            let entry = Entry {
                cursors: registry.key.cursor_key(&id),
                id: id.clone(),
                number: self.table.next.fetch_add(1, Ordering::Relaxed),
                label,
                command,
                process: Arc::clone(process),
            };
            self.table.lock().insert(key, Arc::new(entry));
            Box::new(Place {
                table: Arc::clone(&self.table),
                key,
                _permits: permits,
            })
        };
        Process::supervise(launched, keep, slot, &registry.tasks, tenure)?;
        drop(token);
        Ok(id)
    }

    /// The owner's processes in spawn order, those whose label holds `label_filter` (I5). Touches none.
    #[must_use]
    pub fn list(&self, label_filter: Option<&str>) -> Vec<ProcessInfo> {
        let mut entries: Vec<_> = self.table.lock().values().cloned().collect();
        entries.retain(|entry| label_filter.is_none_or(|filter| entry.label.contains(filter)));
        entries.sort_unstable_by_key(|entry| entry.number);
        entries.iter().map(|entry| entry.info()).collect()
    }

    /// What is known of a process. Does not touch it.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn status(&self, id: &str) -> Result<ProcessInfo, Error> {
        Ok(self.find(id)?.info())
    }

    /// What is known of the processes that are the owner's, each once, in the order in which they were first named. The
    /// others are absent. Touches none.
    #[must_use]
    pub fn status_many<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<ProcessInfo> {
        // Each once: an answer is much larger than an id, and a guest can name one a million times.
        let mut seen = HashSet::new();
        let named = ids.into_iter().filter_map(|id| self.find(id).ok());
        named
            .filter(|entry| seen.insert(entry.number))
            .map(|entry| entry.info())
            .collect()
    }

    /// Takes out what both streams have buffered (L1).
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn read_logs(&self, id: &str) -> Result<Logs, Error> {
        let entry = self.find(id)?;
        let process = &entry.process;
        let _touched = process.touch();
        // Before the streams: an exit that is seen here means that nothing comes after what is read below.
        let exit = process.exit();
        let text = |output: &Output| text::lossy(output.drain().into_bytes());
        Ok(Logs {
            stdout: text(&process.stdout),
            stderr: text(&process.stderr),
            running: exit.is_none(),
            exit,
        })
    }

    /// Bytes from `cursor` on, without taking them out (L2 to L7); from the oldest one without a cursor. At most
    /// `max_bytes`, and at most [`Limits::read_max`](super::Limits::read_max).
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`], also for a cursor that is not of this stream of this process.
    pub fn read_since(
        &self,
        id: &str,
        stream: LogStream,
        cursor: Option<&str>,
        max_bytes: u32,
    ) -> Result<LogChunk, Error> {
        let entry = self.find(id)?;
        let open = |token| entry.cursors.open(stream, token).ok_or(Error::NoSuchProcess);
        let position = cursor.map(open).transpose()?;
        let _touched = entry.process.touch();
        let max = usize::try_from(max_bytes)
            .unwrap_or(usize::MAX)
            .min(self.registry.0.limits.read_max);
        let exited = entry.process.exit().is_some();
        let chunk = entry.process.output(stream).read_since(position, max);
        Ok(LogChunk {
            data: chunk.data,
            next: entry.cursors.seal(stream, chunk.next),
            bytes_dropped: chunk.next.dropped,
            drained_eof: exited && chunk.at_end,
        })
    }

    /// Writes all of `data` to stdin and returns how many bytes that was (N1 to N3). Dropped, the write is still made,
    /// unless too much of that kind waits already: then none of it is.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::TooLarge`] above [`Limits::write_max`](super::Limits::write_max), with no byte
    /// written; [`Error::Closed`] where stdin is not open, or nobody reads it any more.
    pub async fn write_stdin(&self, id: &str, data: Vec<u8>) -> Result<u32, Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        if data.len() > self.registry.0.limits.write_max {
            return Err(Error::TooLarge);
        }
        let count = u32::try_from(data.len()).map_err(|_| Error::TooLarge)?;
        entry.process.stdin.write(data).await?;
        Ok(count)
    }

    /// Accepts no more writes; end of file follows those accepted so far (N4). Succeeds however often it is called.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn close_stdin(&self, id: &str) -> Result<(), Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        entry.process.stdin.close();
        Ok(())
    }

    /// Signals the command's process group (K1). Does nothing to an exited process. Dropped, it is still sent.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub async fn signal(&self, id: &str, signal: Signal) -> Result<(), Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        entry.process.signal(signal).await
    }

    /// Waits for the exit, for at most `timeout` and [`Limits::wait_max`](super::Limits::wait_max) (X3, X4). Reaps
    /// nothing; may be dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::WaitTimeout`]; [`Error::Cancelled`] where the runtime went down.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<ExitInfo, Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        if let Some(exit) = entry.process.exit() {
            return Ok(exit);
        }
        let timeout = self.registry.0.limits.wait(timeout);
        let waiting = {
            // The clock is the registry's: the caller's runtime may have none.
            let _runtime = self.registry.0.tasks.runtime.enter();
            tokio::time::timeout(timeout, entry.process.exited())
        };
        match waiting.await {
            Ok(exited) => exited.map(|(exit, _)| exit),
            Err(_) => Err(Error::WaitTimeout),
        }
    }

    /// Ends a process and forgets it: TERM, `grace`, KILL (K2). Returns how it ended, also where it had before. Dropped,
    /// the end goes on.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::Cancelled`] where the runtime went down.
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<ExitInfo, Error> {
        let entry = self.find(id)?;
        entry.process.end(End::Stop, self.registry.0.limits.grace(grace));
        entry.process.gone().await
    }

    /// Forgets an exited process (K4). An id that is not there is a success: it is as gone as can be (I3).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] while the process is live.
    pub async fn release(&self, id: &str) -> Result<(), Error> {
        let Ok(entry) = self.find(id) else {
            return Ok(());
        };
        if entry.process.release().await {
            return Ok(());
        }
        Err(Error::InvalidInput("the process is live: stop it instead".into()))
    }

    /// The same work, whatever is wrong with `id`.
    fn find(&self, id: &str) -> Result<Arc<Entry>, Error> {
        let key = self.registry.0.key.hash(id);
        self.table.lock().get(&key).cloned().ok_or(Error::NoSuchProcess)
    }

    /// How a persistent process that asked for `request` is kept. Takes the prelude out of the request.
    fn keep(&self, request: &mut SpawnRequest, resources: ResourceLimits) -> Keep {
        let limits = &self.registry.0.limits;
        Keep {
            ring: limits.ring_size(request.log_ring_bytes),
            overflow: request.overflow,
            stdin: request.stdin.take(),
            keep_stdin_open: request.keep_stdin_open,
            abandoned_writes_max: limits.abandoned_writes_max,
            ends_when_full: false,
            limits: resources,
            lifetime: Some(limits.lifetime(request.max_lifetime)),
            idle: Some(limits.idle(request.idle_timeout)),
            retention: Some(limits.retention(request.exit_retention)),
            grace: limits.grace(None),
            grace_shutdown: limits.grace(Some(limits.grace_shutdown)),
            drain_time: limits.drain(),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Entry {
    fn info(&self) -> ProcessInfo {
        let process = &self.process;
        let exit = process.exit();
        let now = Instant::now();
        let outputs = [&process.stdout, &process.stderr];
        let usage = process.meter.usage();
        ProcessInfo {
            id: self.id.clone(),
            label: self.label.clone(),
            command: self.command.clone(),
            os_pid: process.meter.os_pid().filter(|_| exit.is_none()),
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

impl Table {
    pub(crate) fn new(purse: Arc<Purse>, retained: usize) -> Self {
        Self {
            entries: Mutex::default(),
            next: AtomicU64::new(0),
            retained: Budget::new(retained),
            purse,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdHash, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let entry = self.table.lock().remove(&self.key);
        // Outside of the lock: the rings go with it.
        drop(entry);
    }
}

fn launch_of(request: SpawnRequest, workspace: &Workspace, keep: &Keep) -> Launch {
    let SpawnRequest {
        cmd, args, env, cwd, ..
    } = request;
    let cwd = cwd.unwrap_or_else(|| ".".into());
    Launch {
        cmd,
        args,
        env,
        workspace: workspace.clone(),
        cwd,
        stdin: keep.wants_stdin(),
        limits: keep.limits,
    }
}
