//! The results of a finished process.

use crate::wit::generated::astrid::process1_1_0::host::{ExitInfo, KillResult, ProcessResult};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// How a process ended: by itself with a code, or by a signal.
///
/// Serialises as `{"code":…,"signal":…}`, one of them `null`.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// let status = capsule_sdk::Command::new("make").arg("test").status()?;
/// if !status.success() {
///     println!("make failed: {status}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    code: Option<i32>,
    signal: Option<i32>,
}

impl ExitStatus {
    pub(crate) const fn new(code: Option<i32>, signal: Option<i32>) -> Self {
        Self { code, signal }
    }

    /// Whether it exited by itself with code 0.
    ///
    /// ```
    /// # let status: capsule_sdk::ExitStatus = serde_json::from_str(r#"{"code":0,"signal":null}"#).unwrap();
    /// assert!(status.success());
    /// ```
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!((self.code, self.signal), (Some(0), None))
    }

    /// The exit code; none if a signal ended it.
    ///
    /// ```
    /// # let status: capsule_sdk::ExitStatus = serde_json::from_str(r#"{"code":3,"signal":null}"#).unwrap();
    /// assert_eq!(status.code(), Some(3));
    /// ```
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        self.code
    }

    /// The number of the signal that ended it; none if it exited by itself.
    ///
    /// ```
    /// # let status: capsule_sdk::ExitStatus = serde_json::from_str(r#"{"code":null,"signal":9}"#).unwrap();
    /// assert_eq!(status.signal(), Some(9));
    /// ```
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        self.signal
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "signal: {signal}"),
            (Some(code), None) => write!(f, "exit status: {code}"),
            (None, None) => f.write_str("ended, the host does not know how"),
        }
    }
}

impl From<ExitInfo> for ExitStatus {
    fn from(exit: ExitInfo) -> Self {
        Self {
            code: exit.exit_code,
            signal: exit.signal,
        }
    }
}

/// The whole output of a finished run, and how it ended.
///
/// The interface carries text, so bytes that are not UTF-8 arrive as U+FFFD. A run whose bytes
/// matter is better started with [`spawn_persistent`](crate::Command::spawn_persistent) and read
/// with [`Log`](crate::Log), which is byte for byte.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// let output = capsule_sdk::Command::new("git").arg("log").output()?;
/// println!("{} bytes, {}", output.stdout.len(), output.status);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let branch = capsule_sdk::Command::new("git").args(["branch", "--show-current"]).output()?;
    /// println!("on {}", branch.stdout_lossy().trim());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stdout_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let built = capsule_sdk::Command::new("make").output()?;
    /// println!("{}", built.stderr_lossy());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stderr_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl From<ProcessResult> for Output {
    fn from(result: ProcessResult) -> Self {
        Self {
            status: result.exit.into(),
            stdout: result.stdout.into_bytes(),
            stderr: result.stderr.into_bytes(),
        }
    }
}

/// The result of [`Child::kill`](crate::Child::kill) or [`Process::kill`](crate::Process::kill).
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// let killed = capsule_sdk::Command::new("make").spawn()?.kill()?;
/// println!("{} bytes of output were left", killed.stdout.len() + killed.stderr.len());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Killed {
    /// Whether it was running; if not, it had exited by itself before.
    pub killed: bool,
    /// How it ended.
    pub exit: Option<ExitStatus>,
    /// What was left of its standard output.
    pub stdout: Vec<u8>,
    /// What was left of its standard error.
    pub stderr: Vec<u8>,
}

impl Killed {
    /// What was left of standard output, as text.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// print!("{}", capsule_sdk::Command::new("make").spawn()?.kill()?.stdout_lossy());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stdout_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// What was left of standard error, as text.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// print!("{}", capsule_sdk::Command::new("make").spawn()?.kill()?.stderr_lossy());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stderr_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl From<KillResult> for Killed {
    fn from(result: KillResult) -> Self {
        Self {
            killed: result.killed,
            exit: result.exit.map(ExitStatus::from),
            stdout: result.stdout.into_bytes(),
            stderr: result.stderr.into_bytes(),
        }
    }
}
