//! How processes outlive instances: a process that counts lines, for fresh instances that remember nothing.

use std::time::Duration;

use capsule_sdk::{Command, ExitStatus, Process, ProcessId};

use crate::Result;

// ANCHOR: start
/// Answers each line with the number of lines that it has read.
const SCRIPT: &str = "n=0; while read -r line; do n=$((n + 1)); echo $n; done";

/// Starts the process. It runs on when the call has ended.
pub(crate) fn start() -> Result<ProcessId> {
    let counter = Command::new("sh")
        .args(["-c", SCRIPT])
        .keep_stdin_open(true)
        .find_or_spawn("counter")?;
    Ok(counter.id().clone())
}
// ANCHOR_END: start

// ANCHOR: count
/// Another call, so another instance. It finds the process by its label.
pub(crate) fn count() -> Result<u64> {
    let counter = Process::find("counter")?.ok_or("no counter runs: call `start` first")?;
    let mut output = counter.stdout();
    // Leaves out the answers to earlier calls.
    output.skip_available()?;
    counter.write(b"\n")?;
    let answer = output.read_text_until("\n", Duration::from_secs(10))?;
    Ok(answer.trim_end().parse()?)
}
// ANCHOR_END: count

// ANCHOR: stop
/// Ends the process with every process that it started.
pub(crate) fn stop() -> Result<ExitStatus> {
    let counter = Process::find("counter")?.ok_or("no counter runs: call `start` first")?;
    Ok(counter.stop(None)?)
}
// ANCHOR_END: stop
