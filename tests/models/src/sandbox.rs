//! The types that a launcher returns.

use std::os::fd::OwnedFd;

use crate::os::child::Child;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResourceLimits {
    pub(crate) max_cpu_secs: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}
