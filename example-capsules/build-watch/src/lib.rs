//! `make` in the background: later calls read its progress, and an interceptor reports its end.
//!
//! `build` returns at once. Each `progress` is an instance of its own and reads on where the one before stopped, because the
//! place, a [`Cursor`], is in the store. No instance has to wait for the end: the host starts one then.

use capsule_sdk::{Command, Cursor, Event, Process, ipc, store};
use serde::{Deserialize, Serialize};
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

/// The label of the process, and the suffix of its events.
const BUILD: &str = "build";
const DONE: &str = "build-watch.v1.done";
/// The keys in the store.
const CURSOR: &str = "cursor";
const REPORT: &str = "report";

capsule_sdk::actions! {
    "build" => build,
    "progress" => progress,
    "report" => report,
    "result" => result,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Build {
    #[serde(default = "everything")]
    targets: Vec<String>,
}

fn everything() -> Vec<String> {
    ["clean", "hello"].map(str::to_owned).into()
}

/// Starts a build in the workspace.
fn build(build: Build) -> Result<()> {
    if let Some(earlier) = Process::find(BUILD)? {
        if earlier.try_wait()?.is_none() {
            return Err("a build runs already".into());
        }
        // So that the label leads to the new build alone.
        earlier.release()?;
    }
    store::delete(CURSOR)?;
    store::delete(REPORT)?;
    let make = Command::new("make")
        .args(["CFLAGS=-Wall"])
        .args(build.targets)
        .label(BUILD)
        .spawn_persistent()?;
    Ok(make.watch(BUILD)?)
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default = "one_minute")]
    wait_ms: u64,
}

fn one_minute() -> u64 {
    60_000
}

#[derive(Serialize)]
struct Progress {
    lines: Vec<String>,
    /// Whether these were the last lines.
    over: bool,
}

/// The lines since the last call of this action. Waits for the first one, if there is none yet.
fn progress(wait: Wait) -> Result<Progress> {
    let cursor: Cursor = store::get_json(CURSOR)?.unwrap_or_default();
    let mut log = started()?.stdout().resume(cursor);
    let first = log.follow().at_most(Duration::from_millis(wait.wait_ms)).lines().next();
    let first = first.filter(|line| !matches!(line, Err(error) if error.is_timeout()));
    let lines = first
        .into_iter()
        .chain(log.lines())
        .collect::<capsule_sdk::Result<_>>()?;
    store::set_json(CURSOR, &log.cursor())?;
    Ok(Progress {
        lines,
        over: log.at_end()?,
    })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    success: bool,
    exit: String,
    /// The lines of the compiler that name a problem.
    problems: Vec<String>,
}

/// The interceptor. The host calls it when the build has ended, with the event as its payload.
fn report(event: Event) -> Result<()> {
    let Event::Exited(exited) = event else {
        return Ok(());
    };
    let problem = |line: &String| line.contains("warning: ") || line.contains("error: ");
    let mut log = Process::attach(&exited.id)?.stderr();
    let report = Report {
        success: exited.status.success(),
        exit: exited.status.to_string(),
        problems: log
            .lines()
            .filter_map(capsule_sdk::Result::ok)
            .filter(problem)
            .collect(),
    };
    store::set_json(REPORT, &report)?;
    // After the store: an instance that gets the message finds the report there.
    Ok(ipc::publish_json(DONE, &report)?)
}

/// What `report` found. Waits for it, if the build still runs.
fn result(wait: Wait) -> Result<Report> {
    started()?;
    // Before the look into the store, so that a report cannot come between the two.
    let done = ipc::subscribe(DONE)?;
    if let Some(report) = store::get_json(REPORT)? {
        return Ok(report);
    }
    match done.recv(Duration::from_millis(wait.wait_ms)) {
        Ok(_) => Ok(store::get_json(REPORT)?.ok_or("another build has begun")?),
        Err(error) if error.is_timeout() => Err("the build still runs".into()),
        Err(error) => Err(error.into()),
    }
}

fn started() -> Result<Process> {
    Ok(Process::find(BUILD)?.ok_or("no build: `build` starts one")?)
}
