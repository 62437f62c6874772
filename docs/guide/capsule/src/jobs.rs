//! Waiting and events: a call that waits, and an interceptor that the host calls when a process has ended.

use std::time::Duration;

use capsule_sdk::{Command, Event, ExitStatus, Process, ipc, store};
use serde::Deserialize;

use crate::Result;

const LABEL: &str = "job";

/// The key of the store for what `report` found, and the topic by which it tells of it.
const REPORT: &str = "jobs/report";
const REPORTED: &str = "guide.v1.reported";

// ANCHOR: job
/// Starts a process, and asks for a message when it ends.
pub(crate) fn job() -> Result<()> {
    store::delete(REPORT)?;
    let job = Command::new("sh")
        .args(["-c", "read -r line; exit 3"])
        .label(LABEL)
        .keep_stdin_open(true)
        .spawn_persistent()?;
    job.watch(None)?;
    Ok(())
}
// ANCHOR_END: job

// ANCHOR: wait
#[derive(Deserialize)]
pub(crate) struct Wait {
    ms: u64,
}

/// Waits for the exit, for a bounded time. The process runs on when the time is over.
pub(crate) fn wait(wait: Wait) -> Result<Option<ExitStatus>> {
    let job = Process::find(LABEL)?.ok_or("no job: call `job` first")?;
    match job.wait(Duration::from_millis(wait.ms)) {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.is_timeout() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
// ANCHOR_END: wait

// ANCHOR: report
/// The interceptor. The host calls it with the event, also when no other instance is alive.
pub(crate) fn report(event: Event) -> Result<()> {
    if let Event::Exited(exited) = event {
        store::set_json(REPORT, &format!("{}, {}", exited.status, exited.reason.as_str()))?;
        ipc::publish(REPORTED, "{}")?;
    }
    Ok(())
}
// ANCHOR_END: report

// ANCHOR: result
/// Lets the process end, and returns what `report` stored.
pub(crate) fn result() -> Result<String> {
    // Before the process can end, so that the message cannot be missed.
    let reported = ipc::subscribe(REPORTED)?;
    Process::find(LABEL)?.ok_or("no job: call `job` first")?.close_stdin()?;
    reported.recv(Duration::from_secs(10))?;
    Ok(store::get_json(REPORT)?.ok_or("another job has begun")?)
}
// ANCHOR_END: result
