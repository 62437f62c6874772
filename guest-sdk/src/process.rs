//! Processes that outlive the instance.

use crate::{
    Error, ExitStatus, Killed, Log, LogStream, Output, Pollable, ProcessId, Result, Signal, Stdin,
    millis::millis,
    net,
    tail::Reader as _,
    text::lossy,
    waiting::Waiting,
    wit::net as wit_net,
    wit::process::{self as wit, ProcessHandle},
};
use std::{cell::OnceCell, fmt, io::Write as _, rc::Rc, time::Duration};

/// A process that outlives the instance. Dropping it has no effect on the process, which runs on;
/// [`attach`](Self::attach) or [`find`](Self::find) reach it again from any later instance of the
/// same capsule under the same principal.
///
/// Once the process is gone (stopped, released, or retired by a timer) every method answers
/// [`Error::NoSuchProcess`]; see [`Error::is_gone`]. All of them may answer [`Error::Cancelled`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use capsule_sdk::{Command, Process};
///
/// let id = Command::new("sleep").arg("600").spawn_persistent()?.id().clone();
/// // Perhaps in another instance:
/// Process::attach(&id)?.stop(None)?;
/// # Ok(()) }
/// ```
pub struct Process {
    id: ProcessId,
    /// For calls that need a handle; most capsules never make one.
    handle: OnceCell<Rc<ProcessHandle>>,
}

impl Process {
    pub(crate) const fn new(id: ProcessId) -> Self {
        Self {
            id,
            handle: OnceCell::new(),
        }
    }

    fn handle(&self) -> Result<&Rc<ProcessHandle>> {
        match self.handle.get() {
            Some(handle) => Ok(handle),
            None => {
                let handle = Rc::new(wit::attach(self.id.expose())?);
                Ok(self.handle.get_or_init(|| handle))
            }
        }
    }

    /// Reaches a process by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if there is none for this principal and capsule.
    ///
    /// ```no_run
    /// # use capsule_sdk::{Process, ProcessId};
    /// fn is_running(id: &ProcessId) -> capsule_sdk::Result<bool> {
    ///     match Process::attach(id) {
    ///         Ok(process) => Ok(process.try_wait()?.is_none()),
    ///         Err(error) if error.is_gone() => Ok(false),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// ```
    pub fn attach(id: &ProcessId) -> Result<Self> {
        wit::status(id.expose())?;
        Ok(Self::new(id.clone()))
    }

    /// Reaches the most recently started process with exactly this label. A running one is
    /// preferred to one that has exited.
    ///
    /// # Errors
    /// [`Error::CapabilityDenied`] without the grant for processes.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// if let Some(server) = capsule_sdk::Process::find("dev-server")? {
    ///     server.stop(None)?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn find(label: &str) -> Result<Option<Self>> {
        let mut same = list(Some(label))?;
        same.retain(|info| info.label == label);
        let at = same.iter().rposition(|info| info.phase != Phase::Exited);
        let found = at.map_or_else(|| same.last(), |at| same.get(at));
        Ok(found.map(|info| Self::new(info.id.clone())))
    }

    /// The most recently started process with exactly this label, among those that run.
    pub(crate) fn find_running(label: &str) -> Result<Option<Self>> {
        let mut same = list(Some(label))?;
        same.retain(|info| info.label == label && info.phase != Phase::Exited);
        Ok(same.last().map(|info| Self::new(info.id.clone())))
    }

    /// Its id, for a later instance.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let json = serde_json::to_string(process.id())?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Its state. Does not count as a touch, so asking does not keep it alive.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let info = process.status()?;
    /// println!("{} for {:?}: {:?}", info.command, info.age, info.phase);
    /// # Ok(()) }
    /// ```
    pub fn status(&self) -> Result<ProcessInfo> {
        Ok(wit::status(self.id.expose())?.into())
    }

    /// Waits for it to exit. Afterwards all of its output can be read, and it stays until it is
    /// released or its retention ends. The host has a longest wait (5 minutes unless the embedder
    /// says otherwise); a longer time is treated as that.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if it runs on; [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// match build.wait(std::time::Duration::from_secs(60)) {
    ///     Ok(status) => println!("{status}"),
    ///     Err(error) if error.is_timeout() => println!("still building"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        Ok(wit::wait(self.id.expose(), millis(timeout))?.into())
    }

    /// How it ended, or none if it runs on. Does not wait.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let done = build.try_wait()?.is_some();
    /// # Ok(()) }
    /// ```
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        match self.wait(Duration::ZERO) {
            Ok(status) => Ok(Some(status)),
            Err(error) if error.is_timeout() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for its exit and takes all output that is buffered, in one step; a timeout takes
    /// nothing. The output is then gone for every other reader, as with
    /// [`read_logs`](Self::read_logs). It is text: bytes that are not UTF-8 arrive as U+FFFD. The
    /// longest time is that of [`wait`](Self::wait). No output is read before the exit, so a process
    /// under [`Overflow::Backpressure`](crate::Overflow::Backpressure) whose output does not fit
    /// into its rings waits for a reader and does not exit.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if it runs on; [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let output = build.wait_with_output(std::time::Duration::from_secs(60))?;
    /// println!("{}: {}", output.status, output.stdout_lossy());
    /// # Ok(()) }
    /// ```
    pub fn wait_with_output(&self, timeout: Duration) -> Result<Output> {
        let output = self.handle()?.wait_with_output(Some(millis(timeout)));
        Ok(output.map_err(gone)?.into())
    }

    /// Ends it and everything that it started, at once, and returns what was left of its output.
    /// Unlike after [`stop`](Self::stop), the host keeps it, as exited, until it is released or its
    /// retention ends.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone. Nothing is killed if it has exited.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let killed = server.kill()?;
    /// println!("{:?}, {} bytes left", killed.exit, killed.stdout.len());
    /// # Ok(()) }
    /// ```
    pub fn kill(&self) -> Result<Killed> {
        Ok(self.handle()?.kill().map_err(gone)?.into())
    }

    /// The TCP ports on which it, or a process that it started, listens, in ascending order; those that
    /// `127.0.0.1` or `::1` reaches.
    ///
    /// # Errors
    /// [`net::Error::Exited`] once it has exited, [`net::Error::NoSuchProcess`] if it is gone;
    /// [`net::Error::NoNetwork`] if it is in no private network.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// println!("listens on {:?}", server.ports()?);
    /// # Ok(()) }
    /// ```
    pub fn ports(&self) -> net::Result<Vec<u16>> {
        Ok(wit_net::ports(self.id.expose())?)
    }

    /// Waits until it, or a process that it started, listens on a port. The longest time is that of
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    /// [`net::Error::NotListening`] once the time has passed; [`net::Error::Exited`] as soon as it has
    /// exited; otherwise as of [`ports`](Self::ports).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use capsule_sdk::Command;
    /// let server = Command::new("redis-server").args(["--port", "6379"]).spawn_persistent()?;
    /// server.wait_for_port(6379, std::time::Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    pub fn wait_for_port(&self, port: u16, timeout: Duration) -> net::Result<()> {
        Ok(wit_net::wait_for_port(self.id.expose(), port, millis(timeout))?)
    }

    /// The command's pid on the host; none once it has exited. Does not count as a touch.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// println!("{:?}", server.os_pid()?);
    /// # Ok(()) }
    /// ```
    pub fn os_pid(&self) -> Result<Option<u32>> {
        Ok(self.status()?.os_pid)
    }

    /// Becomes ready with its exit, and stays so; also when it is gone.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone already.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// # let tests = capsule_sdk::Process::find("tests")?.unwrap();
    /// let ended = capsule_sdk::select(&[&build.exit_ready()?, &tests.exit_ready()?])?;
    /// # Ok(()) }
    /// ```
    pub fn exit_ready(&self) -> Result<Pollable> {
        Ok(Pollable::exit_of_process(self.handle()?))
    }

    /// Is ready while there is output of either stream that this instance has not seen, through a
    /// [`Log`] or [`read_logs`](Self::read_logs), and once it has exited. So a caller that waits for it
    /// should read both streams.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone already.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let (mut stdout, mut stderr, more) = (server.stdout(), server.stderr(), server.logs_ready()?);
    /// while !(stdout.at_end()? && stderr.at_end()?) {
    ///     more.block()?;
    ///     println!("{} and {} bytes", stdout.read_chunk()?.len(), stderr.read_chunk()?.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn logs_ready(&self) -> Result<Pollable> {
        Ok(Pollable::logs_of_process(self.handle()?))
    }

    /// Has the host publish its [`Event`](crate::Event)s on topics that end in `suffix`, or in its id
    /// if that is `None`. They arrive at every [`Subscription`](crate::ipc::Subscription) of this
    /// capsule and principal, and at the actions that the embedder binds to such topics: so a capsule
    /// learns of an exit while none of its instances is alive. May be repeated; the latest suffix
    /// holds. An exit that happened before is published too.
    ///
    /// The suffix is segments of `[a-z0-9_-]+` joined by dots, four of them at most.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for another suffix; [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let build = capsule_sdk::Command::new("make").spawn_persistent()?;
    /// build.watch("build")?;
    /// # Ok(()) }
    /// ```
    pub fn watch<'a>(&self, suffix: impl Into<Option<&'a str>>) -> Result<()> {
        Ok(wit::watch(self.id.expose(), suffix.into())?)
    }

    /// Ends the events; the process runs on.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// build.unwatch()?;
    /// # Ok(()) }
    /// ```
    pub fn unwatch(&self) -> Result<()> {
        Ok(wit::unwatch(self.id.expose())?)
    }

    /// Ends it and everything that it started: SIGTERM, `grace` for an orderly end (5 s if none,
    /// 30 s at most), then SIGKILL. Afterwards it is gone and its output with it.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone already.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let status = server.stop(std::time::Duration::from_secs(2))?;
    /// # Ok(()) }
    /// ```
    pub fn stop(&self, grace: impl Into<Option<Duration>>) -> Result<ExitStatus> {
        Ok(wit::stop(self.id.expose(), grace.into().map(millis))?.into())
    }

    /// Removes it and its output after its exit, and frees its place in the quotas.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] while it runs. Releasing one that is gone already succeeds.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// if build.try_wait()?.is_some() {
    ///     build.release()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn release(&self) -> Result<()> {
        Ok(wit::release_process(self.id.expose())?)
    }

    /// Sends a signal to the command's process group. After its exit this does nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// server.signal(capsule_sdk::Signal::Hup)?;
    /// # Ok(()) }
    /// ```
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(wit::signal(self.id.expose(), signal.into())?)
    }

    /// Writes all of `data` to its standard input, and waits while it does not read. Data of more
    /// than 1 MiB is written in several pieces, between which another writer's may come.
    ///
    /// # Errors
    /// [`Error::Closed`] if the input was not kept open, was closed, or is no longer read.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let bc = capsule_sdk::Command::new("bc").keep_stdin_open(true).spawn_persistent()?;
    /// bc.write(b"6*7\n")?;
    /// # Ok(()) }
    /// ```
    pub fn write(&self, data: &[u8]) -> Result<()> {
        Ok(self.stdin().write_all(data)?)
    }

    /// Ends its standard input once everything accepted before has been read. May be repeated.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("sort")?.unwrap();
    /// process.close_stdin()?;
    /// # Ok(()) }
    /// ```
    pub fn close_stdin(&self) -> Result<()> {
        self.stdin().close()
    }

    /// Its standard input, as [`std::io::Write`].
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let process = capsule_sdk::Process::find("sort")?.unwrap();
    /// std::io::copy(&mut &b"data"[..], &mut process.stdin())?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stdin(&self) -> Stdin {
        Stdin::new(self.id.clone())
    }

    /// Its standard output, from the oldest byte that is still kept.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let last = process.stdout().lines().last().transpose()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stdout(&self) -> Log {
        self.log(LogStream::Stdout)
    }

    /// Its standard error, likewise.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let complaints = process.stderr().lines().count();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stderr(&self) -> Log {
        self.log(LogStream::Stderr)
    }

    /// One of its two output streams, chosen at run time.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let log = process.log(capsule_sdk::LogStream::Stderr);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn log(&self, stream: LogStream) -> Log {
        Log::new(self.id.clone(), stream)
    }

    /// Takes the buffered output. No caller gets it again, and a [`Log`] counts it as dropped. To
    /// leave the output to other readers, use a `Log`.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// let logs = process.read_logs()?;
    /// print!("{}", logs.stdout);
    /// # Ok(()) }
    /// ```
    pub fn read_logs(&self) -> Result<Logs> {
        let read = wit::read_logs(self.id.expose())?;
        Ok(Logs {
            stdout: read.stdout,
            stderr: read.stderr,
            running: read.running,
            exit: read.exit.map(ExitStatus::from),
        })
    }

    /// Waits until `pattern` appears in either stream, from the oldest output that is still kept.
    /// Returns the line it is in, up to the pattern's end. [`Log::wait_for_output`] says more,
    /// and leaves a place from which to read on.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if it did not appear in time, [`Error::Closed`] if both streams
    /// ended without it, [`Error::NoSuchProcess`] if the process is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let process = capsule_sdk::Process::find("server")?.unwrap();
    /// process.wait_for_output("ready", std::time::Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    pub fn wait_for_output(&self, pattern: &str, timeout: Duration) -> Result<String> {
        let mut logs = [(self.stdout(), 0), (self.stderr(), 0)];
        let mut waiting = Waiting::at_most(timeout);
        loop {
            let mut changed = false;
            for (log, searched) in &mut logs {
                if !log.is_over() {
                    changed |= log.fill()?;
                    let pattern = pattern.as_bytes();
                    if let Some(text) = log.pending(|pending| pending.take_through(pattern, searched)) {
                        return Ok(lossy(text));
                    }
                }
            }
            if logs.iter().all(|(log, _)| log.is_over()) {
                return Err(Error::Closed);
            }
            if changed {
                waiting.had_output()?;
            } else {
                waiting.pause(|ms| wit::wait(self.id.expose(), ms))?;
            }
        }
    }
}

/// What the methods of a handle call `closed` is `no-such-process` by id (A1).
fn gone(code: wit::ErrorCode) -> Error {
    let error = Error::from(code);
    if error == Error::Closed {
        Error::NoSuchProcess
    } else {
        error
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).finish_non_exhaustive()
    }
}

/// This capsule's own persistent processes under this principal, in the order of their start:
/// all, or those whose label contains a text.
///
/// # Errors
/// [`Error::CapabilityDenied`] without the grant for processes.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// for info in capsule_sdk::list(None)? {
///     println!("{}: {:?}", info.label, info.phase);
/// }
/// # Ok(()) }
/// ```
pub fn list(label_filter: Option<&str>) -> Result<Vec<ProcessInfo>> {
    Ok(wit::list_processes(label_filter)?
        .into_iter()
        .map(ProcessInfo::from)
        .collect())
}

/// [`Process::status`] for many at once; those that are gone are left out.
///
/// # Errors
/// [`Error::CapabilityDenied`] without the grant for processes.
///
/// ```no_run
/// # use capsule_sdk::ProcessId;
/// fn total_output(ids: &[ProcessId]) -> capsule_sdk::Result<u64> {
///     Ok(capsule_sdk::status_many(ids)?.iter().map(|info| info.buffered_bytes).sum())
/// }
/// ```
pub fn status_many<'a>(ids: impl IntoIterator<Item = &'a ProcessId>) -> Result<Vec<ProcessInfo>> {
    let ids: Vec<_> = ids.into_iter().map(|id| id.expose().to_owned()).collect();
    Ok(wit::status_many(&ids)?.into_iter().map(ProcessInfo::from).collect())
}

/// The state of a persistent process.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// let oldest = capsule_sdk::list(None)?.into_iter().max_by_key(|info| info.age);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its id.
    pub id: ProcessId,
    /// The label it was given, or one made of its command.
    pub label: String,
    /// Command and arguments joined by spaces, cut to 4 KiB.
    pub command: String,
    /// Its pid on the host, while it runs.
    pub os_pid: Option<u32>,
    /// The phase of its life.
    pub phase: Phase,
    /// How it ended, once exited.
    pub exit: Option<ExitStatus>,
    /// Since its start.
    pub age: Duration,
    /// Since a call last touched it.
    pub idle: Duration,
    /// Bytes that [`Process::read_logs`] would hand over.
    pub buffered_bytes: u64,
    /// Bytes pushed out of its buffers before they were drained.
    pub bytes_dropped: u64,
    /// Whether a write to its standard input can succeed.
    pub stdin_open: bool,
    /// Processor time used so far, where the host can tell.
    pub cpu: Option<Duration>,
    /// The most memory that it used, in bytes, where the host can tell.
    pub mem_bytes_peak: Option<u64>,
}

impl From<wit::ProcessInfo> for ProcessInfo {
    fn from(info: wit::ProcessInfo) -> Self {
        Self {
            id: ProcessId::new(info.id),
            label: info.label,
            command: info.command,
            os_pid: info.os_pid,
            phase: match info.phase {
                wit::ProcessPhase::Starting => Phase::Starting,
                wit::ProcessPhase::Running => Phase::Running,
                wit::ProcessPhase::Exited => Phase::Exited,
            },
            exit: info.exit.map(ExitStatus::from),
            age: Duration::from_millis(info.age_ms),
            idle: Duration::from_millis(info.idle_ms),
            buffered_bytes: info.buffered_bytes,
            bytes_dropped: info.bytes_dropped,
            stdin_open: info.stdin_open,
            cpu: info.cpu_ms.map(Duration::from_millis),
            mem_bytes_peak: info.mem_bytes_peak,
        }
    }
}

/// The phase of a process's life.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # use capsule_sdk::Phase;
/// let running = capsule_sdk::list(None)?.iter().filter(|info| info.phase == Phase::Running).count();
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Accepted, the program not yet running.
    Starting,
    /// Running, or its last output still being collected.
    Running,
    /// Over, and all of its output can be read.
    Exited,
}

impl Phase {
    /// Its name in lower case, for a result.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::Phase::Exited.as_str(), "exited");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

/// What [`Process::read_logs`] took.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let process = capsule_sdk::Process::find("server")?.unwrap();
/// let logs = process.read_logs()?;
/// if !logs.running {
///     println!("ended: {:?}", logs.exit);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logs {
    /// Standard output as text; bytes that are not UTF-8 are replaced, a character cut in the
    /// middle waits for its rest.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether it runs on.
    pub running: bool,
    /// How it ended, if it did.
    pub exit: Option<ExitStatus>,
}
