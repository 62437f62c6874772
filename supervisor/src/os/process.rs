//! A process that is not a child of the host, known without a descriptor while it runs.
//!
//! Its pid may later belong to another process. So the start time is kept with the pid. A caller that wants to wait for the
//! process opens the process that has this pid, and then checks whether its start time is the same.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;

use super::readiness;
use super::tree::{clock, short_text};

/// The longest time until a process ends after a KILL.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval of checks of a process for which the host has no descriptor left.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// As in `/proc/PID/stat`.
    start: u64,
}

impl Process {
    pub(crate) const fn new(pid: Pid, start: u64) -> Self {
        Self { pid, start }
    }

    /// A child of this process that was not reaped.
    pub(crate) fn of_child(pid: u32) -> io::Result<Self> {
        let stat = short_text(&format!("/proc/{pid}/stat"))?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let found = pid.zip(clock(&stat)).map(|(pid, (start, _))| Self { pid, start });
        found.ok_or_else(|| io::Error::other("the kernel does not report when a process started"))
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// A pidfd; none if the process has ended.
    ///
    /// # Errors
    /// The process cannot be opened: the host has no descriptor left.
    fn hold(&self) -> io::Result<Option<OwnedFd>> {
        let held = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(held) => held,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok(self.stat()?.map(|_| held))
    }

    /// The process's `/proc/PID/stat`; none if the process has ended.
    fn stat(&self) -> io::Result<Option<String>> {
        match short_text(&format!("/proc/{}/stat", self.pid())) {
            Ok(stat) => Ok(Some(stat).filter(|stat| clock(stat).is_some_and(|(start, _)| start == self.start))),
            Err(error) if is_out_of_descriptors(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether it was stopped, by a signal or by a tracer.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stat().ok().flatten().is_some_and(|stat| is_stopped(&stat))
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Continues the process if it was stopped.
    pub(crate) fn wake(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Ok(Some(held)) = self.hold() {
            // Fails only if the process has ended.
            let _ = pidfd_send_signal(held, signal);
        }
    }

    /// Blocks until the process has ended, for at most this long. Returns whether it has ended.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let rest = limit.saturating_sub(begun.elapsed());
            let ready = match self.hold() {
                Ok(None) => return true,
                Ok(Some(held)) => wait_for(&mut [PollFd::new(&held, PollFlags::IN)], rest),
                Err(_) => wait_for(&mut [], rest.min(RETRY_INTERVAL)),
            };
            if ready {
                return true;
            }
            if begun.elapsed() >= limit {
                return false;
            }
        }
    }

    /// Completes when the process has ended. The future may be dropped, and this may be called again.
    ///
    /// # Errors
    /// The runtime is ending.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        loop {
            match self.hold() {
                Ok(None) => return Ok(()),
                Ok(Some(held)) => {
                    let held = readiness::watch(held, Interest::READABLE)?;
                    // For good, because the readiness is never cleared.
                    return held.readable().await.map(drop);
                }
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }
}

/// Whether one of them became ready in that time.
pub(super) fn wait_for(fds: &mut [PollFd<'_>], time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap_or_default();
    poll(fds, Some(&time)).is_ok_and(|ready| ready > 0)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Parses a line of `/proc/PID/stat`: `pid (name) state …`. The name may contain any character.
pub(crate) fn is_stopped(stat: &str) -> bool {
    stat.rsplit_once(')')
        .is_some_and(|(_, fields)| fields.trim_start().starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn k1_what_has_the_number_and_started_at_another_time_is_another() {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
        let (start, _) = clock(&stat).expect("a start");
        let this = Process::new(getpid(), start);
        assert!(this.hold().expect("a descriptor").is_some());
        assert!(!this.wait(Duration::ZERO));
        let another = Process::new(getpid(), start + 1);
        assert!(another.hold().expect("a descriptor").is_none());
        // Neither waited for nor killed.
        assert!(another.wait(Duration::ZERO));
        another.kill();
    }

    #[test]
    fn b5_a_stopped_process_is_known_behind_any_name() {
        assert!(is_stopped("7 (a) T b) T 1"));
        assert!(is_stopped("7 (a) t 1"));
        assert!(!is_stopped("7 (a) T b) S 1"));
        assert!(!is_stopped("7 (a"));
    }
}
