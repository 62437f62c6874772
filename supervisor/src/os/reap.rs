//! The end of a child of the host's own: what makes inits, what makes epoll instances, what maps.
//!
//! The kernel is told to kill such a child, and most often it is gone in a moment. But the kernel may hold it, for a file
//! system that never answers or for a tracer. So each wait has a bound (contract B5): some are made under a lock, and some on
//! a thread of the runtime. A child that does not end in time is reaped by a thread of its own, however long that takes, so
//! that it leaves no zombie (contract B3).

use std::io;
use std::process::{Child, ExitStatus};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use super::process::{KILL_TIMEOUT, RETRY_INTERVAL, wait_for};

/// Reaps a child that was killed; `told` is the result of the kill. Blocks for [`KILL_TIMEOUT`] at most, and not at all if the kill
/// failed.
pub(super) fn end(child: &mut Child, told: io::Result<()>) {
    end_within(child, told, KILL_TIMEOUT);
}

fn end_within(child: &mut Child, told: io::Result<()>, limit: Duration) {
    let limit = if told.is_ok() { limit } else { Duration::ZERO };
    let reaped = reap(child, limit);
    if reaped
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    {
        reap_later(child);
    }
    if let Err(error) = told.and(reaped.map(drop)) {
        tracing::error!(
            %error,
            pid = child.id(),
            "a child of the host did not end, or was reaped by another part of this program"
        );
    }
}

/// Reaps a child, and returns how it ended. Blocks for at most `limit`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`]; or another part of this program has reaped it.
pub(super) fn reap(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    // The pid stays this child's until the child is reaped.
    if child.try_wait()?.is_none()
        && let Some(held) = pid(child).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    {
        wait_for(&mut [PollFd::new(&held, PollFlags::IN)], limit);
    }
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let rest = limit.saturating_sub(begun.elapsed());
        if rest.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // The host has no descriptor left, or a tracer has not reaped the process yet. The kernel reports neither.
        wait_for(&mut [], rest.min(RETRY_INTERVAL));
    }
}

/// Lets a thread reap a child when it ends. If no thread can be started, the child stays a zombie until the host ends.
fn reap_later(child: &Child) {
    let Some(pid) = pid(child) else { return };
    let thread = Builder::new().name("capsule-reap".into());
    let started = thread.spawn(move || while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {});
    if let Err(error) = started {
        tracing::error!(%error, pid = child.id(), "there is no thread to wait for the end of a child");
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::spawner::start;
    use super::*;

    /// A child that was not killed, in place of one that the kernel does not end.
    #[test]
    fn b3_b5_a_child_that_does_not_end_is_given_up_and_reaped_later() {
        let (socket, mut child) = start(None, None, |_| Ok(())).expect("a spawner");
        let begun = Instant::now();
        end_within(&mut child, Ok(()), Duration::from_millis(50));
        assert!(begun.elapsed() < KILL_TIMEOUT);
        assert!(is_there(&child), "or this shows nothing");
        // A spawner ends with its socket.
        drop(socket);
        until_gone(&child);
    }

    #[test]
    fn b5_a_child_that_cannot_be_told_is_not_waited_for() {
        let (socket, mut child) = start(None, None, |_| Ok(())).expect("a spawner");
        let begun = Instant::now();
        end(&mut child, Err(io::ErrorKind::PermissionDenied.into()));
        assert!(begun.elapsed() < KILL_TIMEOUT / 2);
        drop(socket);
        until_gone(&child);
    }

    #[test]
    fn b3_a_killed_child_is_reaped_at_once() {
        let (_socket, mut child) = start(None, None, |_| Ok(())).expect("a spawner");
        let told = child.kill();
        end(&mut child, told);
        assert!(!is_there(&child));
    }

    fn is_there(child: &Child) -> bool {
        Path::new(&format!("/proc/{}", child.id())).exists()
    }

    fn until_gone(child: &Child) {
        let begun = Instant::now();
        while is_there(child) {
            assert!(begun.elapsed() < KILL_TIMEOUT, "a zombie is left");
            std::thread::yield_now();
        }
    }
}
