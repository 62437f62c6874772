//! `cpu-ms` and `mem-bytes-peak` are set while the process runs and after its exit, and are plausible.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let script = "x=$(head -c 30000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo done; read y < gate";
    output("mkfifo gate")?;
    let id = start(script)?;
    let idle = start("sleep 1000")?;
    printed(&id, "done")?;
    let live = status(&id)?;
    let (cpu, peak) = (live.cpu_ms.unwrap_or(0), live.mem_bytes_peak.unwrap_or(0));
    // A shell needs at least a tenth of a second to count to 400000, even on the fastest machines.
    check!(cpu >= 30, "cpu-ms is {:?} while it runs", live.cpu_ms);
    check!(
        peak >= 30_000_000,
        "mem-bytes-peak is {:?} while it runs",
        live.mem_bytes_peak
    );
    let other = status(&idle)?;
    check!(
        other.cpu_ms.is_some_and(|ms| ms < cpu) && other.mem_bytes_peak.is_some_and(|bytes| bytes < 30_000_000),
        "a process that did nothing: {other:?}"
    );
    output("echo > gate")?;
    exit_of(&id)?;
    let last = status(&id)?;
    check!(
        last.cpu_ms.is_some_and(|ms| ms >= cpu) && last.mem_bytes_peak.is_some_and(|bytes| bytes >= 30_000_000),
        "after the exit: {:?}, {:?}",
        last.cpu_ms,
        last.mem_bytes_peak
    );
    check!(status(&id)?.cpu_ms == last.cpu_ms, "it still grows after the exit");
    Ok(format!("{:?} ms, {:?} bytes", last.cpu_ms, last.mem_bytes_peak))
}
