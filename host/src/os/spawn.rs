//! Starting a command by posix_spawn.
//!
//! A host with much memory must not fork: copying its page tables takes tens of milliseconds. The standard library uses
//! posix_spawn as long as the program is a path, and neither a `pre_exec` hook nor a user id is asked for.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::child::Child;
use super::pipe;

/// A command with everything resolved.
#[derive(Debug)]
pub(crate) struct Program {
    /// Holds a slash, so that no search takes place.
    pub(crate) path: PathBuf,
    /// What the program is told it was called.
    pub(crate) arg0: String,
    pub(crate) args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) cwd: OwnedFd,
    /// Whether stdin is a pipe; `/dev/null` otherwise.
    pub(crate) stdin: bool,
}

/// A running child and the host's ends of its streams, which are non-blocking.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Why a command did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The host could not make ready: descriptors, processes or memory ran out.
    Host(io::Error),
    /// The program could not be executed.
    Exec(io::Error),
}

/// Starts `program` as the leader of a process group of its own. Needs a tokio runtime with its I/O driver.
pub(crate) fn start(program: Program) -> Result<Started, StartError> {
    let (stdout, child_stdout) = io::pipe().map_err(StartError::Host)?;
    let (stderr, child_stderr) = io::pipe().map_err(StartError::Host)?;
    let (stdout, stderr) = (OwnedFd::from(stdout), OwnedFd::from(stderr));
    let (child_stdin, stdin) = if program.stdin {
        let (child_end, our_end) = io::pipe().map_err(StartError::Host)?;
        (Stdio::from(OwnedFd::from(child_end)), Some(OwnedFd::from(our_end)))
    } else {
        (Stdio::null(), None)
    };
    for fd in [Some(&stdout), Some(&stderr), stdin.as_ref()].into_iter().flatten() {
        pipe::set_nonblocking(fd.as_fd()).map_err(StartError::Host)?;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let mut command = Command::new(&program.path);
    command
        .arg0(&program.arg0)
        .args(&program.args)
        .env_clear()
        .envs(program.env)
        // In the child: descriptors survive until exec, and the handle cannot be renamed away as a path could.
        .current_dir(format!("/proc/self/fd/{}", program.cwd.as_raw_fd()))
        .process_group(0)
        .stdin(child_stdin)
        .stdout(OwnedFd::from(child_stdout))
        .stderr(OwnedFd::from(child_stderr));
    let mut started = command.spawn().map_err(classify)?;
    // The command holds the child's ends of the pipes: end of file would never come while it lives.
    drop(command);
    let child = Child::adopt(&mut started).map_err(StartError::Host)?;
    Ok(Started {
        child,
        stdin,
        stdout,
        stderr,
    })
}

/// posix_spawn answers with one errno for making the process and for executing the program.
fn classify(error: io::Error) -> StartError {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN | Errno::MFILE | Errno::NFILE) => StartError::Host(error),
        _ => StartError::Exec(error),
    }
}
