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

/// Reads of 64 KiB at least, which together are more than the host keeps of a stream.
const LATE_READS: u32 = 160;

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
    /// How often there was output after the time had passed.
    late_reads: u32,
}

impl Waiting {
    pub(crate) const fn forever() -> Self {
        Self {
            pause: SHORTEST,
            deadline: None,
            exited: false,
            late_reads: 0,
        }
    }

    pub(crate) fn at_most(timeout: Duration) -> Self {
        Self {
            deadline: sys::monotonic().checked_add(timeout),
            ..Self::forever()
        }
    }

    /// There was output. [`Error::WaitTimeout`] if so much came after the time had passed that the process
    /// must still be writing: one that never stops must not hold up the deadline.
    pub(crate) fn had_output(&mut self) -> Result<()> {
        self.pause = SHORTEST;
        if self.deadline.is_some_and(|deadline| deadline <= sys::monotonic()) {
            self.late_reads += 1;
            if self.late_reads > LATE_READS {
                return Err(Error::WaitTimeout);
            }
        }
        Ok(())
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
