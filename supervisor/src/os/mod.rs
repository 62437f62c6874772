//! The interface to the operating system: the only place that starts a process or asks the kernel about one.
//!
//! This module makes no decisions. Each file wraps a few system calls, so that the folders above deal with children, pipes
//! and directories instead of descriptors and pids. The calls come from `rustix`, which has nearly all of them in safe
//! form (pidfds, and descriptors in messages).

pub(crate) mod cgroup;
mod channel;
pub(crate) mod child;
mod clone_into_cgroup;
pub(crate) mod directory;
pub(crate) mod epolls;
pub(crate) mod host_names;
pub(crate) mod init;
pub(crate) mod machine;
pub(crate) mod memfd;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod pipe;
mod poller;
mod ports;
mod process;
pub(crate) mod readiness;
mod reap;
mod socket_list;
mod spawner;
pub(crate) mod splice;
pub(crate) mod tree;
mod unsent;
pub(crate) mod usage;
pub(crate) mod users;
pub(crate) mod utf8;
