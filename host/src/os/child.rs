//! A tree of processes under an init, held by the channel to that.
//!
//! The number of a process may be used again once it was reaped, so no number is ever signalled: init, which alone reaps
//! the command, sends the signals, and the host asks it to. What ends the tree without fail is the end of the channel. Init
//! is not a child of the host, which therefore has nobody to reap: the kernel forgets it as it ends.
//!
//! Each process that runs costs a host few descriptors: the channel, the counter of its processor time, and its pipes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use capsule_init::{Command, Exit, Report};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::channel::Channel;
use super::process::Process;
use super::readiness;
use super::usage::{Meter, Usage};

/// How a command ended, as the kernel reports it: exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawExit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// A command and everything that it started. Dropping it kills what is there and waits for the end of init.
#[derive(Debug)]
pub(crate) struct Child {
    channel: AsyncFd<Channel>,
    init: Process,
    meter: Arc<Meter>,
    life: AtomicU8,
}

/// The tree runs, or nobody has looked since.
const RUNS: u8 = 0;
/// Init has said that nothing is left but itself. What it still has to do, its namespaces to take down, can take longer than
/// all else of an exit, and concerns nobody.
const LEAVING: u8 = 1;
/// Init has ended.
const GONE: u8 = 2;

impl Child {
    /// Needs a tokio runtime with its I/O driver. Where that is full the tree is ended.
    pub(crate) fn new(channel: Channel, init: Process, meter: Meter) -> io::Result<Self> {
        match readiness::watch(channel, Interest::READABLE) {
            Ok(channel) => Ok(Self {
                channel,
                init,
                meter: Arc::new(meter),
                life: AtomicU8::new(RUNS),
            }),
            Err(error) => {
                // The channel is closed by now, and the tree about to end.
                init.wait();
                Err(error)
            }
        }
    }

    /// What the tree uses, also for those that do not own the child.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Completes once every process of the tree has ended, but perhaps init. May be dropped and called again.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        // For good: the readiness is not cleared.
        drop(self.channel.readable().await?);
        if self.channel.get_ref().has_report() {
            return Ok(());
        }
        // It goes without a word: somebody killed it, and what it held ends with it.
        self.init.ended().await
    }

    /// Whether init has still to be waited for, though its tree has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.load(Ordering::Relaxed) == LEAVING
    }

    /// Lets init go, which has been heard, and completes once it is gone. May be dropped and called again.
    pub(crate) async fn left(&self) {
        self.meter.close();
        self.kill();
        // Where the runtime is going down, the wait is a short one.
        drop(self.init.ended().await);
        self.see_off();
    }

    /// Has the command's process group signalled. Does nothing to a tree that has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match u8::try_from(signal.as_raw()) {
            Ok(signal) => self.command(Command::Signal(signal)),
            Err(_) => Ok(()),
        }
    }

    /// Has every process of the tree told to end, also those that are stopped. Does nothing to a tree that has ended.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.command(Command::Terminate)
    }

    fn command(&self, command: Command) -> io::Result<()> {
        match self.channel.get_ref().command(command) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Kills the tree.
    pub(crate) fn kill(&self) {
        self.channel.get_ref().cut();
    }

    /// Waits for the end of the tree on this thread, and says how the command ended.
    pub(crate) fn finish(&mut self) -> io::Result<RawExit> {
        let received = self.channel.get_ref().receive()?;
        Ok(self.conclude(received.map(|(report, _)| report)))
    }

    /// Kills what is left of the tree, waits for its end, and says how the command ended. Init may still be leaving then.
    pub(crate) fn reap(&mut self) -> RawExit {
        let channel = self.channel.get_ref();
        // It is the last one, so it need not be taken.
        let report = channel.peek().or_else(|| {
            channel.cut();
            // Init's last word, or its silence: in both cases nothing else is left.
            let received = channel.receive().unwrap_or(None);
            received.map(|(report, _)| report)
        });
        self.conclude(report)
    }

    fn conclude(&mut self, report: Option<Report>) -> RawExit {
        let exit = match report {
            Some(Report::Exited(exit)) => Some(exit),
            _ => None,
        };
        // What a group has used is known only when init is out of it, too.
        let is_leaving = exit.is_some() && !self.meter.has_group();
        if is_leaving {
            self.life.store(LEAVING, Ordering::Relaxed);
        } else {
            self.see_off();
        }
        self.meter.finish(exit.as_ref().map(usage));
        if !is_leaving {
            self.meter.close();
        }
        exit.map_or(KILLED_WITH_INIT, |exit| raw_exit(exit.status))
    }

    /// Lets init go, or what is left of it, and waits until it has.
    fn see_off(&self) {
        self.kill();
        self.init.wait();
        self.life.store(GONE, Ordering::Relaxed);
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

impl Drop for Child {
    fn drop(&mut self) {
        // Only where a task was torn down with its runtime, or a launch was given up. The waits are short: what runs was
        // just killed.
        match self.life.load(Ordering::Relaxed) {
            GONE => {}
            LEAVING => self.see_off(),
            _ => {
                self.reap();
                self.see_off();
            }
        }
        self.meter.close();
    }
}
