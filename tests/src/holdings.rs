//! What a test process holds, for tests that count it. Counted for the whole process, so such a test is alone in its binary.

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
    /// Counts.
    pub fn now(runtime: &tokio::runtime::Handle) -> Self {
        Self {
            descriptors: descriptors(),
            children: children(),
            tasks: runtime.metrics().num_alive_tasks(),
        }
    }
}

/// What the open descriptors are: the kind, without the number that tells one pipe from another.
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

/// Every child of this process, dead or alive: in place of each spawner its inits, but for the one that waits for its
/// configuration.
pub fn children() -> Vec<u32> {
    let mut all = children_of(std::process::id());
    let spawners: Vec<u32> = all.extract_if(.., |pid| is_spawner(*pid)).collect();
    let inits = spawners.into_iter().flat_map(children_of);
    all.extend(inits.filter(|pid| !waits_for_configuration(*pid)));
    all.sort_unstable();
    all
}

/// Whether what a host prepares for its next command is there.
pub fn is_prepared() -> bool {
    let spawners = children_of(std::process::id())
        .into_iter()
        .filter(|pid| is_spawner(*pid));
    spawners.flat_map(children_of).any(waits_for_configuration)
}

/// Every child of `parent`, dead or alive.
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

/// The only call that an init waits in before it has that, and never later.
pub fn waits_for_configuration(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split_whitespace().next() == Some(&libc::SYS_recvmsg.to_string())
}
