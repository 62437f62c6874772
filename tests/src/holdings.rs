//! What a test process holds, for tests that count it. The counts are of the whole process, so each such test has a
//! binary of its own.

/// What this process holds, as the system counts it.
#[derive(Debug, PartialEq, Eq)]
pub struct Holdings {
    /// As [`descriptors`].
    pub descriptors: Vec<String>,
    /// As [`children`].
    pub children: Vec<u32>,
    /// Tasks of the runtime that are alive.
    pub tasks: usize,
}

impl Holdings {
    /// Counts them now.
    pub fn now(runtime: &tokio::runtime::Handle) -> Self {
        Self {
            descriptors: descriptors(),
            children: children(),
            tasks: runtime.metrics().num_alive_tasks(),
        }
    }
}

/// The open descriptors by kind, without the number that distinguishes two pipes.
pub fn descriptors() -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("proc")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| {
            let target = target.display().to_string();
            let kind = target.split_once(":[").map(|(kind, _)| kind.to_owned());
            kind.unwrap_or(target)
        })
        .collect();
    all.sort();
    all
}

/// Every child of this process, alive or a zombie. Each spawner is replaced by its inits, without the one that waits
/// for its configuration.
pub fn children() -> Vec<u32> {
    let mut all = children_of(std::process::id());
    let spawners: Vec<u32> = all.extract_if(.., |pid| is_spawner(*pid)).collect();
    let inits = spawners.into_iter().flat_map(children_of);
    all.extend(inits.filter(|pid| !waits_for_configuration(*pid)));
    all.sort_unstable();
    all
}

/// Whether the host has completed the preparations for its next command.
pub fn is_prepared() -> bool {
    let spawners = children_of(std::process::id())
        .into_iter()
        .filter(|pid| is_spawner(*pid));
    spawners.flat_map(children_of).any(waits_for_configuration)
}

/// Every child of `parent`, alive or a zombie.
pub fn children_of(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned();
            (of == parent).then_some(pid)
        })
        .collect()
}

fn is_spawner(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "capsule-init\n")
}

/// The system call in which an init waits before it has its configuration, and in which it never waits later.
pub fn waits_for_configuration(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split_whitespace().next() == Some(&libc::SYS_recvmsg.to_string())
}
