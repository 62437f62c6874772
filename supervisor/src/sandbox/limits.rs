//! The resource limits of a process tree, and how each is enforced (contract R1, R2).

/// Resource limits of a process, which is its whole tree. A field without a value sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Memory of the whole tree, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Processor time of the whole tree, in seconds.
    pub max_cpu_secs: Option<u64>,
    /// Processes and threads of the whole tree.
    pub max_pids: Option<u32>,
    /// Open files of each process. The launcher gives at most three quarters of the number that the host itself may
    /// have at the start.
    pub max_open_files: Option<u32>,
}

/// How a limit is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// The kernel enforces it for the whole tree, and the tree cannot exceed it. For memory, everything counts that the
    /// tree's control group holds. This includes the memory of init, and the page cache, which the kernel frees when
    /// the group needs room.
    Kernel,
    /// The host samples the whole tree, and kills it when the tree exceeds the limit. A sample is taken every 20 ms.
    /// For memory it is taken less often while the tree is so far below its limit that it could not reach the limit
    /// before the next sample. So the tree may exceed a limit on memory by what it can fill in 20 ms (some 2 GiB a
    /// second for each processor), and a limit on processor time by what every processor gives it in 20 ms. Shared
    /// memory counts in full as soon as it is mapped, and every open file counts as a page. In a private network, each
    /// socket beyond 128 counts as what its buffers could hold, unless the kernel shows that they are empty; all sockets
    /// of the network count for each of its trees. The sample does not include data in sockets of the host's network,
    /// nor the time of programs that may not be read and that end between two samples.
    Sampled,
    /// The kernel enforces it for each single process. Limits of open files are never enforced for the whole tree.
    PerProcess,
}

/// How a launcher enforces each limit. A request for a limit without an enforcement is refused.
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
            // If the host is delayed, the kernel ends each process by itself, one second later.
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
