//! The edge of the system: the only place that starts a process or asks the kernel about one.
//!
//! Nothing here decides anything. Each file wraps a few system calls so that the rooms above speak of children, pipes
//! and directories instead of descriptors and numbers. The calls come from `rustix`, which has all of them in safe form
//! (pidfds, and a `waitid` that keeps real-time signal numbers).

pub(crate) mod child;
pub(crate) mod directory;
pub(crate) mod pipe;
pub(crate) mod readiness;
pub(crate) mod spawn;
