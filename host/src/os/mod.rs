//! The edge of the system: the only place that starts a process or asks the kernel about one.
//!
//! Nothing here decides anything. Each file wraps a few system calls so that the rooms above speak of children, pipes
//! and directories instead of descriptors and numbers. The calls come from `rustix`, which has nearly all of them in safe
//! form (pidfds, and descriptors in messages).

#[cfg(target_os = "linux")]
pub(crate) mod birth;
pub(crate) mod cgroup;
#[cfg(target_os = "linux")]
pub(crate) mod channel;
#[cfg(target_os = "linux")]
pub(crate) mod child;
#[cfg(target_os = "linux")]
pub(crate) mod directory;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
pub(crate) mod epolls;
#[cfg(target_os = "linux")]
pub(crate) mod init;
pub(crate) mod machine;
#[cfg(target_os = "linux")]
pub(crate) mod memfd;
pub(crate) mod pipe;
mod poller;
#[cfg(target_os = "linux")]
pub(crate) mod process;
pub(crate) mod readiness;
#[cfg(target_os = "linux")]
mod spawner;
pub(crate) mod tree;
pub(crate) mod usage;
pub(crate) mod users;
pub(crate) mod utf8;

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{child, directory, epolls, init, memfd};
