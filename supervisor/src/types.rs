//! The plain types of the supervisor: information about a process.

use std::time::Duration;

use super::ProcessId;
use super::network::PublishedPort;

/// The ways of owning a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// A process that lives for one call, which captures its output.
    Captured,
    /// A process of an instance, which is reached by a handle.
    Background,
    /// A process of the host, which is reached by an id.
    Persistent,
}

/// How a command ended; one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitInfo {
    /// The exit code that the command returned.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// The output of a captured command, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutput {
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub exit: ExitInfo,
}

/// The exit of a killed process, and the rest of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Killed {
    /// The process ran, and this call ended it.
    pub killed: bool,
    /// How it ended.
    pub exit: ExitInfo,
    /// The rest of its standard output.
    pub stdout: Vec<u8>,
    /// The rest of its standard error.
    pub stderr: Vec<u8>,
}

/// The output that `read_logs` took out of a process's rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Standard output since the last such call.
    pub stdout: String,
    /// Standard error since the last such call.
    pub stderr: String,
    /// Whether the process still runs, which means that its exit is not visible yet.
    pub running: bool,
    /// The exit of the process; `None` while it runs.
    pub exit: Option<ExitInfo>,
}

/// A piece of a stream, by cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// The bytes as the child wrote them.
    pub data: Vec<u8>,
    /// The cursor for the next read.
    pub next: String,
    /// The number of bytes that this chain of cursors can never get.
    pub bytes_dropped: u64,
    /// Whether the process has exited, the stream has ended, and this chunk reaches its end.
    pub drained_eof: bool,
}

/// The state of a process.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Its id.
    pub id: ProcessId,
    /// Its label.
    pub label: String,
    /// Command and arguments, joined by spaces, at most 4 KiB.
    pub command: String,
    /// The command's pid in the host's pid namespace, while it runs.
    pub os_pid: Option<u32>,
    /// The phase of its life.
    pub phase: Phase,
    /// The exit of the process; `None` until it is visible.
    pub exit: Option<ExitInfo>,
    /// The time since it was started.
    pub age: Duration,
    /// The time since a call last touched it.
    pub idle: Duration,
    /// The number of bytes that `read_logs` would return.
    pub buffered_bytes: u64,
    /// The number of bytes of both streams that were evicted because their ring was full.
    pub bytes_dropped: u64,
    /// Whether `write_stdin` is accepted.
    pub stdin_open: bool,
    /// The processor time of the tree, or of the command alone if the kernel does not let the host count more. While
    /// the process runs, it is at most 20 ms old.
    pub cpu: Option<Duration>,
    /// The peak resident size in bytes. While the process runs, it is that of the command, at most 20 ms old. At the
    /// end it is the largest of the tree's processes. With a control group it is that of the whole tree.
    pub mem_bytes_peak: Option<u64>,
    /// The published ports of its network, while it runs. They lead to whichever of its owner's trees listens. The ports on which
    /// this tree listens take a look at all of its open files: [`Scope::ports`](super::Scope::ports).
    pub published: Vec<PublishedPort>,
}

/// The phase of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Being started. A process has a name only when it runs, so no caller sees this.
    Starting,
    /// Running, or ended with output that was not read from its pipes yet.
    Running,
    /// Ended, with complete output.
    Exited,
}

/// One of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The signals that a guest may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in POSIX")]
pub enum Signal {
    Term,
    Hup,
    Usr1,
    Usr2,
    Int,
    Stop,
    Cont,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Term => Self::TERM,
            Signal::Hup => Self::HUP,
            Signal::Usr1 => Self::USR1,
            Signal::Usr2 => Self::USR2,
            Signal::Int => Self::INT,
            Signal::Stop => Self::STOP,
            Signal::Cont => Self::CONT,
        }
    }
}
