//! Looks at what a tree uses, where the kernel does not hold its limits (contract R1), and ends it when it is over one.

use std::sync::Arc;
use std::time::Duration;

use super::lifecycle::End;
use super::process::Process;
use crate::os::usage::Meter;
use crate::sandbox::ResourceLimits;

/// How often. A tree can fill some 40 MiB in this time, and what runs shorter may be missed in part.
const EVERY: Duration = Duration::from_millis(20);

/// What there is to look at, if anything: what the kernel does not hold.
pub(crate) fn wanted(limits: &ResourceLimits, meter: &Meter) -> Option<ResourceLimits> {
    let limits = ResourceLimits {
        max_memory_bytes: limits.max_memory_bytes.filter(|_| !meter.has_memory()),
        ..*limits
    };
    (limits.max_memory_bytes.is_some() || limits.max_cpu_secs.is_some()).then_some(limits)
}

/// Ends with the process.
pub(crate) async fn run(process: Arc<Process>, limits: ResourceLimits) {
    tokio::select! {
        end = watch(&process, &limits) => process.end(end, Duration::ZERO),
        _ = process.exited() => {}
    }
}

async fn watch(process: &Process, limits: &ResourceLimits) -> End {
    let mut look = process.meter.look();
    loop {
        let limits = *limits;
        let misses = !process.meter.misses_nothing();
        // Off the threads that everybody else's calls run on: how long a look takes is the guest's to choose, by how many
        // processes it has.
        let looking = tokio::task::spawn_blocking(move || {
            let memory = limits.max_memory_bytes.map(|_| look.memory());
            let cpu = limits
                .max_cpu_secs
                .map(|_| if misses { look.cpu() } else { Duration::ZERO });
            (look, memory, cpu)
        });
        // The runtime is going down, and the process with it.
        let Ok((looked, memory, cpu)) = looking.await else {
            return std::future::pending().await;
        };
        look = looked;
        if memory > limits.max_memory_bytes {
            return End::LimitMemory;
        }
        // The kernel's counter sees also what is gone before anybody looks, but the kernel takes it away from a program
        // that may not be read.
        let used = cpu.map(|cpu| cpu.max(process.meter.cpu().unwrap_or_default()));
        if limits
            .max_cpu_secs
            .is_some_and(|max| used >= Some(Duration::from_secs(max)))
        {
            return End::LimitCpu;
        }
        tokio::time::sleep(EVERY).await;
    }
}
