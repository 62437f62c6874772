//! The usage of a process tree: processor time and memory (contract X6).
//!
//! If the tree has a control group, both figures are the group's. They include every process that was ever in the group, and init
//! too if it is pid 1. Otherwise the processor time comes from a kernel counter to which every descendant adds, whether its parent
//! waits for it or not. If this user may not have such a counter, it is the command's own processor time. The memory is the
//! command's peak resident size while it runs, and at the end the largest of any process of the tree.
//!
//! A question to the kernel costs some 20 µs, most of it for the text of `/proc/PID/status`. A caller that asks again within
//! [`MAX_AGE`] gets the previous answer, so that a guest which lists its processes in a loop does not make the kernel write that
//! text each time.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::cgroup::Group;
use super::ports;
use super::tree::{Private, TreeSampler, bytes, clock, text};
use super::users::Lease;

/// The usage so far, as far as the kernel reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu: Option<Duration>,
    pub(crate) peak_bytes: Option<u64>,
    /// Whether the kernel ended the tree because it reached its limit. It is known at the end.
    pub(crate) ran_out_of_memory: bool,
}

/// How old an answer may be while the tree runs.
const MAX_AGE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Meter {
    /// The pid in the host's namespace; none for a command that ended before the host could read it.
    os_pid: Option<u32>,
    init_pid: u32,
    private: Private,
    is_live: bool,
    has_group: bool,
    has_memory: bool,
    /// None once closed: an exited process is kept for its output, and keeps nothing open for its usage.
    sources: Mutex<Option<Sources>>,
    last: OnceLock<Usage>,
}

/// The sources of the usage while the tree runs.
#[derive(Debug)]
struct Sources {
    os_pid: Option<u32>,
    init_pid: u32,
    counter: Option<OwnedFd>,
    group: Option<Group>,
    /// The kernel user that only this tree has. It is given back with the rest.
    _lease: Option<Lease>,
    answer: Option<(Instant, Usage)>,
}

impl Meter {
    pub(crate) fn new(
        init_pid: u32,
        os_pid: Option<u32>,
        counter: Option<OwnedFd>,
        group: Option<Group>,
        lease: Option<Lease>,
        private: Private,
    ) -> Self {
        Self {
            os_pid,
            init_pid,
            private,
            is_live: counter.is_some() || group.is_some(),
            has_group: group.is_some(),
            has_memory: group.as_ref().is_some_and(Group::has_memory),
            sources: Mutex::new(Some(Sources {
                os_pid,
                init_pid,
                counter,
                group,
                _lease: lease,
                answer: None,
            })),
            last: OnceLock::new(),
        }
    }

    pub(crate) fn os_pid(&self) -> Option<u32> {
        self.os_pid
    }

    /// Ports on which the tree listens, as [`ports::listening`] finds them; none once it has ended. Blocks.
    pub(crate) fn listening(&self, wanted: Option<u16>) -> io::Result<Option<BTreeSet<u16>>> {
        let ports = match ports::listening(self.init_pid, self.private.list().as_deref(), wanted) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            ports => ports.ok(),
        };
        // By now the number may be another process's.
        let status = self.os_pid.and_then(|pid| read(pid, "status"));
        let is_ours = status.as_deref().and_then(parent) == Some(self.init_pid);
        Ok(ports.filter(|_| is_ours))
    }

    /// Whether CPU time is counted for the whole tree, from its start on.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether the tree has, or had, a control group.
    pub(crate) fn has_group(&self) -> bool {
        self.has_group
    }

    /// As if it had one: a group can be made only on some machines.
    #[cfg(test)]
    pub(crate) const fn set_has_group(&mut self) {
        self.has_group = true;
    }

    /// Whether the processor time of programs that may not be read is counted too. Such programs lose the counter.
    pub(crate) fn misses_nothing(&self) -> bool {
        self.has_group
    }

    /// Whether the kernel counts the memory of the tree, and enforces a limit if there is one.
    pub(crate) fn has_memory(&self) -> bool {
        self.has_memory
    }

    /// The tree's usage. It is at most [`MAX_AGE`] old while the tree runs, and final afterwards.
    pub(crate) fn usage(&self) -> Usage {
        if let Some(last) = self.last.get() {
            return *last;
        }
        let mut sources = self.lock();
        let Some(sources) = &mut *sources else {
            return self.last.get().copied().unwrap_or_default();
        };
        let now = Instant::now();
        match sources.answer {
            Some((at, usage)) if now.saturating_duration_since(at) < MAX_AGE => usage,
            _ => {
                let usage = sources.ask();
                sources.answer = Some((now, usage));
                usage
            }
        }
    }

    /// The processor time at this moment, if there is a counter for it.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        if let Some(last) = self.last.get() {
            return last.cpu;
        }
        self.lock().as_ref()?.counted()
    }

    /// For samples of the processes of the tree, if the kernel does not count them together.
    pub(crate) fn sampler(&self) -> TreeSampler {
        TreeSampler::new(self.init_pid, self.os_pid, self.private.clone())
    }

    /// Fixes the answer from now on. The counter is exact; `at_end` includes only the processes that were waited for.
    pub(crate) fn finish(&self, at_end: Option<Usage>) {
        let at_end = at_end.unwrap_or_default();
        let held = self.lock();
        let Some(sources) = &*held else { return };
        let group = sources.group.as_ref();
        let usage = Usage {
            cpu: sources.counted().max(at_end.cpu),
            peak_bytes: group.and_then(Group::peak).or(at_end.peak_bytes),
            ran_out_of_memory: group.is_some_and(Group::ran_out_of_memory),
        };
        // The first final usage stays.
        let _ = self.last.set(usage);
    }

    /// Lets the kernel kill the whole group of the tree, if it has one.
    pub(crate) fn kill_group(&self) {
        if let Some(group) = self.lock().as_ref().and_then(|sources| sources.group.as_ref()) {
            group.kill();
        }
    }

    /// Closes all sources and removes the group. This takes time, so without a group a caller that waits for the exit does not wait
    /// for this.
    pub(crate) fn close(&self) {
        let sources = self.lock().take();
        // Outside of the lock.
        drop(sources);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sources>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    fn ask(&self) -> Usage {
        let (cpu, peak_of_all) = (self.counted(), self.group.as_ref().and_then(Group::peak));
        let is_live = self.counter.is_some() || self.group.is_some();
        let read = |wanted: bool, file| if wanted { read(self.os_pid?, file) } else { None };
        let stat = read(!is_live, "stat");
        let status = read(!is_live || peak_of_all.is_none(), "status");
        // By now the pid may be another process's.
        let is_ours = status.as_deref().and_then(parent) == Some(self.init_pid);
        let (stat, status) = (stat.filter(|_| is_ours), status.filter(|_| is_ours));
        Usage {
            cpu: cpu.or_else(|| clock(&stat?).map(|(_, time)| time)),
            peak_bytes: peak_of_all.or_else(|| peak(&status?)),
            ran_out_of_memory: false,
        }
    }

    fn counted(&self) -> Option<Duration> {
        if let Some(group) = &self.group {
            return group.cpu();
        }
        let mut value = [0; 8];
        let read = rustix::io::read(self.counter.as_ref()?, &mut value).ok()?;
        (read == value.len()).then(|| Duration::from_nanos(u64::from_ne_bytes(value)))
    }
}

fn read(pid: u32, file: &str) -> Option<String> {
    text(format!("/proc/{pid}/{file}")).ok()
}

/// `VmHWM` of `/proc/PID/status`, in bytes.
fn peak(status: &str) -> Option<u64> {
    bytes(status, "VmHWM:")
}

/// `PPid` of `/proc/PID/status`.
fn parent(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_the_peak_is_read_in_bytes() {
        assert_eq!(
            peak("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 12 kB\n"),
            Some(1234 * 1024)
        );
        assert_eq!(peak("Name:\tx\n"), None);
    }

    #[test]
    fn x6_a_number_that_has_become_anothers_is_known_by_the_parent() {
        assert_eq!(parent("Name:\tx\nPid:\t7\nPPid:\t3\n"), Some(3));
        assert_eq!(parent("Name:\tx\nPid:\t7\n"), None);
    }
}
