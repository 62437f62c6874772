//! The memory of the machine: how much this host may use, and how much of it is free (contract R3).
//!
//! The sampler asks for the free memory for each tree that is far from its limit, perhaps for thousands. The kernel needs some
//! 20 µs to answer, so the answer is kept for a moment and shared.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tree::{bytes, text};

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_millis(20);

/// The total memory, in bytes: the machine's, or the limit of this process's control group, as in a container. None if the kernel
/// reports neither.
pub(crate) fn memory() -> Option<u64> {
    let total = bytes(&text("/proc/meminfo").ok()?, "MemTotal:")?;
    Some(own_group().map_or(total, |limit| limit.min(total)))
}

/// The limit of this process's control group, as seen within a container: the root of the mounted hierarchy.
fn own_group() -> Option<u64> {
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    files.into_iter().find_map(|file| text(file).ok()?.trim().parse().ok())
}

/// The memory that programs could still get, in bytes, swap included. The figure is at most [`MAX_AGE`] old. None if the kernel
/// does not report it.
pub(crate) fn available() -> Option<u64> {
    static LAST: Mutex<Option<(Instant, Option<u64>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some((at, answer)) = *last
        && now.saturating_duration_since(at) < MAX_AGE
    {
        return answer;
    }
    let answer = text("/proc/meminfo").ok().and_then(|info| left(&info));
    *last = Some((now, answer));
    answer
}

fn left(info: &str) -> Option<u64> {
    Some(bytes(info, "MemAvailable:")?.saturating_add(bytes(info, "SwapFree:").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r3_what_is_left_is_memory_and_swap() {
        let info = "MemTotal:       24683664 kB\nMemFree:  1 kB\nMemAvailable:   1000 kB\nSwapFree:   24 kB\n";
        assert_eq!(left(info), Some(1 << 20));
        assert_eq!(left("MemFree: 1 kB\n"), None);
    }
}
