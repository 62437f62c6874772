//! Starting a command by way of `capsule-init`.
//!
//! A host with much memory must not fork: copying its page tables takes tens of milliseconds. The standard library uses
//! posix_spawn as long as the program is a path, and neither a `pre_exec` hook nor a user id is asked for; so what would be
//! done in such a hook is done by a small program that is started instead. It comes with this crate and is run from a
//! sealed file in memory: nothing to install, and nothing that could be exchanged between a check and its use.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use capsule_init::{Config, Report, encode};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::cgroup::Group;
use super::channel::Channel;
use super::child::Child;
use super::usage::Meter;
use super::{memfd, pipe};

/// The program, as the build made it.
static PROGRAM: &[u8] = include_bytes!(env!("CAPSULE_INIT_PROGRAM"));

/// The init program, to be started any number of times.
#[derive(Debug)]
pub(crate) enum Init {
    /// The one that comes with this crate, in memory from the first use on.
    Embedded(OnceLock<File>),
    /// One that the embedder has built and put somewhere.
    At(PathBuf),
}

/// What goes with a configuration.
#[derive(Debug)]
pub(crate) struct Handover<'a> {
    pub(crate) workspace: BorrowedFd<'a>,
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    /// The content of what is injected, where anything is.
    pub(crate) injected: Option<BorrowedFd<'a>>,
    /// Whether the command's stdin is a pipe; `/dev/null` otherwise.
    pub(crate) stdin: bool,
}

/// A running command and the host's ends of its streams, which are non-blocking.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Why a command did not start. Nothing of it is left.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The host could not make ready: descriptors, processes or memory ran out.
    Host(io::Error),
    /// Init said why.
    Refused(Report),
    /// The memory that the tree may have did not suffice to start it.
    OutOfMemory,
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl Init {
    pub(crate) const fn embedded() -> Self {
        Self::Embedded(OnceLock::new())
    }

    /// Starts the command that `config` speaks of, in `group` if that says so. Needs a tokio runtime with its I/O driver;
    /// blocks until the command runs or is refused.
    pub(crate) fn start(
        &self,
        config: &Config,
        handover: &Handover<'_>,
        group: Option<Group>,
    ) -> Result<Started, StartError> {
        let (stdout, child_stdout) = io::pipe()?;
        let (stderr, child_stderr) = io::pipe()?;
        let (stdout, stderr) = (OwnedFd::from(stdout), OwnedFd::from(stderr));
        let (child_stdin, stdin) = if handover.stdin {
            let (child_end, our_end) = io::pipe()?;
            (OwnedFd::from(child_end), Some(OwnedFd::from(our_end)))
        } else {
            (OwnedFd::from(File::open("/dev/null")?), None)
        };
        for fd in [Some(&stdout), Some(&stderr), stdin.as_ref()].into_iter().flatten() {
            pipe::set_nonblocking(fd.as_fd())?;
        }
        let frame = encode(config).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;

        let (channel, stage) = self.spawn()?;
        let mut descriptors = vec![
            child_stdin.as_fd(),
            child_stdout.as_fd(),
            child_stderr.as_fd(),
            handover.workspace,
        ];
        descriptors.extend(handover.landlock);
        descriptors.extend(handover.injected);
        descriptors.extend(group.as_ref().map(AsFd::as_fd));
        let answer = channel.send(&frame, &descriptors).and_then(|()| channel.receive());
        // Init has its own now. While the host held these, end of file would never come.
        drop((child_stdin, child_stdout, child_stderr));
        let refusal = match answer {
            Ok(Some((Report::Started { counter }, descriptors))) => {
                match child(channel, descriptors, counter, config, group) {
                    Ok(child) => {
                        if config.confinement.is_some() {
                            stage.reap_first();
                        }
                        return Ok(Started {
                            child,
                            stdin,
                            stdout,
                            stderr,
                        });
                    }
                    Err(error) => StartError::Host(error),
                }
            }
            other => {
                drop(channel);
                match other {
                    // Whatever else came of it.
                    _ if group.as_ref().is_some_and(Group::ran_out_of_memory) => StartError::OutOfMemory,
                    Ok(Some((report, _))) => StartError::Refused(report),
                    Ok(None) => StartError::Host(io::Error::other("init ended without a word")),
                    Err(error) => StartError::Host(error),
                }
            }
        };
        // The channel is gone by now, and with it, in a moment, whatever was started. A confined init that is stuck is
        // ended by force, and its namespace with it; the group's number is still its own, for nobody was reaped.
        if config.confinement.is_some() {
            let _ = kill_process_group(stage.0, Signal::KILL);
        }
        stage.reap_all();
        Err(refusal)
    }

    fn spawn(&self) -> io::Result<(Channel, Stage)> {
        let (channel, inits) = Channel::pair()?;
        let path = match self {
            // In the child: descriptors survive until exec.
            Self::Embedded(file) => {
                let file = match file.get() {
                    Some(file) => file,
                    None => {
                        let sealed = memfd::sealed("capsule-init", [PROGRAM])?;
                        file.get_or_init(|| sealed)
                    }
                };
                PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
            }
            Self::At(path) => path.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
        let mut command = Command::new(path);
        command
            .arg0("capsule-init")
            .env_clear()
            .process_group(0)
            .stdin(inits)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let pid = i32::try_from(command.spawn()?.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the kernel gave an impossible pid"))?;
        Ok((channel, Stage(pid)))
    }
}

fn child(
    channel: Channel,
    descriptors: Vec<OwnedFd>,
    counter: bool,
    config: &Config,
    group: Option<Group>,
) -> io::Result<Child> {
    let mut descriptors = descriptors.into_iter();
    let (Some(init), Some(command)) = (descriptors.next(), descriptors.next()) else {
        return Err(io::Error::other("init sent too few descriptors"));
    };
    let counter = counter.then(|| descriptors.next()).flatten();
    let (init_pid, os_pid) = (pid_of(&init)?, pid_of(&command)?);
    Child::new(
        channel,
        init,
        Meter::new(init_pid, os_pid, command, counter, group, config.confinement.is_some()),
    )
}

/// The number, for this process, of the process that a pidfd stands for; none once that was reaped.
fn pid_of(pidfd: &OwnedFd) -> io::Result<Option<u32>> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    Ok(info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
}

/// The process that was started: init itself, or the one that starts it and goes. The leader of the group of both.
#[derive(Clone, Copy, Debug)]
struct Stage(Pid);

impl Stage {
    /// Waits for the one that goes.
    fn reap_first(self) {
        reap(WaitId::Pid(self.0));
    }

    /// Waits for both.
    fn reap_all(self) {
        while reap(WaitId::Pgid(Some(self.0))) {}
    }
}

/// Waits for a child to end; `false` where there is none.
fn reap(which: WaitId<'_>) -> bool {
    loop {
        match waitid(which.clone(), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => return other.is_ok(),
        }
    }
}
