//! Runs many cases, each in a process of its own below a [`watcher`](crate::watcher), a few at a time.
//!
//! A case that must be alone says so in its plan, which only its component knows. So it is first run among others, where it ends
//! with [`MustBeAlone`] without doing anything, and again after all others, with nothing beside it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::case::Case;
use crate::drive::MustBeAlone;
use crate::report::{Outcome, Verdict};
use crate::suite::sort;
use crate::watcher::{Ended, this_program};

/// How much of the end of a case's output is kept, in bytes.
const OUTPUT: usize = 16 * 1024;

/// The longest verdict that is read, in bytes. A guest may have written its text.
const VERDICT: u64 = 16 * 1024 * 1024;

/// How to start a watcher.
#[derive(Clone, Debug)]
pub(crate) struct Watchers {
    /// The arguments of this process.
    pub(crate) arguments: Vec<OsString>,
    /// The option whose value is the case.
    pub(crate) case: String,
    /// The option that says that no other case runs.
    pub(crate) alone: String,
    /// Whether what a case's process writes is shown as it comes, instead of kept.
    pub(crate) show_output: bool,
}

/// Runs the cases, at most `jobs` at once, and calls `seen` with each outcome as it arrives. The outcomes are in the order of the cases.
pub(crate) fn run(cases: &[Case], jobs: usize, watchers: &Watchers, mut seen: impl FnMut(&Outcome)) -> Vec<Outcome> {
    let queue = Mutex::new(VecDeque::from(cases.to_vec()));
    let mut outcomes = Vec::new();
    let mut to_be_alone = Vec::new();
    thread::scope(|scope| {
        let (to, ended) = channel();
        for _ in 0..jobs.min(cases.len()) {
            let (to, queue) = (to.clone(), &queue);
            scope.spawn(move || work(queue, watchers, &to));
        }
        drop(to);
        for (case, outcome) in ended {
            match outcome {
                Ok(outcome) => {
                    seen(&outcome);
                    outcomes.push(outcome);
                }
                Err(MustBeAlone) => to_be_alone.push(case),
            }
        }
    });
    for case in to_be_alone {
        let outcome = judge(case, true, watchers).unwrap_or_else(|MustBeAlone| Outcome {
            case,
            verdict: Verdict::Failed("was not run although it was alone".into()),
            ms: 0,
            output: String::new(),
        });
        seen(&outcome);
        outcomes.push(outcome);
    }
    sort(&mut outcomes);
    outcomes
}

/// Runs cases until the queue is empty.
fn work(queue: &Mutex<VecDeque<Case>>, watchers: &Watchers, to: &Sender<(Case, Result<Outcome, MustBeAlone>)>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(case) = next else { return };
        if to.send((case, judge(case, false, watchers))).is_err() {
            return;
        }
    }
}

/// Runs one case.
fn judge(case: Case, is_alone: bool, watchers: &Watchers) -> Result<Outcome, MustBeAlone> {
    let started = Instant::now();
    let (ended, output) = match watched(case, is_alone, watchers) {
        Ok((_, Ok(ended), output)) => (ended?, output),
        Ok((status, Err(_), output)) => {
            let why = format!("the process that watches the case ended by itself: {status}");
            (Verdict::Failed(why), output)
        }
        Err(error) => {
            let why = format!("the process that watches the case cannot be started: {error}");
            (Verdict::Failed(why), String::new())
        }
    };
    // The message of a panic, or of an abort.
    let last = output.lines().rev().find(|line| !line.trim().is_empty());
    let verdict = match (ended, last) {
        (Verdict::Failed(why), Some(last)) if why.starts_with("the process ") => {
            Verdict::Failed(format!("{why}; its last line was: {last}"))
        }
        (verdict, _) => verdict,
    };
    Ok(Outcome {
        case,
        verdict,
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        output,
    })
}

/// Runs a watcher to its end.
fn watched(
    case: Case,
    is_alone: bool,
    watchers: &Watchers,
) -> io::Result<(ExitStatus, serde_json::Result<Ended>, String)> {
    let mut command = this_program();
    command.args(&watchers.arguments).arg(&watchers.case).arg(case.name);
    if is_alone {
        command.arg(&watchers.alone);
    }
    let output = if watchers.show_output {
        Stdio::inherit()
    } else {
        Stdio::piped()
    };
    let mut watcher = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(output)
        // A terminal's Ctrl-C ends this process only, and the watcher then clears up.
        .process_group(0)
        .spawn()?;
    // Its end of the pipe is closed when this process ends, and not before the watcher does.
    let lifeline = watcher.stdin.take();
    let (written, written_by_case) = (watcher.stdout.take(), watcher.stderr.take());
    let (verdict, output) = thread::scope(|scope| {
        let output = scope.spawn(|| written_by_case.map(tail).unwrap_or_default());
        let mut verdict = Vec::new();
        let read = written.map_or(Ok(0), |written| written.take(VERDICT).read_to_end(&mut verdict));
        (read.map(|_| verdict), output.join().unwrap_or_default())
    });
    let status = watcher.wait()?;
    drop(lifeline);
    Ok((status, serde_json::from_slice(&verdict?), output))
}

/// The end of what is written there.
fn tail(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut block = [0; 8192];
    let mut is_cut = false;
    while let Ok(count @ 1..) = from.read(&mut block) {
        kept.extend_from_slice(block.get(..count).unwrap_or_default());
        if let Some(over @ 1..) = kept.len().checked_sub(OUTPUT) {
            kept.drain(..over);
            is_cut = true;
        }
    }
    let text = String::from_utf8_lossy(&kept);
    if is_cut {
        format!("[…]{text}")
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        assert_eq!(tail(&b"all\n"[..]), "all\n");
        let mut long = vec![b'a'; 100_000];
        long.extend_from_slice(b"the end");
        let kept = tail(&long[..]);
        assert!(kept.starts_with("[…]a") && kept.ends_with("athe end"));
        assert_eq!(kept.len(), OUTPUT + "[…]".len());
    }
}
