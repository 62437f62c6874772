//! The resource limits of a process tree, and how each is enforced (contract R1, R2).

/// Resource limits of a process, which is its whole tree. None is set where a field is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Memory of the whole tree, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Processor time of the whole tree, in seconds.
    pub max_cpu_secs: Option<u64>,
    /// Processes and threads of the whole tree.
    pub max_pids: Option<u32>,
    /// Open files of each process; never more than three quarters of what the host has itself when it starts it.
    pub max_open_files: Option<u32>,
}

/// How a limit is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// By the kernel, for the whole tree: it cannot be exceeded. Of memory, what counts is all that the tree's control group
    /// holds: what init needs, and files that were read, which make room, included.
    Kernel,
    /// By looking at the whole tree, and killing it once it is over. It is looked at every 20 ms, and for memory less often
    /// while it is so far below its limit that it could not get there before the next look. So it may have as much more
    /// memory as it can fill in 20 ms (some 2 GiB a second for each processor), and as much more processor time as it can
    /// use in them (that of every processor). Shared memory counts in full as soon as it is mapped. Sockets in a network of
    /// the tree's own, beyond 64, count for what their buffers could hold, and every open file for a page. What is in sockets
    /// of a shared network is not seen, nor is the time of programs that may not be read and end between two looks.
    Sampled,
    /// By the kernel, for each process on its own; all that is promised of open files.
    PerProcess,
}

/// How a launcher holds each limit; one that it cannot hold refuses the spawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enforcements {
    /// [`ResourceLimits::max_memory_bytes`].
    pub memory: Option<Enforcement>,
    /// [`ResourceLimits::max_cpu_secs`].
    pub cpu: Option<Enforcement>,
    /// [`ResourceLimits::max_pids`].
    pub pids: Option<Enforcement>,
    /// [`ResourceLimits::max_open_files`].
    pub open_files: Option<Enforcement>,
}

impl ResourceLimits {
    /// The limits that init sets for every process of the tree. The host enforces the others from outside.
    ///
    /// `alone`: the tree's user has no other processes in its namespace, so that the kernel counts the tree.
    pub(crate) fn for_each_process(&self, alone: bool) -> capsule_init::Limits {
        capsule_init::Limits {
            address_space: None,
            // For a host that is held up: one process alone is then ended by the kernel, a second late.
            cpu_seconds: self.max_cpu_secs.map(|seconds| seconds.saturating_add(1)),
            processes: self.max_pids.filter(|_| alone).map(u64::from),
            open_files: below_the_hosts(self.max_open_files.map(u64::from)),
        }
    }
}

/// Fewer open files than the host may have itself, even if the request allows more (contract S5).
///
/// The kernel counts for each user the files that are on their way in sockets, and lets a process send more only while the count is
/// below the process's own limit. So a tree that shares the host's user must reach its own limit first. Otherwise the host could
/// start no more commands.
fn below_the_hosts(asked: Option<u64>) -> Option<u64> {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = own.map(|own| own - own / 4);
    match (asked, most) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_no_tree_has_as_many_open_files_as_the_host() {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let own = own.expect("a limit, where tests run");
        for asked in [None, Some(own), Some(u64::MAX)] {
            assert!(below_the_hosts(asked).is_some_and(|most| most < own), "{asked:?}");
        }
        assert_eq!(below_the_hosts(Some(16)), Some(16));
    }
}
