//! The processes of a tree and their memory, from `/proc`.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process. Its number may be given to another one when it has ended, and the time of its start tells both apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: i32,
    parent: i32,
    start: u64,
}

impl Process {
    /// The process with this number, unless there is none.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program, which is in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    /// The memory in bytes that would be free without the process: its own and shared memory, in RAM or swapped out, without files.
    /// What two processes share counts for both.
    fn memory(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let parts = status.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_counted = ["RssAnon", "RssShmem", "VmSwap"].contains(&name);
            is_counted.then(|| value.trim().trim_end_matches(" kB").parse::<u64>().ok())?
        });
        parts.sum::<u64>().saturating_mul(1024)
    }

    /// Kills it. It is no error if it has ended, or if this program may not.
    pub(crate) fn kill(self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        // The number may have become another process's since the list was made. From here on it cannot.
        if Self::read(self.pid).is_some_and(|now| now.start == self.start) {
            // It may have ended.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// All processes below this one, directly or indirectly.
pub(crate) fn descendants() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = pids.filter_map(Process::read).collect();
    let mut known = BTreeSet::from([std::process::id().cast_signed()]);
    let mut found: Vec<Process> = Vec::new();
    // A child may come before its parent in the list.
    loop {
        let next: Vec<Process> = all
            .iter()
            .filter(|process| known.contains(&process.parent) && !known.contains(&process.pid))
            .copied()
            .collect();
        if next.is_empty() {
            return found;
        }
        known.extend(next.iter().map(|process| process.pid));
        found.extend(next);
    }
}

/// The memory of these processes in bytes.
pub(crate) fn memory(processes: &[Process]) -> u64 {
    processes.iter().map(|process| process.memory()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_parent() {
        let this = Process::read(std::process::id().cast_signed()).unwrap();
        assert_eq!(this.parent, std::os::unix::process::parent_id().cast_signed());
        let before = this.memory();
        let block = vec![1_u8; 64 << 20];
        assert!(this.memory() >= before + (60 << 20), "{before}");
        drop(block);
    }
}
