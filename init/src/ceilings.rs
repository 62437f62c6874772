//! Bounds the resources that the kernel counts for a user or a namespace and not for a process. So one tree leaves the host and
//! every other tree their part (contract S5, Q5), and cannot get memory that is not counted (R1, R3).
//!
//! All trees of an ordinary user belong to that user, and the kernel adds up the user's resources over all namespaces. So each
//! tree gets less than an eighth of a user's usual limit: eight trees, the most that a principal may have, leave some.
//!
//! A limit that the kernel does not let a namespace's owner lower stays unchanged. This is the case for the IPC namespace of an
//! ordinary user. There the filter of system calls denies IPC objects unless the kernel itself counts the tree's memory.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::process::Resource;

use crate::sys;

/// Of the tree's IPC namespace. In words of `proc(5)`: the kernel's own figures allow a thousand million semaphores and
/// 500 MiB of messages, which belong to no process. These come to a megabyte; a program of today needs one or two sets.
const OF_IPC: [(&str, &[u8]); 2] = [
    ("/proc/sys/kernel/sem", b"250 4096 100 128"),
    ("/proc/sys/kernel/msgmni", b"32"),
];

/// Of the tree's user namespace. A user usually has 128 instances and some 100,000 watches; a program that watches files
/// has one instance.
const OF_USER: [(&str, &[u8]); 2] = [("max_inotify_instances", b"12"), ("max_inotify_watches", b"16384")];

/// Limits of every process of a confined tree, where the host has none lower. But for the last two, each is a limit on what
/// the user has. In turn: signals that wait, of which a host has tens of thousands; bytes in message queues, enough for one
/// of the usual size, of 800 KiB; locked memory, as for keys, of 8 MiB; no priorities above the usual ones.
pub(crate) const LIMITS: [(Resource, &str, u64); 5] = [
    (Resource::Sigpending, "pending signals", 1024),
    (Resource::Msgqueue, "message queues", 96 << 10),
    (Resource::Memlock, "locked memory", 512 << 10),
    (Resource::Rtprio, "real-time priority", 0),
    (Resource::Nice, "nice", 0),
];

/// Where the limits of users are, to be lowered once this process is in the tree's user namespace: the path may not be there
/// by then.
pub(crate) struct Users(Option<OwnedFd>);

/// Lowers the limits of the IPC namespace. To be called by the namespace's owner while the host's `/proc` is still visible.
pub(crate) fn lower_ipc() -> Users {
    for (path, value) in OF_IPC {
        put(
            openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()),
            value,
        );
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Users(openat(CWD, "/proc/sys/user", flags, Mode::empty()).ok())
}

impl Users {
    /// Lowers the limits of the user namespace that this process is in. The process must still have its capabilities there.
    pub(crate) fn lower(self) {
        let Some(folder) = self.0 else { return };
        for (name, value) in OF_USER {
            put(
                openat(&folder, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()),
                value,
            );
        }
    }
}

fn put(file: Result<OwnedFd, Errno>, value: &[u8]) {
    // A limit that cannot be lowered is left, as said above.
    let _: Result<usize, Errno> = file.and_then(|file| write(&file, value));
}

/// Resets the advantages that the host may have given itself: real-time scheduling, a higher priority, a higher priority for the
/// disk. A host that has lowered its own priority keeps its commands at that.
///
/// Always allowed, because it never raises a priority. Does not allocate.
pub(crate) fn usual_priority() {
    sys::usual_scheduling();
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < 0) {
        let _ = rustix::process::setpriority_process(None, 0);
    }
}
