//! Finding every descendant where no namespace holds them together.
//!
//! This process is their reaper, so nothing leaves: who loses its parent becomes a child of ours. But a tree that keeps
//! forking outruns whoever only kills, so it is brought to a halt first. Numbers are never trusted: one is signalled only
//! through a pidfd that was opened before its parent was looked up, and is still alive after.

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;

use libc::{SIGKILL, SIGSTOP, c_int};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::sys;

/// Sends `signal` once to everyone that is there, but for the process group `group`, which has had it.
pub(crate) fn signal(signal: c_int, group: i32) {
    let family = family();
    for &pid in &family {
        if stat(pid).is_some_and(|stat| stat.group != group) {
            signal_one(pid, &family, signal);
        }
    }
}

/// Kills everyone. What a process left behind in the instant of its death is for the next call.
pub(crate) fn end() {
    let mut halted = HashSet::new();
    loop {
        let family = family();
        let before = halted.len();
        for &pid in &family {
            if !halted.contains(&pid) && signal_one(pid, &family, SIGSTOP) {
                halted.insert(pid);
            }
        }
        if halted.len() == before {
            break;
        }
    }
    let family = family();
    for &pid in &family {
        signal_one(pid, &family, SIGKILL);
    }
}

/// Whether it could be signalled, being one of the family for sure.
fn signal_one(pid: i32, family: &HashSet<i32>, signal: c_int) -> bool {
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    let this = getpid().as_raw_nonzero().get();
    let ours = stat(pid).is_some_and(|stat| stat.parent == this || family.contains(&stat.parent));
    ours && sys::pidfd_kill(pidfd.as_fd(), signal).is_ok()
}

/// All that descend from this process, as far as one look at `/proc` tells.
fn family() -> HashSet<i32> {
    let mut family = HashSet::new();
    let mut parents = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            if family.insert(child) {
                parents.push(child);
            }
        }
    }
    family
}

/// The children of every thread of a process. One that comes or goes at this moment may hide another: who looks again
/// finds it, and whoever loses its parent becomes a child of this process.
fn children(parent: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// When this process started, in the host's `/proc`, which says it in ticks.
pub(crate) fn start_of_this() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

struct Stat {
    parent: i32,
    group: i32,
}

/// Of a process, also of a dead one, which may have threads that live on.
fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent group …`, and a name may hold anything, also parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(1);
    Some(Stat {
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}
