//! `seq | grep 7 | python3 count.py`, connected by the capsule, with back-pressure from end to end.
//!
//! A write to a process waits until it takes the bytes, and under [`Overflow::Backpressure`] a process waits until its output is read. So
//! a slow process at the end slows down the one at the beginning, and between two of them there are never more bytes than the host's
//! buffer, the kernel's pipes, and one piece in an instance.
//!
//! One instance can wait for one thing at a time. A single one that copied for all links would stand still, while it waits at a
//! full process whose own output it should read. So each link has an instance, which a message starts.

use capsule_sdk::{Command, ExitStatus, Overflow, Process, ProcessId, Result as ProcessResult, ipc, status_many};
use serde::{Deserialize, Serialize};
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

const LINK: &str = "pipeline.v1.link";

/// What the host keeps of each stream.
const BUFFER: u32 = 64 * 1024;

capsule_sdk::actions! {
    "run" => run,
    "link" => link,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Run {
    #[serde(default = "one_million")]
    lines: u64,
}

fn one_million() -> u64 {
    1_000_000
}

#[derive(Debug, Serialize)]
struct Report {
    /// How many lines contained a 7.
    counted: String,
    exits: Vec<ExitStatus>,
    /// The most output that waited in the host at once, of all processes together.
    most_waiting_bytes: u64,
}

/// Runs the pipeline to its end.
fn run(run: Run) -> Result<Report> {
    let stages = [
        Command::new("seq").arg(run.lines.to_string()).clone(),
        Command::new("grep").arg("7").keep_stdin_open(true).clone(),
        Command::new("python3")
            .args(["-c", include_str!("count.py")])
            .keep_stdin_open(true)
            .clone(),
    ];
    let mut processes = Vec::new();
    let flowed = start(&stages, &mut processes).and_then(|()| flow(&processes));
    // Also after an error. `stop` frees what the host keeps of a process, and for one that has exited it returns how it did.
    let exits: ProcessResult<_> = processes.iter().map(|process| process.stop(None)).collect();
    let (counted, most_waiting_bytes) = flowed?;
    Ok(Report {
        counted,
        exits: exits?,
        most_waiting_bytes,
    })
}

fn start(stages: &[Command], processes: &mut Vec<Process>) -> Result<()> {
    for stage in stages {
        let mut stage = stage.clone();
        stage.overflow(Overflow::Backpressure).log_ring_bytes(BUFFER);
        processes.push(stage.spawn_persistent()?);
    }
    for (from, to) in processes.iter().zip(processes.iter().skip(1)) {
        let (from, to) = (from.id().clone(), to.id().clone());
        ipc::publish_json(LINK, &Link { from, to })?;
    }
    Ok(())
}

/// Waits for the last process, and looks at how much waits meanwhile.
fn flow(processes: &[Process]) -> Result<(String, u64)> {
    let last = processes.last().ok_or("a pipeline has a process")?;
    let mut most_waiting = 0;
    loop {
        let infos = status_many(processes.iter().map(Process::id))?;
        most_waiting = most_waiting.max(infos.iter().map(|info| info.buffered_bytes).sum());
        match last.wait_with_output(Duration::from_millis(20)) {
            Ok(output) => return Ok((output.stdout_lossy().trim().to_owned(), most_waiting)),
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    from: ProcessId,
    to: ProcessId,
}

/// Copies until the output of one process ends, as a pipe does: the next process then sees the end of its input. If the next process
/// has ended, the one before it is ended, too.
fn link(link: Link) -> Result<()> {
    let (from, to) = (Process::attach(&link.from)?, Process::attach(&link.to)?);
    let copied = copy(&from, &to);
    match &copied {
        Ok(()) => to.close_stdin()?,
        Err(_) => drop(from.stop(None)?),
    }
    Ok(copied?)
}

fn copy(from: &Process, to: &Process) -> ProcessResult<()> {
    for piece in from.stdout().follow() {
        to.write(&piece?)?;
    }
    Ok(())
}
