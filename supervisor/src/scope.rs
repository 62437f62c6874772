//! One owner's view of the registry: every call that a guest can make.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::gate::Gate;
use super::handle::{Handle, Ownership};
use super::life::capture;
use super::life::lifecycle::{End, Retention};
use super::life::options::ProcessOptions;
use super::life::process::KillOnDrop;
use super::owner::Owner;
use super::ports::{self, PortError};
use super::quota::{Permit, Reservation};
use super::read_positions::ReadPositions;
use super::request::SpawnRequest;
use super::shared::Core;
use super::table::{Entry, Table};
use super::types::{ExitInfo, LogChunk, LogStream, Logs, ProcessInfo, RunOutput, Signal, Tier};
use super::watch::Topics;
use super::{Error, Overflow, ProcessId, injection, metrics, title};
use crate::guest_log::GuestLog;
use crate::sandbox::{Launch, Network, OwnerNetwork, PortStream, ResourceLimits, Workspace};

/// The calls with which one owner acts on its processes. It cannot name a process of another owner.
///
/// An id that is unknown, malformed, released, reaped or another owner's gives [`Error::NoSuchProcess`] from every
/// call, in the same way (contract I3). Every future may be dropped at any time; each method says what follows.
///
/// A scope also counts as one reader: output that [`Self::read_since`] returned is not new to the [`Handle`]s that the
/// scope made (contract A3). Clones are the same reader.
#[derive(Clone)]
pub struct Scope {
    core: Arc<Core>,
    owner: Owner,
    table: Arc<Table>,
    positions: Arc<ReadPositions>,
    /// No two scopes of this process have the same, but clones.
    number: u64,
}

impl Scope {
    pub(crate) fn new(core: Arc<Core>, owner: Owner) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let table = core.table(&owner);
        Self {
            core,
            owner,
            table,
            positions: Arc::default(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The owner of the processes.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The destination of the lines that the owner's guests log.
    #[doc(hidden)]
    pub fn guest_log(&self) -> &GuestLog {
        &self.core.guest_log
    }

    /// Same as [`Registry::audit_name`](super::Registry::audit_name).
    #[must_use]
    pub fn audit_name(&self, id: &str) -> String {
        self.core.key.audit_name(id)
    }

    /// Runs a command to its end and returns all its output (S8). If the future is dropped, the command is ended.
    ///
    /// # Errors
    /// The errors of S1 to S7, in the order of S4; [`Error::TooLarge`] if the command prints more than is captured;
    /// [`Error::Cancelled`] if the registry shuts down meanwhile.
    pub async fn spawn(
        &self,
        request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<RunOutput, Error> {
        let start = self.start_captured(request, workspace, gate);
        capture::run(metrics::counted(Tier::Captured, start).await?).await
    }

    async fn start_captured(
        &self,
        mut request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<KillOnDrop, Error> {
        let core = &self.core;
        let limits = core.admit(&request, &self.owner, workspace, gate, Tier::Captured)?;
        let slot = self.table.quota.processes.take(1).ok_or(Error::Quota)?;
        // No caller could write to stdin, so the command must get end of file.
        request.keep_stdin_open = false;
        let options = ProcessOptions {
            ring: core.limits.capture_max,
            overflow: Overflow::Backpressure,
            ends_when_full: true,
            retention: Retention::Captured,
            ..self.options_for_instance(&mut request, limits)
        };
        let launch = launch_of(self, gate.network(&self.owner), request, workspace, &options);
        let reservation = Reservation {
            slot,
            retained: Vec::new(),
        };
        let launched = core.launch(launch, reservation, self.table.join()).await?;
        let (prepared, retained) = launched.prepare(options, &core.tasks)?;
        Ok(KillOnDrop(prepared.start(Box::new(retained), &core.tasks)))
    }

    /// Starts a process that lives as long as the handle (S9). If the future is dropped before it returns, nothing
    /// runs.
    ///
    /// # Errors
    /// The errors of S1 to S7, in the order of S4; [`Error::Quota`] by Q1 and Q3; [`Error::Cancelled`] if the registry
    /// has shut down.
    pub async fn spawn_background(
        &self,
        request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<Handle, Error> {
        let start = self.start_background(request, workspace, gate);
        metrics::counted(Tier::Background, start).await
    }

    async fn start_background(
        &self,
        mut request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<Handle, Error> {
        let core = &self.core;
        let limits = core.admit(&request, &self.owner, workspace, gate, Tier::Background)?;
        let options = ProcessOptions {
            retention: Retention::Held,
            ..self.options_for_instance(&mut request, limits)
        };
        let reservation = Reservation {
            slot: self.table.quota.processes.take(1).ok_or(Error::Quota)?,
            retained: vec![self.ring_memory(&options)?],
        };
        let launch = launch_of(self, gate.network(&self.owner), request, workspace, &options);
        let launched = core.launch(launch, reservation, self.table.join()).await?;
        let (prepared, retained) = launched.prepare(options, &core.tasks)?;
        let process = prepared.start(Box::new(retained), &core.tasks);
        Ok(self.handle(Ownership::Owned(KillOnDrop(process))))
    }

    /// Starts a process that the host keeps, and returns its id (S7, S10). If the future is dropped after the command
    /// was started, the process runs until one of its timers ends it. If the future is dropped before, nothing runs.
    ///
    /// # Errors
    /// The errors of S1 to S7 and S10, in the order of S4; [`Error::Quota`] and [`Error::RegistryFull`] by Q1 to Q3;
    /// [`Error::Cancelled`] if the registry has shut down.
    pub async fn spawn_persistent(
        &self,
        request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<ProcessId, Error> {
        let start = self.start_persistent(request, workspace, gate);
        metrics::counted(Tier::Persistent, start).await
    }

    async fn start_persistent(
        &self,
        mut request: SpawnRequest,
        workspace: &Workspace,
        gate: &mut dyn Gate,
    ) -> Result<ProcessId, Error> {
        let core = &self.core;
        let limits = core.admit(&request, &self.owner, workspace, gate, Tier::Persistent)?;
        let options = self.options(&mut request, limits);
        let reservation = Reservation {
            slot: self.table.quota.processes.take(1).ok_or(Error::Quota)?,
            retained: vec![
                self.ring_memory(&options)?,
                self.table.retained.take(1).ok_or(Error::RegistryFull)?,
                core.retained.take(1).ok_or(Error::RegistryFull)?,
            ],
        };
        let id = ProcessId::generate().map_err(|error| Error::Host(format!("no random bytes: {error}")))?;
        let label = title::label(request.label.as_deref(), &request.cmd);
        let command = title::command(&request.cmd, &request.args);

        let launch = Launch {
            label: Some(label.clone()),
            ..launch_of(self, gate.network(&self.owner), request, workspace, &options)
        };
        let launched = core.launch(launch, reservation, self.table.join()).await?;
        let (prepared, retained) = launched.prepare(options, &core.tasks)?;
        let entry = Entry {
            cursors: core.key.cursor_key(&id),
            id: id.clone(),
            number: self.table.number(),
            label,
            command,
            process: Arc::clone(prepared.process()),
        };
        let guard = self.table.insert(core.key.hash(id.expose()), entry, retained);
        prepared.start(Box::new(guard), &core.tasks);
        Ok(id)
    }

    /// A handle on a persistent process (A1). Dropping it ends nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn attach(&self, id: &str) -> Result<Handle, Error> {
        let entry = self.find(id)?;
        drop(entry.process.touch());
        Ok(self.handle(Ownership::Attached(entry)))
    }

    /// The owner's processes in the order in which they were spawned, filtered by a substring of the label (I5). This
    /// does not touch them.
    #[must_use]
    pub fn list(&self, label_filter: Option<&str>) -> Vec<ProcessInfo> {
        let entries = self.table.all().into_iter();
        entries
            .filter(|entry| label_filter.is_none_or(|filter| entry.label.contains(filter)))
            .map(|entry| entry.info())
            .collect()
    }

    /// The state of a process. This does not touch the process.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn status(&self, id: &str) -> Result<ProcessInfo, Error> {
        Ok(self.find(id)?.info())
    }

    /// The state of each of these processes that is the owner's, once, in the order in which the ids were first named.
    /// Other ids are omitted. This does not touch the processes.
    #[must_use]
    pub fn status_many<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<ProcessInfo> {
        // Each process once, because an answer is much larger than an id, and a guest can name an id a million times.
        let mut seen = HashSet::new();
        let named = ids.into_iter().filter_map(|id| self.find(id).ok());
        named
            .filter(|entry| seen.insert(entry.number))
            .map(|entry| entry.info())
            .collect()
    }

    /// Returns and removes what both streams have buffered (L1).
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn read_logs(&self, id: &str) -> Result<Logs, Error> {
        let entry = self.find(id)?;
        Ok(entry.process.read_logs())
    }

    /// Returns bytes from `cursor` on, without removing them (L2 to L7). Without a cursor it starts at the oldest byte.
    /// It returns at most `max_bytes`, and at most [`Limits::read_max`](super::Limits::read_max).
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`], also for a cursor of another stream or process.
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
            .min(self.core.limits.read_max);
        let chunk = entry.process.output(stream).read_since(position, max);
        self.positions
            .note(&self.table, entry.number, stream, chunk.next.offset);
        Ok(LogChunk {
            data: chunk.data,
            next: entry.cursors.seal(stream, chunk.next),
            bytes_dropped: chunk.next.dropped,
            drained_eof: chunk.at_end && entry.process.exit().is_some(),
        })
    }

    /// Writes all of `data` to stdin and returns the number of bytes (N1 to N3). If the future is dropped, the write is
    /// still made, unless dropped calls have already left too much: then no byte of it is written.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::TooLarge`] above [`Limits::write_max`](super::Limits::write_max), with no
    /// byte written; [`Error::Closed`] if stdin is not open, or if no process reads it any more.
    pub async fn write_stdin(&self, id: &str, data: Vec<u8>) -> Result<u32, Error> {
        let entry = self.find(id)?;
        entry.process.write_stdin(data, self.core.limits.write_max).await
    }

    /// Accepts no more writes. End of file follows the writes that were accepted before (N4). May be called again.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn close_stdin(&self, id: &str) -> Result<(), Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        entry.process.stdin.close();
        Ok(())
    }

    /// Signals the command's process group (K1). Does nothing to an exited process. If the future is dropped, the
    /// signal is still sent.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub async fn signal(&self, id: &str, signal: Signal) -> Result<(), Error> {
        let entry = self.find(id)?;
        let _touched = entry.process.touch();
        entry.process.signal(signal).await
    }

    /// Waits for the exit, for at most `timeout` and [`Limits::wait_max`](super::Limits::wait_max) (X3, X4). It reaps
    /// nothing. Dropping the future has no effect.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::WaitTimeout`]; [`Error::Cancelled`] if the runtime has ended.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<ExitInfo, Error> {
        let entry = self.find(id)?;
        let limits = &self.core.limits;
        entry
            .process
            .wait(Some(limits.wait(timeout)), &self.core.tasks.runtime)
            .await
    }

    /// Ends a process and removes its id: TERM, `grace`, KILL (K2). It returns the exit, also if the process had
    /// already exited. If the future is dropped, the process is still ended.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::Cancelled`] if the runtime has ended.
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<ExitInfo, Error> {
        let entry = self.find(id)?;
        entry.process.end(End::Stop, self.core.limits.grace(grace));
        entry.process.gone().await
    }

    /// Removes the id of an exited process (K4). An unknown id is a success, so that the answer does not tell ids apart
    /// (I3).
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
        Err(Error::InvalidInput("the process still runs: stop it instead".into()))
    }

    /// The TCP ports on which the process's tree listens, in ascending order, as far as 127.0.0.1 or `::1` reaches them (W2). The
    /// tree has to be in a private network. Takes up to some 100 ms of a thread that may block, for a tree with many open files.
    /// Of a tree with more than 4,096 processes or 65,536 open files, and of programs that may not be read, not all are found.
    ///
    /// # Errors
    /// [`PortError::NoSuchProcess`], [`PortError::NoNetwork`], [`PortError::Exited`]; [`PortError::Cancelled`] where the runtime
    /// went down.
    pub async fn ports(&self, id: &str) -> Result<Vec<u16>, PortError> {
        let entry = self.find(id)?;
        ports::ports(&entry.process, &self.core.tasks.runtime).await
    }

    /// Waits until the process's tree listens on `port`, for at most `timeout` and [`Limits::wait_max`](super::Limits::wait_max)
    /// (W2). It looks every 2 to 50 ms, as [`Self::ports`] does. May be dropped.
    ///
    /// # Errors
    /// [`PortError::NotListening`] once the time has passed; [`PortError::Exited`] as soon as the process has ended; those of
    /// [`Self::ports`].
    pub async fn wait_for_port(&self, id: &str, port: u16, timeout: Duration) -> Result<(), PortError> {
        let entry = self.find(id)?;
        let timeout = self.core.limits.wait(timeout);
        ports::wait_for_port(&entry.process, port, timeout, &self.core.tasks.runtime).await
    }

    /// Connects to a port in the process's network, as [`OwnerNetwork::connect`] does. The port may be another of this owner's
    /// trees'. Has to be called in a tokio runtime, which then drives the stream. Dropped, it gives up the connection.
    ///
    /// # Errors
    /// [`PortError::NotListening`]; [`PortError::Timeout`]; [`PortError::NoSuchProcess`], [`PortError::NoNetwork`],
    /// [`PortError::Exited`].
    pub async fn connect(&self, id: &str, port: u16) -> Result<PortStream, PortError> {
        let entry = self.find(id)?;
        ports::connect(&entry.process, port).await
    }

    /// The private network of the owner's trees, while one of them runs; the latest, if its policy has changed. Trees of a caller
    /// without a name share no network that could be found here.
    #[must_use]
    pub fn network(&self) -> Option<Arc<OwnerNetwork>> {
        self.core.launcher.network(&self.owner)
    }

    /// Publishes the process's events from now on (E1, E2), under topics that end in `suffix`; without one, in the id.
    /// An exit that was not published yet is published at once. If the call is repeated, the latest suffix holds.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a suffix that cannot be a part of a topic, whether the id is known or not;
    /// [`Error::NoSuchProcess`].
    pub fn watch(&self, id: &str, suffix: Option<&str>) -> Result<(), Error> {
        let topics = suffix.map(Topics::new).transpose()?;
        let entry = self.find(id)?;
        let topics = topics.map_or_else(|| Topics::new(entry.id.expose()), Ok)?;
        entry.process.watch(Some((entry.id.clone(), topics)));
        Ok(())
    }

    /// Publishes no more events of the process. The process runs on.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn unwatch(&self, id: &str) -> Result<(), Error> {
        self.find(id)?.process.watch(None);
        Ok(())
    }

    /// Does the same work for every id, whatever fault the id has.
    fn find(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.table.get(&self.core.key.hash(id))
    }

    fn handle(&self, ownership: Ownership) -> Handle {
        Handle::new(Arc::clone(&self.core), ownership, Arc::clone(&self.positions))
    }

    fn ring_memory(&self, options: &ProcessOptions) -> Result<Permit, Error> {
        let both = options.ring.saturating_mul(2);
        self.table.quota.ring_memory.take(both).ok_or(Error::Quota)
    }

    /// The options for a process that ends with its instance: the options for persistent processes have no effect on it (S9).
    fn options_for_instance(&self, request: &mut SpawnRequest, resources: ResourceLimits) -> ProcessOptions {
        ProcessOptions {
            ring: self.core.limits.ring_size(None),
            overflow: Overflow::DropOldest,
            lifetime: None,
            idle: None,
            ..self.options(request, resources)
        }
    }

    /// The options for the supervision of a persistent process with this `request`. Takes the prelude out of the
    /// request.
    fn options(&self, request: &mut SpawnRequest, resources: ResourceLimits) -> ProcessOptions {
        let limits = &self.core.limits;
        ProcessOptions {
            ring: limits.ring_size(request.log_ring_bytes),
            overflow: request.overflow,
            stdin: request.stdin.take(),
            keep_stdin_open: request.keep_stdin_open,
            abandoned_writes_max: limits.abandoned_writes_max,
            ends_when_full: false,
            limits: resources,
            lifetime: Some(limits.lifetime(request.max_lifetime)),
            idle: Some(limits.idle(request.idle_timeout)),
            retention: Retention::For(limits.retention(request.exit_retention)),
            grace: limits.grace(None),
            grace_shutdown: limits.grace(Some(limits.grace_shutdown)),
            drain_time: limits.drain(),
            owner: self.owner.clone(),
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

fn launch_of(
    scope: &Scope,
    network: Option<Network>,
    request: SpawnRequest,
    workspace: &Workspace,
    options: &ProcessOptions,
) -> Launch {
    let SpawnRequest {
        cmd,
        args,
        mut env,
        cwd,
        file_injections,
        ..
    } = request;
    let (injections, pointers) = injection::placed(file_injections);
    env.extend(pointers);
    let cwd = cwd.unwrap_or_else(|| ".".into());
    Launch {
        owner: Some(scope.owner.clone()),
        scope: scope.number,
        network,
        label: None,
        cmd,
        args,
        env,
        workspace: workspace.clone(),
        cwd,
        stdin: options.wants_stdin(),
        limits: options.limits,
        injections,
    }
}
