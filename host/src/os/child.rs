//! A child of the host, held by pidfd.
//!
//! The number of a process may be used again once it was reaped. So nobody but this type reaps, and every signal goes out
//! before that: the group is named by the number that the unreaped leader (also as a zombie) keeps from being reused.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, pidfd_send_signal,
    waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::readiness;

/// How a command ended, as the kernel reports it: exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawExit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// The leader of a process group that the host started. Dropping it unreaped kills the group and reaps the leader.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    reaped: bool,
}

impl Child {
    /// Takes charge of a child that was just started and that nobody has waited for.
    ///
    /// Needs a tokio runtime with its I/O driver. On failure the child is killed and reaped: nothing half-done remains.
    pub(crate) fn adopt(child: &mut std::process::Child) -> io::Result<Self> {
        let opened = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the kernel gave an impossible pid"))
            .and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)))
            .and_then(|(pid, fd)| Ok((pid, readiness::watch(fd, Interest::READABLE)?)));
        match opened {
            Ok((pid, pidfd)) => Ok(Self {
                pid,
                pidfd,
                reaped: false,
            }),
            Err(error) => {
                // Not yet reaped, so the number is still the child's own.
                drop(child.kill());
                drop(child.wait());
                Err(error)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Completes once the command has ended. Reaps nothing, and may be dropped and called again.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        // The pidfd stays readable for good: the readiness is not cleared.
        self.pidfd.readable().await.map(drop)
    }

    /// Signals the command's process group.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.reaped {
            return Ok(());
        }
        match kill_process_group(self.pid, signal) {
            // The command joined another group of its session and left its own one empty.
            Err(rustix::io::Errno::SRCH) => match pidfd_send_signal(self.pidfd.get_ref(), signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    }

    /// Kills the command and its group.
    pub(crate) fn kill(&self) {
        if self.reaped {
            return;
        }
        // Both: the command may have left its group. Neither call can fail on a child of ours that is not reaped in a
        // way that something could be done about.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
    }

    /// Ends what the command left in its group and reaps the command. Blocks only if the command is still alive.
    pub(crate) fn reap(&mut self) -> io::Result<RawExit> {
        self.kill();
        let exit = loop {
            match waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => break raw_exit(&status),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.reaped = true;
        Ok(exit)
    }
}

fn raw_exit(status: &WaitIdStatus) -> RawExit {
    RawExit {
        code: status.exit_status(),
        signal: status.terminating_signal(),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // Only where a task was torn down with its runtime. The wait is short: the command was just killed.
            drop(self.reap());
        }
    }
}
