//! What stands for the filters on a Unix that is not Linux. A launcher that confines cannot be made there.

use std::os::fd::OwnedFd;

use capsule_init::Instruction;

/// There are none.
#[derive(Debug)]
pub(crate) struct Filters(std::convert::Infallible);

impl Filters {
    pub(crate) fn new(_network: bool) -> Result<Self, &'static str> {
        Err("commands can be confined on Linux only")
    }

    pub(crate) fn of(&self, _memory_is_sampled: bool, _workspace_is_mapped: bool) -> &[Instruction] {
        match self.0 {}
    }
}

pub(crate) fn scopes() -> Option<OwnedFd> {
    None
}

pub(crate) fn has_landlock() -> bool {
    false
}
