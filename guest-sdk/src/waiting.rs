//! Waits for output with a deadline, which the host's `poll` does not have: waits for the exit for a
//! short time, and checks for output again.
//!
//! Unlike a sleep, a wait for the exit returns at once when the process ends, which is when its last
//! output can be read. The time doubles while there is no output, so a quiet process costs few calls
//! and the output of a busy one is seen soon.

use crate::{
    Error, Result,
    millis::millis,
    sys,
    wit::process::{ErrorCode, ExitInfo},
};
use std::time::Duration;

pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
pub(crate) const LONGEST: Duration = Duration::from_millis(100);

/// Waits for an exit, at most `slice`. If the handle is closed, there is no exit to wait for, and a
/// pause takes its place, because a caller that polls must not do so without one.
pub(crate) fn pass(slice: Duration, wait: impl FnOnce(u64) -> std::result::Result<ExitInfo, ErrorCode>) -> Result<()> {
    match wait(millis(slice)).map_err(Error::from) {
        Ok(_) | Err(Error::WaitTimeout) => Ok(()),
        Err(Error::Closed) => Ok(sys::sleep(slice.min(LONGEST))?),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pause: Duration,
    /// In the time of [`sys::monotonic`].
    deadline: Option<Duration>,
    exited: bool,
}

impl Waiting {
    pub(crate) const fn forever() -> Self {
        Self {
            pause: SHORTEST,
            deadline: None,
            exited: false,
        }
    }

    pub(crate) fn at_most(timeout: Duration) -> Self {
        Self {
            deadline: sys::monotonic().checked_add(timeout),
            ..Self::forever()
        }
    }

    /// There was output.
    pub(crate) const fn reset(&mut self) {
        self.pause = SHORTEST;
    }

    /// Whether there is no deadline.
    pub(crate) const fn is_forever(&self) -> bool {
        self.deadline.is_none()
    }

    /// There was no output: waits for a while, in which `wait` notices an exit.
    /// [`Error::WaitTimeout`] if no time is left.
    pub(crate) fn pause(&mut self, wait: impl FnOnce(u64) -> std::result::Result<ExitInfo, ErrorCode>) -> Result<()> {
        let left = match self.deadline {
            Some(deadline) => deadline.saturating_sub(sys::monotonic()),
            None => Duration::MAX,
        };
        if left.is_zero() {
            return Err(Error::WaitTimeout);
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(LONGEST);
        if self.exited {
            // The host is still emptying the pipe into a ring that was full. Waiting for the exit
            // would return at once, and would not be a pause.
            return Ok(sys::sleep(pause)?);
        }
        match wait(millis(pause)).map_err(Error::from) {
            Err(Error::WaitTimeout) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.exited = true;
                Ok(())
            }
        }
    }
}
