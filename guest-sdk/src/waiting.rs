//! How to wait for output while the host offers nothing to wait on: ask for the exit with a small
//! time, and look again.
//!
//! Asking for the exit has one merit over sleeping: it returns at once when the process ends,
//! which is when its last output can be read. The time doubles while nothing comes, so a quiet
//! process costs few calls and a busy one is followed closely.

use crate::{Error, ProcessId, Result, millis::millis, sys, wit::process};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);

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

    /// Something came.
    pub(crate) const fn reset(&mut self) {
        self.pause = SHORTEST;
    }

    /// Nothing came: lets some time pass. [`Error::WaitTimeout`] if none is left.
    pub(crate) fn pause(&mut self, id: &ProcessId) -> Result<()> {
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
            // would return at once, so it is no pause any more.
            return sys::sleep(pause).map_err(|error| {
                if error == sys::Error::Cancelled {
                    Error::Cancelled
                } else {
                    Error::Unknown(error.to_string())
                }
            });
        }
        match process::wait(id.expose(), millis(pause)).map_err(Error::from) {
            Err(Error::WaitTimeout) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.exited = true;
                Ok(())
            }
        }
    }
}
