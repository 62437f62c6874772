//! One owner's view of the registry: every call that a guest can make.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::handle::{Handle, Reach};
use super::life::capture;
use super::life::lifecycle::{End, Retention};
use super::life::process::{Keep, Owned, Process, Tenure};
use super::log::text;
use super::quota::Permit;
use super::registry::{Gate, Registry};
use super::request::{SpawnRequest, Tier};
use super::seen::Seen;
use super::table::{Entry, Table};
use super::types::{ExitInfo, LogChunk, LogStream, Logs, Owner, ProcessInfo, RunOutput, Signal};
use super::watch::Topics;
use super::{Error, Overflow, ProcessId, injection, metrics};
#[cfg(feature = "component")]
use crate::guest_log::GuestLog;
use crate::sandbox::{Launch, ResourceLimits, Workspace};

/// What one owner may do with its processes; another owner's cannot be named here.
///
/// An id that is unknown, malformed, released, reaped or another owner's is [`Error::NoSuchProcess`] to every call, in
/// the same way (contract I3). Every future may be dropped at any time; what that means is said with each.
///
/// A scope is also one reader: what [`Self::read_since`] handed it is no news to the [`Handle`]s that it gives out
/// (contract A3). Clones are the same reader.
#[derive(Clone)]
pub struct Scope {
    registry: Registry,
    owner: Owner,
    table: Arc<Table>,
    seen: Arc<Seen>,
}

impl Scope {
    pub(crate) fn new(registry: Registry, owner: Owner, table: Arc<Table>) -> Self {
        Self {
            registry,
            owner,
            table,
            seen: Arc::default(),
        }
    }

    /// Whose processes these are.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Where what the owner's guests log goes.
    #[cfg(feature = "component")]
    pub(crate) fn guest_log(&self) -> &GuestLog {
        &self.registry.0.guest_log
    }

    /// Same as [`Registry::audit_name`].
    #[must_use]
    pub fn audit_name(&self, id: &str) -> String {
        self.registry.audit_name(id)
    }

    /// Runs a command to its end and returns all that it printed (S8). Dropped, it ends the command.
    ///
    /// # Errors
    /// Those of S1 to S7, in the order of S4; [`Error::TooLarge`] where it printed more than can be captured;
    /// [`Error::Cancelled`] where the registry shut down meanwhile.
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
    ) -> Result<Owned, Error> {
        let registry = &self.registry.0;
        let limits = registry.admit(&request, &self.owner.principal, workspace, gate, Tier::Captured)?;
        let slot = self.table.purse.processes.take(1).ok_or(Error::Quota)?;
        // No caller could write to it, and end of file must come.
        request.keep_stdin_open = false;
        let keep = Keep {
            ring: registry.limits.capture_max,
            overflow: Overflow::Backpressure,
            ends_when_full: true,
            retention: Retention::Captured,
            ..self.keep_for_instance(&mut request, limits)
        };
        let launch = launch_of(request, workspace, &keep);
        let fresh = registry.launch(launch, slot, self.table.join()).await?;
        let process = fresh.supervise(keep, &registry.tasks, |slot| (slot, |_: &_| Box::new(()) as Tenure))?;
        Ok(Owned(process))
    }

    /// Starts a process that lives as long as the handle (S9). Dropped before it is done, nothing runs.
    ///
    /// # Errors
    /// Those of S1 to S7, in the order of S4; [`Error::Quota`] by Q1 and Q3; [`Error::Cancelled`] where the registry has
    /// shut down.
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
        let registry = &self.registry.0;
        let limits = registry.admit(&request, &self.owner.principal, workspace, gate, Tier::Background)?;
        let keep = Keep {
            retention: Retention::Held,
            ..self.keep_for_instance(&mut request, limits)
        };
        let purse = &self.table.purse;
        let slot = purse.processes.take(1).ok_or(Error::Quota)?;
        let memory = self.ring_memory(&keep)?;
        let launch = launch_of(request, workspace, &keep);
        let fresh = registry.launch(launch, (slot, memory), self.table.join()).await?;
        let process = fresh.supervise(keep, &registry.tasks, |(slot, memory)| {
            (slot, |_: &_| Box::new(memory) as Tenure)
        })?;
        Ok(self.handle(Reach::Owned(Owned(process))))
    }

    /// Starts a process that the host keeps, and returns its id (S7, S10). It runs on when the future is dropped after
    /// the command was started, until one of its timers ends it; dropped before, nothing runs.
    ///
    /// # Errors
    /// Those of S1 to S7 and S10, in the order of S4; [`Error::Quota`] and [`Error::RegistryFull`] by Q1 to Q3;
    /// [`Error::Cancelled`] where the registry has shut down.
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
        let registry = &self.registry.0;
        let limits = registry.admit(&request, &self.owner.principal, workspace, gate, Tier::Persistent)?;
        let keep = self.keep(&mut request, limits);
        let slot = self.table.purse.processes.take(1).ok_or(Error::Quota)?;
        let permits = [
            self.ring_memory(&keep)?,
            self.table.retained.take(1).ok_or(Error::RegistryFull)?,
            registry.retained.take(1).ok_or(Error::RegistryFull)?,
        ];
        let id = ProcessId::generate().map_err(|error| Error::Host(format!("no random bytes: {error}")))?;
        let label = text::label(request.label.as_deref(), &request.cmd);
        let command = text::command(&request.cmd, &request.args);

        let launch = launch_of(request, workspace, &keep);
        let fresh = registry.launch(launch, (slot, permits), self.table.join()).await?;
        fresh.supervise(keep, &registry.tasks, |(slot, permits)| {
            let tenure = |process: &Arc<Process>| -> Tenure {
                let entry = Entry {
                    cursors: registry.key.cursor_key(&id),
                    id: id.clone(),
                    number: self.table.number(),
                    label,
                    command,
                    process: Arc::clone(process),
                };
                Box::new(self.table.insert(registry.key.hash(id.expose()), entry, permits))
            };
            (slot, tenure)
        })?;
        Ok(id)
    }

    /// A handle on a persistent process (A1). Dropping it ends nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn attach(&self, id: &str) -> Result<Handle, Error> {
        let entry = self.find(id)?;
        drop(entry.process.touch());
        Ok(self.handle(Reach::Attached(entry)))
    }

    /// The owner's processes in spawn order, those whose label holds `label_filter` (I5). Touches none.
    #[must_use]
    pub fn list(&self, label_filter: Option<&str>) -> Vec<ProcessInfo> {
        let entries = self.table.all().into_iter();
        entries
            .filter(|entry| label_filter.is_none_or(|filter| entry.label.contains(filter)))
            .map(|entry| entry.info())
            .collect()
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
        Ok(entry.process.read_logs())
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
        let chunk = entry.process.output(stream).read_since(position, max);
        self.seen.note(&self.table, entry.number, stream, chunk.next.offset);
        Ok(LogChunk {
            data: chunk.data,
            next: entry.cursors.seal(stream, chunk.next),
            bytes_dropped: chunk.next.dropped,
            drained_eof: chunk.at_end && entry.process.exit().is_some(),
        })
    }

    /// Writes all of `data` to stdin and returns how many bytes that was (N1 to N3). Dropped, the write is still made,
    /// unless too much of that kind waits already: then none of it is.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`]; [`Error::TooLarge`] above [`Limits::write_max`](super::Limits::write_max), with no byte
    /// written; [`Error::Closed`] where stdin is not open, or no process reads it any more.
    pub async fn write_stdin(&self, id: &str, data: Vec<u8>) -> Result<u32, Error> {
        let entry = self.find(id)?;
        entry.process.write_stdin(data, self.registry.0.limits.write_max).await
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
        let limits = &self.registry.0.limits;
        entry
            .process
            .wait(Some(limits.wait(timeout)), &self.registry.0.tasks.runtime)
            .await
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

    /// Has the process's events published from now on (E1, E2), under topics that end in `suffix`, or in the id without
    /// one. An exit that was not published yet is, at once. Called again, the latest suffix holds.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a suffix that makes no topic, whatever the id; [`Error::NoSuchProcess`].
    pub fn watch(&self, id: &str, suffix: Option<&str>) -> Result<(), Error> {
        let topics = suffix.map(Topics::new).transpose()?;
        let entry = self.find(id)?;
        let topics = topics.map_or_else(|| Topics::new(entry.id.expose()), Ok)?;
        entry.process.watch(Some((entry.id.clone(), topics)));
        Ok(())
    }

    /// Has no more events published. The process runs on.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`].
    pub fn unwatch(&self, id: &str) -> Result<(), Error> {
        self.find(id)?.process.watch(None);
        Ok(())
    }

    /// The same work, whatever is wrong with `id`.
    fn find(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.table.get(&self.registry.0.key.hash(id))
    }

    fn handle(&self, reach: Reach) -> Handle {
        Handle::new(self.registry.clone(), reach, Arc::clone(&self.seen))
    }

    fn ring_memory(&self, keep: &Keep) -> Result<Permit, Error> {
        let both = keep.ring.saturating_mul(2);
        self.table.purse.ring_memory.take(both).ok_or(Error::Quota)
    }

    /// How a process is kept that does not outlive its instance: nothing of what is for persistent ones counts (S9).
    fn keep_for_instance(&self, request: &mut SpawnRequest, resources: ResourceLimits) -> Keep {
        Keep {
            ring: self.registry.0.limits.ring_size(None),
            overflow: Overflow::DropOldest,
            lifetime: None,
            idle: None,
            ..self.keep(request, resources)
        }
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

fn launch_of(request: SpawnRequest, workspace: &Workspace, keep: &Keep) -> Launch {
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
        cmd,
        args,
        env,
        workspace: workspace.clone(),
        cwd,
        stdin: keep.wants_stdin(),
        limits: keep.limits,
        injections,
    }
}
