//! The options for the supervision of one process.

use std::time::Duration;

use super::lifecycle::Retention;
use crate::sandbox::ResourceLimits;
use crate::{Overflow, Owner};

/// The options for the supervision of one process, from the request and the limits.
#[derive(Debug)]
pub(crate) struct ProcessOptions {
    /// The size of each stream's ring in bytes.
    pub(crate) ring: usize,
    pub(crate) overflow: Overflow,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) keep_stdin_open: bool,
    pub(crate) abandoned_writes_max: usize,
    /// A full ring ends the process, because later output could not be captured.
    pub(crate) ends_when_full: bool,
    pub(crate) limits: ResourceLimits,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) retention: Retention,
    pub(crate) grace: Duration,
    pub(crate) grace_shutdown: Duration,
    pub(crate) drain_time: Duration,
    pub(crate) owner: Owner,
}

impl ProcessOptions {
    /// Whether the command's stdin is a pipe (contract S7).
    pub(crate) fn wants_stdin(&self) -> bool {
        self.keep_stdin_open || self.stdin.is_some()
    }
}
