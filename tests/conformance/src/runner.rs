//! Runs many cases, each in a process of its own below a [`watcher`](crate::watcher), a few at a time.
//!
//! A case that must be alone says so in its plan, which only its component knows. So it is first run among others, where it ends
//! with [`MustBeAlone`] without doing anything, and again after all others, with nothing beside it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::drive::MustBeAlone;
use crate::report::{Outcome, Verdict};
use crate::suite::sort;
use crate::watcher::{Ended, this_program};

/// How much of the end of a case's output is kept, in bytes.
const OUTPUT: usize = 16 * 1024;

/// How long the output of a case may stay open after its watcher has exited.
const LATE: Duration = Duration::from_secs(1);

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
    let output = Output::collect(watcher.stderr.take());
    let mut verdict = Vec::new();
    let written = watcher.stdout.take();
    written.map_or(Ok(0), |written| written.take(VERDICT).read_to_end(&mut verdict))?;
    let status = watcher.wait()?;
    drop(lifeline);
    Ok((status, serde_json::from_slice(&verdict), output.end()))
}

/// The end of what a case's process and the processes below it write.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    is_complete: Receiver<()>,
}

impl Output {
    /// Collects in the background, because a process that the watcher may not kill can hold the other end for as long as it runs.
    fn collect(from: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::default());
        let (to, is_complete) = channel();
        let to_keep = Arc::clone(&kept);
        thread::spawn(move || {
            if let Some(from) = from {
                keep(from, &to_keep);
            }
            to.send(())
        });
        Self { kept, is_complete }
    }

    /// What was collected, when all has been written or the other end is held for too long.
    fn end(self) -> String {
        // Either way.
        let _ = self.is_complete.recv_timeout(LATE);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        if kept.len() < OUTPUT {
            text.into_owned()
        } else {
            format!("[…]{text}")
        }
    }
}

/// Keeps the end of what is written there, until all ends are closed.
fn keep(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut block = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut block) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(block.get(..count).unwrap_or_default());
        let over = kept.len().saturating_sub(OUTPUT);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(of: Vec<u8>) -> String {
        Output::collect(Some(io::Cursor::new(of))).end()
    }

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        assert_eq!(end(b"all\n".to_vec()), "all\n");
        let mut long = vec![b'a'; 100_000];
        long.extend_from_slice(b"the end");
        let kept = end(long);
        assert!(kept.starts_with("[…]a") && kept.ends_with("athe end"));
        assert_eq!(kept.len(), OUTPUT + "[…]".len());
    }

    #[test]
    fn an_output_that_stays_open_is_not_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"so far").unwrap();
        assert!(Output::collect(Some(reader)).end().len() <= "so far".len());
        drop(writer);
    }
}
