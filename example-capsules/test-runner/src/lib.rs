//! Runs the scripts in `tests/` of the workspace, as many at once as the host allows, and returns a table.
//!
//! A user has a limit of processes (8, unless the embedder says otherwise), over all capsules and calls. So the runner does not count
//! on a number: it starts tests until the host refuses one, and goes on when one of its own has ended. Each test is a tree of
//! processes that ends as a whole, so a test that hangs leaves nothing behind.

use capsule_sdk::{Child, Command, Error as HostError, Killed, ResourceLimits, Source, Timer, select, sys};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, error::Error, time::Duration};

#[cfg(test)]
mod tests;

capsule_sdk::actions! {
    "run" => run,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Run {
    /// How long one test may take.
    #[serde(default = "five_seconds")]
    timeout_ms: u64,
}

fn five_seconds() -> u64 {
    5_000
}

#[derive(Debug, Serialize)]
struct Report {
    table: Vec<Row>,
    passed: usize,
    failed: usize,
    /// The most tests that ran at once.
    at_once: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    test: String,
    verdict: Verdict,
    /// What a test that did not pass wrote.
    #[serde(skip_serializing_if = "String::is_empty")]
    output: String,
    ms: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Passed,
    Failed,
    TimedOut,
}

/// Runs all tests.
fn run(run: Run) -> Result<Report> {
    let timeout = Duration::from_millis(run.timeout_ms);
    let mut waiting = find()?;
    let mut running: Vec<Test> = Vec::new();
    let mut table: Vec<Row> = Vec::new();
    let mut at_once = 0;
    while !waiting.is_empty() || !running.is_empty() {
        let is_full = !start_next(&mut waiting, &mut running, timeout)?;
        if is_full {
            wait_for_one(&running)?;
        }
        for mut test in std::mem::take(&mut running) {
            match test.finished()? {
                Some(row) => table.push(row),
                None => running.push(test),
            }
        }
        at_once = at_once.max(running.len());
    }
    table.sort_by(|one, other| one.test.cmp(&other.test));
    let passed = table.iter().filter(|row| row.verdict == Verdict::Passed).count();
    Ok(Report {
        passed,
        failed: table.len() - passed,
        table,
        at_once,
    })
}

/// The tests, by their paths.
fn find() -> Result<VecDeque<String>> {
    let output = Command::new("find").args(["tests", "-name", "*.sh"]).output()?;
    if !output.status.success() {
        return Err(format!("no folder `tests` in the workspace: {}", output.stderr_lossy().trim()).into());
    }
    let mut tests: Vec<_> = output.stdout_lossy().lines().map(str::to_owned).collect();
    tests.sort();
    Ok(tests.into())
}

/// Starts the next test. False if none waits, or if the host has no room for it now.
fn start_next(waiting: &mut VecDeque<String>, running: &mut Vec<Test>, timeout: Duration) -> Result<bool> {
    let Some(path) = waiting.front() else {
        return Ok(false);
    };
    match Test::start(path, timeout) {
        Ok(test) => running.push(test),
        // One of its own will end and make room. Without one, it would wait for processes of other calls.
        Err(HostError::Quota) if !running.is_empty() => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    waiting.pop_front();
    Ok(true)
}

/// Waits until a test ends, or its time is over.
fn wait_for_one(running: &[Test]) -> Result<()> {
    let exits: Vec<_> = running.iter().map(|test| test.child.exit_ready()).collect();
    let mut sources: Vec<&dyn Source> = exits.iter().map(|exit| exit as _).collect();
    // The first to start is the first whose time is over.
    sources.extend(running.first().map(|test| &test.deadline as &dyn Source));
    select(&sources)?;
    Ok(())
}

/// A test that runs. Dropping it ends it.
struct Test {
    path: String,
    child: Child,
    started: Duration,
    deadline: Timer,
}

impl Test {
    fn start(path: &str, timeout: Duration) -> capsule_sdk::Result<Self> {
        let child = Command::new("sh")
            .arg(path)
            .limits(ResourceLimits {
                max_pids: Some(32),
                ..ResourceLimits::default()
            })
            .spawn()?;
        Ok(Self {
            path: path.to_owned(),
            child,
            started: sys::monotonic(),
            deadline: Timer::after(timeout),
        })
    }

    /// Its row, once it has ended or its time is over.
    fn finished(&mut self) -> Result<Option<Row>> {
        let is_late = self.deadline.is_over();
        if !is_late && self.child.try_wait()?.is_none() {
            return Ok(None);
        }
        // Of a test that has ended by itself this is the exit and the rest of the output.
        let Killed {
            killed,
            exit,
            stdout,
            stderr,
            ..
        } = self.child.kill()?;
        let verdict = match exit {
            _ if killed => Verdict::TimedOut,
            Some(exit) if exit.success() => Verdict::Passed,
            _ => Verdict::Failed,
        };
        let output = [stdout, stderr].concat();
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        Ok(Some(Row {
            test: self.path.clone(),
            verdict,
            output: if verdict == Verdict::Passed {
                String::new()
            } else {
                output
            },
            ms: (sys::monotonic() - self.started).as_millis(),
        }))
    }
}
