//! A capsule. Each call runs in an instance of its own, so nothing is kept in memory from one call to the next. A process
//! outlives the call that started it, and a later call finds it by its label.

use std::error::Error;
use std::time::Duration;

use capsule_sdk::{Command, ExitStatus, Process, sys};

#[cfg(test)]
mod tests;

capsule_sdk::actions! {
    "hello" => hello,
    "kernel" => kernel,
    "count" => count,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The label by which later calls find the process.
const COUNTER: &str = "counter";

/// Answers each line with the number of lines that it has read.
const SCRIPT: &str = "n=0; while read -r line; do n=$((n + 1)); echo $n; done";

/// How long a call waits for an answer of the process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts no process, so it needs no grant.
fn hello() -> Result<String> {
    let caller = sys::caller()?.principal;
    Ok(format!("Hello, {}!", caller.as_deref().unwrap_or("stranger")))
}

/// Runs a command to its end and returns its output.
fn kernel() -> Result<String> {
    let output = Command::new("uname").arg("-sr").output()?;
    Ok(output.stdout_lossy().trim_end().to_owned())
}

/// Returns how often it was called. Only the process remembers that.
fn count() -> Result<u64> {
    let counter = Command::new("sh")
        .args(["-c", SCRIPT])
        .keep_stdin_open(true)
        .find_or_spawn(COUNTER)?;
    let mut output = counter.stdout();
    // The answers to earlier calls.
    output.skip_available()?;
    counter.write(b"\n")?;
    Ok(output.read_text_until("\n", PATIENCE)?.trim_end().parse()?)
}

/// Ends the process.
fn stop() -> Result<ExitStatus> {
    let counter = running()?.ok_or("no counter is running: call `count` first")?;
    Ok(counter.stop(None)?)
}

fn running() -> Result<Option<Process>> {
    match Process::find(COUNTER)? {
        Some(counter) if counter.try_wait()?.is_none() => Ok(Some(counter)),
        Some(_) | None => Ok(None),
    }
}
