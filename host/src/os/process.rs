//! A process that is no child of ours, without a descriptor for as long as it runs.
//!
//! Its number may be another's by the time that it is looked at. So when it started is kept beside it, and whoever wants to
//! wait for it takes hold of whatever has the number, and then looks whether that is the one.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;

use super::readiness;
use super::tree::{clock, short_text};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    number: Pid,
    /// As `/proc/PID/stat` has it.
    start: u64,
}

impl Process {
    pub(crate) const fn new(number: Pid, start: u64) -> Self {
        Self { number, start }
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number.as_raw_nonzero().get().unsigned_abs()
    }

    /// A pidfd, unless the process is gone, or cannot be looked at because the host has no descriptor left: it is only
    /// asked for at an end, and nothing better can be done then than to go on.
    fn hold(&self) -> Option<OwnedFd> {
        let held = pidfd_open(self.number, PidfdFlags::empty()).ok()?;
        let stat = short_text(&format!("/proc/{}/stat", self.number())).ok()?;
        clock(&stat)
            .is_some_and(|(start, _)| start == self.start)
            .then_some(held)
    }

    pub(crate) fn kill(&self) {
        if let Some(held) = self.hold() {
            // It fails only where the process is gone.
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }

    /// Blocks until it has ended.
    pub(crate) fn wait(&self) {
        let Some(held) = self.hold() else { return };
        let mut fds = [PollFd::new(&held, PollFlags::IN)];
        while !poll(&mut fds, None).is_ok_and(|ready| ready > 0) {}
    }

    /// Completes once it has ended. May be dropped and called again.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let Some(held) = self.hold() else { return Ok(()) };
        let held = readiness::watch(held, Interest::READABLE)?;
        // For good: the readiness is not cleared.
        held.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn k1_what_has_the_number_and_started_at_another_time_is_another() {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
        let (start, _) = clock(&stat).expect("a start");
        assert!(Process::new(getpid(), start).hold().is_some());
        let another = Process::new(getpid(), start + 1);
        assert!(another.hold().is_none());
        // Neither waited for nor killed.
        another.wait();
        another.kill();
    }
}
