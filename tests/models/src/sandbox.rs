//! The types that a launcher returns.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::network::owner_network::OwnerNetwork;
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
    pub(crate) network: Option<Arc<OwnerNetwork>>,
}
