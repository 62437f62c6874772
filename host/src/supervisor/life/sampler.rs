//! Looks at what a tree uses, where the kernel does not hold its limits (contract R1), and ends it when it is over one.

use std::sync::Arc;
use std::time::Duration;

use super::lifecycle::End;
use super::process::Process;
use crate::sandbox::ResourceLimits;

/// How often. A tree can fill some 40 MiB in this time, and what runs shorter may be missed in part.
const EVERY: Duration = Duration::from_millis(20);

/// Whether there is anything to look at.
pub(crate) fn is_wanted(limits: &ResourceLimits) -> bool {
    limits.max_memory_bytes.is_some() || limits.max_cpu_secs.is_some()
}

/// Ends with the process.
pub(crate) async fn run(process: Arc<Process>, limits: ResourceLimits) {
    tokio::select! {
        end = watch(&process, &limits) => process.end(end, Duration::ZERO),
        _ = process.exited() => {}
    }
}

async fn watch(process: &Process, limits: &ResourceLimits) -> End {
    let Some(mut look) = process.meter.look() else {
        return std::future::pending().await;
    };
    loop {
        if limits.max_memory_bytes.is_some_and(|max| look.memory() > max) {
            return End::LimitMemory;
        }
        if let Some(max) = limits.max_cpu_secs.map(Duration::from_secs) {
            // The kernel's counter sees also what is gone before anybody looks, but the kernel takes it away from a
            // program that may not be read.
            let counted = process.meter.usage().cpu.unwrap_or_default();
            if counted.max(look.cpu()) >= max {
                return End::LimitCpu;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
