//! What a test process holds, for tests that count it. Counted for the whole process, so such a test is alone in its binary.

/// What this process holds, as the system counts it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) descriptors: Vec<String>,
    pub(crate) children: Vec<u32>,
    pub(crate) tasks: usize,
}

impl Holdings {
    pub(crate) fn now(runtime: &tokio::runtime::Handle) -> Self {
        Self {
            descriptors: descriptors(),
            children: children(),
            tasks: runtime.metrics().num_alive_tasks(),
        }
    }
}

/// What the open descriptors are: the kind, without the number that tells one pipe from another.
pub(crate) fn descriptors() -> Vec<String> {
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

/// Every child of this process, dead or alive.
pub(crate) fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let mut all: Vec<u32> = std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned();
            (parent == own).then_some(pid)
        })
        .collect();
    all.sort_unstable();
    all
}
