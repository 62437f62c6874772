//! A tree of processes under an init, held by init's pidfd.
//!
//! The number of a process may be used again once it was reaped, so no number is ever signalled: init, which alone reaps
//! the command, sends the signals, and the host asks it to. What ends the tree without fail is the end of the channel.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use capsule_init::{Command, Exit, Report, Target};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::channel::Channel;
use super::readiness;
use super::usage::{Meter, Usage};

/// How a command ended, as the kernel reports it: exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawExit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// A command and everything that it started. Dropping it unreaped kills the tree and reaps its init.
#[derive(Debug)]
pub(crate) struct Child {
    channel: Channel,
    init: AsyncFd<OwnedFd>,
    meter: Arc<Meter>,
    reaped: bool,
}

impl Child {
    /// Needs a tokio runtime with its I/O driver. Where that is full the tree is ended.
    pub(crate) fn new(channel: Channel, init: OwnedFd, meter: Meter) -> io::Result<Self> {
        let held = init.try_clone()?;
        match readiness::watch(init, Interest::READABLE) {
            Ok(init) => Ok(Self {
                channel,
                init,
                meter: Arc::new(meter),
                reaped: false,
            }),
            Err(error) => {
                channel.cut();
                reap(&held)?;
                Err(error)
            }
        }
    }

    /// What the tree uses, also for those that do not own the child.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Completes once every process of the tree has ended. Reaps nothing, and may be dropped and called again.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        // The pidfd stays readable for good: the readiness is not cleared.
        self.init.readable().await.map(drop)
    }

    /// Has the command's process group, or the whole tree, signalled. Does nothing to a tree that has ended.
    pub(crate) fn signal(&self, target: Target, signal: Signal) -> io::Result<()> {
        let Ok(signal) = u8::try_from(signal.as_raw()) else {
            return Ok(());
        };
        match self.channel.command(Command { target, signal }) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Kills the tree.
    pub(crate) fn kill(&self) {
        self.channel.cut();
    }

    /// Waits for the end of the tree on this thread, and says how the command ended.
    pub(crate) fn finish(&mut self) -> io::Result<RawExit> {
        let report = self.channel.receive()?;
        self.conclude(report)
    }

    /// Kills what is left of the tree, waits for its end, and says how the command ended.
    pub(crate) fn reap(&mut self) -> io::Result<RawExit> {
        self.channel.cut();
        // Init's last word, or its silence: in both cases it is about to be gone.
        let report = self.channel.receive().unwrap_or(None);
        self.conclude(report)
    }

    fn conclude(&mut self, report: Option<(Report, Vec<OwnedFd>)>) -> io::Result<RawExit> {
        let exit = match report {
            Some((Report::Exited(exit), _)) => Some(exit),
            _ => None,
        };
        reap(self.init.get_ref())?;
        self.reaped = true;
        self.meter.finish(exit.as_ref().map(usage));
        Ok(exit.map_or(KILLED_WITH_INIT, |exit| raw_exit(exit.status)))
    }
}

/// Somebody killed init (the kernel, out of memory), and the kernel then killed its tree.
const KILLED_WITH_INIT: RawExit = RawExit {
    code: None,
    signal: Some(Signal::KILL.as_raw()),
};

fn usage(exit: &Exit) -> Usage {
    Usage {
        cpu: Some(Duration::from_micros(
            exit.user_micros.saturating_add(exit.system_micros),
        )),
        peak_bytes: Some(exit.peak_bytes),
        ran_out_of_memory: false,
    }
}

fn raw_exit(status: i32) -> RawExit {
    // The layout that `waitpid` has on Linux: a signal in the low seven bits, or none and a code in the next eight.
    let signal = status & 0x7f;
    if signal == 0 {
        RawExit {
            code: Some((status >> 8) & 0xff),
            signal: None,
        }
    } else {
        RawExit {
            code: None,
            signal: Some(signal),
        }
    }
}

fn reap(init: &OwnedFd) -> io::Result<()> {
    loop {
        match waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // Only where a task was torn down with its runtime, or a launch was given up. The wait is short: the tree
            // was just killed.
            drop(self.reap());
        }
    }
}
