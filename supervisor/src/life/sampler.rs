//! Samples the usage of a tree whose limits the kernel does not enforce (contract R1), and ends a tree that exceeds one.
//!
//! Every process has a limit of its memory by default (R3), and there may be thousands of processes, most of them idle. A tree
//! takes time to fill memory, so a tree that is far from its limit is sampled as seldom as its limit allows. Between two samples
//! a tree can fill at most half of its remaining memory, at [`FILL`] for each processor. So the samples become more frequent as
//! the tree comes near its limit, and the tree exceeds it by at most the memory that it can fill in [`EVERY`], as if it had been
//! sampled all the time. A tree with gigabytes left is skipped if the free memory of the whole machine has not shrunk by a part
//! of that since the last sample.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use super::lifecycle::End;
use super::process::Process;
use crate::os::machine;
use crate::os::usage::Meter;
use crate::sandbox::ResourceLimits;

/// The shortest interval between two samples. A tree can fill some 40 MiB in this time, and a process that lives for less may be
/// missed in part.
const EVERY: Duration = Duration::from_millis(20);

/// The longest interval between two samples.
const SELDOM: Duration = Duration::from_secs(2);

/// The bytes that one processor fills in a second. If all processors do so, memory itself is the limit.
const FILL: u64 = 2 << 30;
const FILLING: u64 = 16;

/// From this interval on, the machine's free memory is checked before the tree.
const FAR: Duration = Duration::from_millis(200);

/// The most times that a tree is skipped in a row: memory that other programs release may hide the memory that the tree takes.
const PASSES: u32 = 8;

/// The same if no processor time was counted since the last sample. Such a tree is idle, unless it runs a program that may not be
/// read, whose time the kernel does not count.
const IDLE_PASSES: u32 = 60;

/// How long a tree needs to fill half of `left`.
fn time_to_fill(left: u64) -> Duration {
    static PROCESSORS: LazyLock<u64> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        u64::try_from(processors).map_or(FILLING, |processors| processors.min(FILLING))
    });
    let in_a_milli = (FILL * *PROCESSORS / 1000).max(1);
    Duration::from_millis(left / 2 / in_a_milli).clamp(EVERY, SELDOM)
}

/// The state of a tree's memory as of its last sample.
struct Memory {
    max: u64,
    left: u64,
    available: Option<u64>,
    /// The processor time that the tree had used, if it is counted.
    cpu: Option<Duration>,
    passes: u32,
}

impl Memory {
    /// The state before the first sample: a command begins with no memory.
    const fn new(max: u64) -> Self {
        Self {
            max,
            left: max,
            available: None,
            cpu: None,
            passes: 0,
        }
    }

    /// Whether the tree can be skipped, because the machine's free memory has shrunk by little compared to what the tree may still
    /// use. `cpu` is the processor time that the tree has used, if it is counted.
    fn is_far(&mut self, cpu: Option<Duration>) -> bool {
        let (Some(then), true) = (self.available, time_to_fill(self.left) >= FAR) else {
            return false;
        };
        let taken = machine::available().map_or(u64::MAX, |now| then.saturating_sub(now));
        self.passes += 1;
        let passes = if cpu.is_some() && cpu == self.cpu {
            IDLE_PASSES
        } else {
            PASSES
        };
        self.passes < passes && taken < self.left / 4
    }

    /// `false` means that the tree has more than its limit.
    fn seen(&mut self, used: u64, cpu: Option<Duration>) -> bool {
        self.cpu = cpu;
        self.left = self.max.saturating_sub(used);
        self.passes = 0;
        self.available = (time_to_fill(self.left) >= FAR).then(machine::available).flatten();
        used <= self.max
    }
}

/// The limits that the kernel does not enforce, if any. These are sampled.
pub(crate) fn wanted(limits: &ResourceLimits, meter: &Meter) -> Option<ResourceLimits> {
    let limits = ResourceLimits {
        max_memory_bytes: limits.max_memory_bytes.filter(|_| !meter.has_memory()),
        ..*limits
    };
    (limits.max_memory_bytes.is_some() || limits.max_cpu_secs.is_some()).then_some(limits)
}

/// Samples until the process ends.
pub(crate) async fn run(process: Arc<Process>, limits: ResourceLimits) {
    tokio::select! {
        end = watch(&process, &limits) => process.end(end, Duration::ZERO),
        _ = process.exited() => {}
    }
}

async fn watch(process: &Process, limits: &ResourceLimits) -> End {
    let mut look = process.meter.sampler();
    let mut memory = limits.max_memory_bytes.map(Memory::new);
    let max_cpu = limits.max_cpu_secs.map(Duration::from_secs);
    loop {
        let until = memory.as_ref().map_or(EVERY, |memory| time_to_fill(memory.left));
        tokio::time::sleep(if max_cpu.is_some() { EVERY } else { until }).await;
        // Read before the sample, so that the time used meanwhile counts as used after it.
        let counted = process.meter.cpu();
        let wants_memory = memory.as_mut().is_some_and(|memory| !memory.is_far(counted));
        let wants_cpu = max_cpu.is_some() && !process.meter.misses_nothing();
        let (mut used, mut cpu) = (None, Duration::ZERO);
        if wants_memory || wants_cpu {
            // On a thread for blocking work, because the guest determines how long a sample takes, by the number of its
            // processes.
            let looking = tokio::task::spawn_blocking(move || {
                let used = wants_memory.then(|| look.memory());
                let cpu = if wants_cpu { look.cpu() } else { Duration::ZERO };
                (look, used, cpu)
            });
            // The runtime is ending, and so is the process.
            let Ok(looked) = looking.await else {
                return std::future::pending().await;
            };
            (look, used, cpu) = looked;
        }
        if let (Some(memory), Some(used)) = (&mut memory, used)
            && !memory.seen(used, counted)
        {
            return End::LimitMemory;
        }
        // The kernel's counter includes processes that end before a sample sees them, but the kernel closes it for a program that
        // may not be read.
        if max_cpu.is_some_and(|max| cpu.max(process.meter.cpu().unwrap_or_default()) >= max) {
            return End::LimitCpu;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_a_tree_is_looked_at_the_closer_it_is_to_its_limit() {
        assert_eq!(time_to_fill(0), EVERY);
        assert_eq!(time_to_fill(32 << 20), EVERY);
        assert_eq!(time_to_fill(u64::MAX), SELDOM);
        let gibibyte = time_to_fill(1 << 30);
        assert!(gibibyte <= Duration::from_millis(250), "{gibibyte:?}");
    }

    #[test]
    fn r1_a_tree_close_to_its_limit_is_never_passed_over() {
        let mut memory = Memory::new(64 << 20);
        assert!(memory.seen(60 << 20, None) && !memory.is_far(None));
        assert!(memory.seen(64 << 20, None) && !memory.seen((64 << 20) + 1, None));
    }

    #[test]
    fn r1_a_tree_far_from_its_limit_is_looked_at_all_the_same() {
        let (used, more) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(2)));
        for (then, now, passes) in [
            (None, None, PASSES),
            (used, more, PASSES),
            (used, None, PASSES),
            (used, used, IDLE_PASSES),
        ] {
            let mut memory = Memory::new(u64::MAX / 2);
            assert!(!memory.is_far(now), "before the first look");
            assert!(memory.seen(0, then));
            assert!((1..passes).all(|_| memory.is_far(now)), "{then:?} {now:?}");
            assert!(!memory.is_far(now), "{then:?} {now:?}");
        }
    }
}
