//! Finds every descendant of this process, for trees without a pid namespace.
//!
//! This process is the subreaper of its descendants, so none can leave: a process that loses its parent becomes a child of init.
//! But a tree that keeps forking outruns a process that only kills, so it is stopped first. A pid is never trusted: a process is
//! signalled only through a pidfd that was opened before its parent was looked up, if it is still alive afterwards.

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use libc::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM, c_int};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::sys;

/// Sends TERM and then CONT to every descendant outside of the process group `group`, which is signalled as a group.
pub(crate) fn terminate(group: Pid) {
    let family = family();
    let outside: Vec<_> = family.iter().filter(|&&pid| !is_in(pid, group)).collect();
    for signal in [SIGTERM, SIGCONT] {
        for &&pid in &outside {
            signal_one(pid, &family, signal);
        }
    }
}

/// Kills every descendant. Those of the process group `killed`, which has just been killed, are not stopped first. They are killed
/// once more all the same, because a process may have joined the group since. The children that a process left behind at the
/// moment of its death are for the next call.
pub(crate) fn end(killed: Option<Pid>) {
    let mut halted = HashSet::new();
    let family = loop {
        let family = family();
        let before = halted.len();
        for &pid in &family {
            if halted.contains(&pid) {
                continue;
            }
            if killed.is_some_and(|group| is_in(pid, group)) {
                signal_one(pid, &family, SIGKILL);
            } else if signal_one(pid, &family, SIGSTOP) {
                halted.insert(pid);
            }
        }
        if halted.len() == before {
            break family;
        }
    };
    for &pid in &halted {
        signal_one(pid, &family, SIGKILL);
    }
}

/// Ends every init that this process has made, after the host has ended. Each init ends by itself at the end of its channel, unless
/// it was stopped. Pid 1 of a namespace takes all its processes with it; an init without a namespace is woken, to end its tree.
pub(crate) fn end_inits() {
    let inits: HashSet<_> = numbers("/proc/thread-self/children").into_iter().collect();
    for &init in &inits {
        let signal = if holds_namespace(init) { SIGKILL } else { SIGCONT };
        signal_one(init, &HashSet::new(), signal);
    }
}

/// Whether a child has a second pid, in a pid namespace of its own.
fn holds_namespace(pid: i32) -> bool {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
}

/// Whether a process is in a group.
fn is_in(pid: i32, group: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.group == group.as_raw_nonzero().get())
}

/// Signals a process, if it surely is one of `family`. Returns whether it did.
fn signal_one(pid: i32, family: &HashSet<i32>, signal: c_int) -> bool {
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    let this = getpid().as_raw_nonzero().get();
    let ours = stat(pid).is_some_and(|stat| stat.parent == this || family.contains(&stat.parent));
    ours && sys::pidfd_kill(pidfd.as_fd(), signal).is_ok()
}

/// The descendants of this process, as far as one scan of `/proc` finds them.
fn family() -> HashSet<i32> {
    let mut family = HashSet::new();
    // This process has one thread.
    let mut found = numbers("/proc/thread-self/children");
    while let Some(pid) = found.pop() {
        if family.insert(pid) {
            found.extend(children(pid));
        }
    }
    family
}

/// The children of every thread of a process. A child that starts or ends at this moment may hide another one. The next scan finds
/// it, and a process that loses its parent becomes a child of this process.
fn children(parent: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads
        .flat_map(|thread| numbers(thread.path().join("children")))
        .collect()
}

/// The numbers in a list of processes; none if it cannot be read, because its process has ended.
fn numbers(list: impl AsRef<Path>) -> Vec<i32> {
    let list = fs::read_to_string(list).unwrap_or_default();
    list.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// The start time of this process in the host's `/proc`, in clock ticks.
pub(crate) fn start_of_this() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

struct Stat {
    parent: i32,
    group: i32,
}

/// The state of a process. A process whose first thread has ended may have other threads that run on.
fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent group …`, and a name may hold any bytes, including parentheses and invalid UTF-8.
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(1);
    Some(Stat {
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}
