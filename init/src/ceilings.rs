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

/// The limits of the tree's IPC namespace, as in `proc(5)`. The kernel's defaults allow a thousand million semaphores
/// and 500 MiB of messages, which no process's memory includes. These limits allow one megabyte. A modern program needs
/// one or two sets of semaphores.
const OF_IPC: [(&str, &[u8]); 2] = [
    ("/proc/sys/kernel/sem", b"250 4096 100 128"),
    ("/proc/sys/kernel/msgmni", b"32"),
];

/// The limits of the tree's user namespace. A user usually has 128 instances and some 100,000 watches. A program that
/// watches files has one instance.
const OF_USER: [(&str, &[u8]); 2] = [("max_inotify_instances", b"12"), ("max_inotify_watches", b"16384")];

/// The limits of every process of a confined tree, unless the host's own limits are lower. All but the last two limit
/// what the user has. Pending signals: a host has tens of thousands. Message queues: bytes, enough for one queue of the
/// usual size; the usual limit is 800 KiB. Locked memory, such as keys: the usual limit is 8 MiB. The last two forbid
/// priorities above the usual ones.
pub(crate) const LIMITS: [(Resource, &str, u64); 5] = [
    (Resource::Sigpending, "pending signals", 1024),
    (Resource::Msgqueue, "message queues", 96 << 10),
    (Resource::Memlock, "locked memory", 512 << 10),
    (Resource::Rtprio, "real-time priority", 0),
    (Resource::Nice, "nice", 0),
];

/// The folder of the user namespace's limits. It is opened early, because its path may not exist when this process is
/// in the tree's user namespace.
pub(crate) struct Users(Option<OwnedFd>);

/// Lowers the limits of the IPC namespace. The owner of the namespace must call it, while the host's `/proc` is still
/// visible.
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
    // A limit that cannot be lowered stays unchanged; the header says why.
    let _: Result<usize, Errno> = file.and_then(|file| write(&file, value));
}

/// Resets the priorities that the host may have given itself: real-time scheduling, a higher priority for the
/// processor, a higher priority for the disk. If the host has lowered its own priority, its commands keep the lower
/// one.
///
/// It never raises a priority, so the kernel always allows it. Does not allocate.
pub(crate) fn usual_priority() {
    sys::usual_scheduling();
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < 0) {
        let _ = rustix::process::setpriority_process(None, 0);
    }
}
