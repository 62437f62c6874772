//! Describing what to run, and running it.

use crate::{
    Child, Error, ExitStatus, Output, Process, ProcessId, Result,
    millis::{millis, seconds},
    sync,
    wit::process::{self as wit, EnvVar, FileInjection, InjectionPlacement, SpawnRequest},
};
use std::time::Duration;

/// The longest label that the host keeps as it is, in bytes.
const LABEL_MAX: usize = 128;
/// How long an instance waits for others that start the same process.
const FIND_OR_SPAWN_MAX: Duration = Duration::from_secs(30);

/// What to run and how, in the manner of [`std::process::Command`]. It may be run more than once.
///
/// No shell is involved. The child sees the workspace as its working directory, the variables set
/// here, and of the host's environment only `PATH`, `LANG`, `LC_*` and `TZ`.
///
/// * [`output`](Self::output) and [`status`](Self::status) run to the end and wait for it.
/// * [`spawn`](Self::spawn) starts a process that belongs to the instance and ends with its handle.
/// * [`spawn_persistent`](Self::spawn_persistent) starts a process that outlives the instance.
/// * [`find_or_spawn`](Self::find_or_spawn) does so unless it runs already.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use capsule_sdk::Command;
///
/// let output = Command::new("git").args(["log", "--oneline"]).current_dir("project").output()?;
/// let server = Command::new("python3").args(["-m", "http.server"]).label("web").spawn_persistent()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    request: SpawnRequest,
}

impl Command {
    /// A command without arguments. A bare name is looked up in the host's `PATH`, never in the
    /// workspace; one with `/` must be granted in exactly this spelling.
    ///
    /// ```
    /// let command = capsule_sdk::Command::new("cargo");
    /// ```
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            request: SpawnRequest {
                cmd: program.into(),
                args: Vec::new(),
                stdin: None,
                env: Vec::new(),
                cwd: None,
                limits: None,
                file_injections: Vec::new(),
                label: None,
                keep_stdin_open: None,
                overflow: None,
                log_ring_bytes: None,
                max_lifetime_ms: None,
                idle_timeout_ms: None,
                exit_retention_ms: None,
            },
        }
    }

    /// Adds an argument.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("cargo").arg("check").arg("--quiet");
    /// ```
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.request.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("cargo").args(["check", "--quiet"]);
    /// ```
    pub fn args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.request.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment; setting it again replaces the value. `PATH` and others
    /// that decide what code runs (`LD_PRELOAD` for one) are refused when it starts.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("cargo").env("CARGO_TERM_COLOR", "never");
    /// ```
    pub fn env(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        // The host refuses a key that is given twice, where std takes the last.
        self.request.env.retain(|var| var.key != key);
        let files = &mut self.request.file_injections;
        files.retain(|file| !matches!(&file.placement, InjectionPlacement::EnvPointer(variable) if *variable == key));
        self.request.env.push(EnvVar { key, value });
        self
    }

    /// Sets several variables.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").envs([("CC", "clang"), ("V", "1")]);
    /// ```
    pub fn envs<K: Into<String>, V: Into<String>>(&mut self, vars: impl IntoIterator<Item = (K, V)>) -> &mut Self {
        for (key, value) in vars {
            self.env(key, value);
        }
        self
    }

    /// Sets the working directory, relative to the workspace and inside it.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").current_dir("build");
    /// ```
    pub fn current_dir(&mut self, dir: impl Into<String>) -> &mut Self {
        self.request.cwd = Some(dir.into());
        self
    }

    /// Another name for [`current_dir`](Self::current_dir).
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").cwd("build");
    /// ```
    pub fn cwd(&mut self, dir: impl Into<String>) -> &mut Self {
        self.current_dir(dir)
    }

    /// Sets the content of its standard input, at most 4 MiB. Without this the input is empty.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("sort").stdin("b\na\n");
    /// ```
    pub fn stdin(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.request.stdin = Some(bytes.into());
        self
    }

    /// Gives it a read-only file with these bytes, at a path that the host chooses. The variable
    /// holds the path. The file is removed with the process. Giving the variable again replaces it.
    ///
    /// 8 MiB each, 16 MiB and 128 files together at most. A host that cannot keep a file
    /// read-only refuses the start with `unknown("injection-unsupported: …")`.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("curl").file_env("CURL_HOME_CONFIG", "silent\n");
    /// ```
    pub fn file_env(&mut self, variable: impl Into<String>, content: impl Into<Vec<u8>>) -> &mut Self {
        let variable = variable.into();
        self.request.env.retain(|var| var.key != variable);
        self.inject(InjectionPlacement::EnvPointer(variable), content.into())
    }

    /// Gives it a read-only file with these bytes, at this absolute path, which must lie outside of
    /// the workspace and have no `..`. The limits of [`file_env`](Self::file_env) hold here, too.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("psql").file_at("/etc/postgresql-common/psqlrc", "\\timing on\n");
    /// ```
    pub fn file_at(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> &mut Self {
        self.inject(InjectionPlacement::FixedPath(path.into()), content.into())
    }

    fn inject(&mut self, placement: InjectionPlacement, content: Vec<u8>) -> &mut Self {
        // As with variables: the host refuses a place that is given twice.
        self.request
            .file_injections
            .retain(|file| !same(&file.placement, &placement));
        self.request.file_injections.push(FileInjection { content, placement });
        self
    }

    /// Sets ceilings on the resources that it may use. If the host cannot enforce one of them, it
    /// refuses the start.
    ///
    /// ```
    /// # use capsule_sdk::{Command, ResourceLimits};
    /// Command::new("make").limits(ResourceLimits { max_pids: Some(64), ..ResourceLimits::default() });
    /// ```
    pub fn limits(&mut self, limits: ResourceLimits) -> &mut Self {
        self.request.limits = Some(limits.into());
        self
    }

    /// Persistent processes: a name by which [`Process::find`] and [`list`](crate::list) find it.
    /// At most 128 bytes are kept. Without one it is made of the command.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("python3").label("dev-server");
    /// ```
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.request.label = Some(label.into());
        self
    }

    /// Keeps standard input open for writing while it runs: [`Child::stdin`], [`Process::write`].
    /// [`output`](Self::output) ignores this.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("bc").keep_stdin_open(true);
    /// ```
    pub fn keep_stdin_open(&mut self, keep: bool) -> &mut Self {
        self.request.keep_stdin_open = Some(keep);
        self
    }

    /// Persistent processes: what happens to output that no reader took in time.
    ///
    /// ```
    /// # use capsule_sdk::{Command, Overflow};
    /// Command::new("pg_dump").overflow(Overflow::Backpressure);
    /// ```
    pub fn overflow(&mut self, overflow: Overflow) -> &mut Self {
        self.request.overflow = Some(match overflow {
            Overflow::DropOldest => wit::OverflowPolicy::DropOldest,
            Overflow::Backpressure => wit::OverflowPolicy::Backpressure,
        });
        self
    }

    /// Persistent processes: how many bytes of each stream are kept, between 4 KiB and 8 MiB;
    /// 1 MiB if not set.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").log_ring_bytes(64 * 1024);
    /// ```
    pub fn log_ring_bytes(&mut self, bytes: u32) -> &mut Self {
        self.request.log_ring_bytes = Some(bytes);
        self
    }

    /// Persistent processes: it is ended after this time, or at the host's ceiling if that is
    /// less (6 hours unless the embedder says otherwise). Zero is refused.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").max_lifetime(std::time::Duration::from_secs(600));
    /// ```
    pub fn max_lifetime(&mut self, lifetime: Duration) -> &mut Self {
        self.request.max_lifetime_ms = Some(millis(lifetime));
        self
    }

    /// Persistent processes: it is ended when no call touched it for this time; 30 minutes if not
    /// set. Reading, writing, signalling and waiting are touches, asking for its status is not.
    /// Zero is refused.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").idle_timeout(std::time::Duration::from_secs(60));
    /// ```
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.request.idle_timeout_ms = Some(millis(timeout));
        self
    }

    /// Persistent processes: how long its id and output are kept after its exit; 5 minutes if not set.
    ///
    /// ```
    /// # use capsule_sdk::Command;
    /// Command::new("make").exit_retention(std::time::Duration::from_secs(3600));
    /// ```
    pub fn exit_retention(&mut self, retention: Duration) -> &mut Self {
        self.request.exit_retention_ms = Some(millis(retention));
        self
    }

    /// Starts a process that belongs to this instance: dropping what is returned ends it. The
    /// options for persistent processes have no effect.
    ///
    /// # Errors
    /// As [`output`](Self::output), except for the limit on output; also [`Error::Quota`] when there
    /// are too many processes. After an error, no process runs.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut build = capsule_sdk::Command::new("cargo").arg("build").spawn()?;
    /// let status = build.wait()?;
    /// # Ok(()) }
    /// ```
    ///
    /// [`Error::Quota`]: crate::Error::Quota
    pub fn spawn(&self) -> Result<Child> {
        let handle = wit::spawn_background(&self.request)?;
        Ok(Child::new(handle, self.request.keep_stdin_open == Some(true)))
    }

    /// Runs it to its end and returns everything that it wrote. The options for persistent
    /// processes have no effect.
    ///
    /// # Errors
    /// An error that prevents the start, such as [`Error::CapabilityDenied`] or one for which
    /// [`is_not_found`] holds; [`Error::TooLarge`] if it wrote more than the host collects (16 MiB
    /// a stream unless the embedder says otherwise), and it was then ended. An exit code other
    /// than 0 is not an error.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let sum = capsule_sdk::Command::new("sha256sum").stdin("hello").output()?;
    /// println!("{}", sum.stdout_lossy());
    /// # Ok(()) }
    /// ```
    ///
    /// [`Error::CapabilityDenied`]: crate::Error::CapabilityDenied
    /// [`Error::TooLarge`]: crate::Error::TooLarge
    /// [`is_not_found`]: crate::Error::is_not_found
    pub fn output(&self) -> Result<Output> {
        Ok(wit::spawn(&self.request)?.into())
    }

    /// Runs it to its end and returns only how it ended. Its output is discarded, because a capsule
    /// has no terminal.
    ///
    /// # Errors
    /// As [`output`](Self::output), including [`Error::TooLarge`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// assert!(capsule_sdk::Command::new("true").status()?.success());
    /// # Ok(()) }
    /// ```
    ///
    /// [`Error::TooLarge`]: crate::Error::TooLarge
    pub fn status(&self) -> Result<ExitStatus> {
        Ok(self.output()?.status)
    }

    /// Starts a process that outlives this instance. Dropping what is returned does not end it.
    ///
    /// # Errors
    /// As [`output`](Self::output), except for the limit on output; also
    /// [`Error::PersistUnsupported`] when the caller is not authenticated, and [`Error::Quota`] or
    /// [`Error::RegistryFull`] when there are too many processes. After an error, no process runs.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let watcher = capsule_sdk::Command::new("cargo").arg("watch").spawn_persistent()?;
    /// println!("{:?}", watcher.status()?.phase);
    /// # Ok(()) }
    /// ```
    ///
    /// [`Error::PersistUnsupported`]: crate::Error::PersistUnsupported
    /// [`Error::Quota`]: crate::Error::Quota
    /// [`Error::RegistryFull`]: crate::Error::RegistryFull
    pub fn spawn_persistent(&self) -> Result<Process> {
        Ok(Process::new(ProcessId::new(wit::spawn_persistent(&self.request)?)))
    }

    /// Reaches the process with this label that runs, or starts it with this label if none does. However many instances call this
    /// at once, for one principal, at most one process with the label runs: they do it one after the other, under a
    /// [lock](crate::sync). This holds for all processes that are started by this method; [`spawn_persistent`] with the same label
    /// starts another one.
    ///
    /// Only the label is compared, and exactly: a process that runs with other arguments is the one that is returned. One that has
    /// exited is not returned, but replaced, and stays in [`list`](crate::list) until it is released or its retention ends. The
    /// process may need time to be ready; each caller waits for that itself, by [`Process::wait_for_port`] for instance.
    ///
    /// The lock is of the package `capsule:sync`, without which a host refuses the capsule. On such a host a capsule can start the
    /// process, list those with the label, and keep the one whose id is the smallest text, while every other instance stops its own.
    /// That ends with one process, but does not begin with one: for a moment several run, and an instance may have used one that
    /// is then stopped.
    ///
    /// # Errors
    /// As of [`spawn_persistent`]; nothing runs then, and the next caller tries again. [`Error::WaitTimeout`] if other instances
    /// that start it took 30 s; [`Error::InvalidInput`] for a label with a control character or more than 128 bytes, which the host would
    /// change.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use capsule_sdk::Command;
    /// let redis = Command::new("redis-server").args(["--port", "6379"]).find_or_spawn("redis")?;
    /// redis.wait_for_port(6379, std::time::Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    ///
    /// [`Error::InvalidInput`]: crate::Error::InvalidInput
    /// [`Error::WaitTimeout`]: crate::Error::WaitTimeout
    /// [`spawn_persistent`]: Self::spawn_persistent
    pub fn find_or_spawn(&self, label: &str) -> Result<Process> {
        if label.len() > LABEL_MAX || label.contains(char::is_control) {
            return Err(Error::InvalidInput);
        }
        let _guard = sync::lock(&format!("find-or-spawn {label}"), FIND_OR_SPAWN_MAX)?;
        if let Some(found) = Process::find_running(label)? {
            return Ok(found);
        }
        let mut command = self.clone();
        command.label(label);
        command.spawn_persistent()
    }
}

fn same(one: &InjectionPlacement, other: &InjectionPlacement) -> bool {
    match (one, other) {
        (InjectionPlacement::EnvPointer(one), InjectionPlacement::EnvPointer(other))
        | (InjectionPlacement::FixedPath(one), InjectionPlacement::FixedPath(other)) => one == other,
        (InjectionPlacement::EnvPointer(_) | InjectionPlacement::FixedPath(_), _) => false,
    }
}

/// What becomes of output that no reader took in time. It holds for both streams: the interface knows no other for one of them.
///
/// Where every byte of one stream matters and the other is of no interest, choose [`Backpressure`](Self::Backpressure) and skip
/// the other stream while reading the first:
///
/// ```no_run
/// use capsule_sdk::{Command, Overflow};
/// use std::time::Duration;
///
/// # fn main() -> capsule_sdk::Result<()> {
/// let server = Command::new("server").overflow(Overflow::Backpressure).spawn_persistent()?;
/// let (mut stdout, mut stderr) = (server.stdout(), server.stderr());
/// while !stdout.at_end()? {
///     for line in stdout.follow().at_most(Duration::from_millis(100)).lines() {
///         match line {
///             Ok(line) => println!("{line}"),
///             Err(error) if error.is_timeout() => break,
///             Err(error) => return Err(error),
///         }
///     }
///     stderr.skip_available()?;
/// }
/// # Ok(()) }
/// ```
///
/// # Output into a file
///
/// The interface has no redirection. Without a shell, a second command such as `tee` writes the file (it needs a grant of its own),
/// and the capsule copies. That goes on only while an instance copies; a later one resumes at the cursor, with `tee -a`.
///
/// ```no_run
/// use capsule_sdk::{Command, Overflow};
/// use std::io;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let build = Command::new("make").overflow(Overflow::Backpressure).spawn_persistent()?;
/// let mut file = Command::new("tee").arg("build.log").keep_stdin_open(true).spawn()?;
/// if let Some(stdin) = &mut file.stdin {
///     io::copy(&mut build.stdout().follow(), stdin)?;
/// }
/// file.wait()?;
/// # Ok(()) }
/// ```
///
/// ```
/// assert_eq!(capsule_sdk::Overflow::default(), capsule_sdk::Overflow::DropOldest);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest bytes make room; the process is never held up.
    #[default]
    DropOldest,
    /// The process waits until a reader has read on. No byte is lost, but a process without a reader
    /// stands still.
    Backpressure,
}

/// Ceilings on the resources of a process. Where one is `None`, the embedder's limit holds.
///
/// ```
/// let limits = capsule_sdk::ResourceLimits {
///     max_memory_bytes: Some(512 << 20),
///     ..capsule_sdk::ResourceLimits::default()
/// };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Memory in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Processor time, rounded up to whole seconds.
    pub max_cpu: Option<Duration>,
    /// Processes and threads in the whole tree.
    pub max_pids: Option<u32>,
    /// Open files per process.
    pub max_open_files: Option<u32>,
}

impl From<ResourceLimits> for wit::ResourceLimits {
    fn from(limits: ResourceLimits) -> Self {
        Self {
            max_memory_bytes: limits.max_memory_bytes,
            max_cpu_secs: limits.max_cpu.map(seconds),
            max_pids: limits.max_pids,
            max_open_files: limits.max_open_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_holds() {
        let mut command = Command::new("x");
        command.env("A", "1").envs([("B", "2"), ("A", "3")]);
        let env: Vec<_> = command
            .request
            .env
            .iter()
            .map(|v| (v.key.as_str(), v.value.as_str()))
            .collect();
        assert_eq!(env, [("B", "2"), ("A", "3")]);
    }

    #[test]
    fn the_last_content_of_a_file_holds_and_a_variable_is_one_or_the_other() {
        let mut command = Command::new("x");
        command
            .env("A", "1")
            .file_env("A", "2")
            .file_env("A", "3")
            .file_at("/etc/x", "4")
            .file_at("/etc/x", "5");
        assert!(command.request.env.is_empty());
        let contents: Vec<_> = command
            .request
            .file_injections
            .iter()
            .map(|file| &*file.content)
            .collect();
        assert_eq!(contents, [b"3", b"5"]);
        command.env("A", "6");
        assert_eq!(
            (command.request.env.len(), command.request.file_injections.len()),
            (1, 1)
        );
    }

    #[test]
    fn a_timer_that_is_set_is_never_sent_as_zero() {
        let mut command = Command::new("x");
        command
            .max_lifetime(Duration::from_micros(1))
            .idle_timeout(Duration::ZERO);
        assert_eq!(command.request.max_lifetime_ms, Some(1));
        assert_eq!(
            command.request.idle_timeout_ms,
            Some(0),
            "zero is for the host to refuse"
        );
        assert_eq!(command.request.exit_retention_ms, None);
    }
}
