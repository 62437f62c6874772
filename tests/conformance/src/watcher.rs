//! The process between the runner and the process of one case. It bounds the case's time and memory, and nothing that the case
//! started is left when it exits.
//!
//! - Orphans of the case become children of this process, because it is a subreaper, so that its descendants are the case's whole
//!   tree. It reaps them at once, as pid 1 would: a host may look for zombies.
//! - Its standard input ends when the runner ends, however that happens. The runner may be killed, and a terminal's Ctrl-C does not
//!   reach this process.
//! - Memory is sampled, so a case can exceed its bound between two samples. A machine that has no memory left meanwhile ends the
//!   case before any other process (`oom_score_adj`).
//! - It makes no host, and has no other children.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};

use crate::drive::MustBeAlone;
use crate::report::Verdict;
use crate::tree;

/// The time between two samples of the memory.
const SAMPLE: Duration = Duration::from_millis(100);

/// The time that a case has beyond its bound to fail by itself, which says more than being killed.
const GRACE: Duration = Duration::from_secs(5);

/// The time after which processes that do not end although they were killed are left.
const LEAVE: Duration = Duration::from_secs(30);

/// The file in the folder of a case in which its process writes the verdict. Its processes see only the workspace, beside it.
const VERDICT: &str = "verdict.json";

/// The end of a case that its process reports.
pub(crate) type Ended = Result<Verdict, MustBeAlone>;

/// The bounds of one case.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    /// In bytes.
    pub(crate) memory: u64,
    /// The folder for the case's own; the system's folder for temporary files if there is none.
    pub(crate) workspaces: Option<PathBuf>,
}

enum Event {
    Reaped(Pid, WaitStatus),
    NoChildren,
    RunnerEnded,
}

/// Runs this program with these arguments and `FLAG FOLDER` as the process of a case, and returns the case's end. The arguments are
/// those of this process.
///
/// # Errors
/// The case's folder or process could not be made.
pub(crate) fn watch(arguments: Vec<OsString>, flag: &str, bounds: &Bounds) -> io::Result<Ended> {
    set_child_subreaper(Some(getpid()))?;
    let folder = tempfile::Builder::new()
        .prefix("conformance-")
        .tempdir_in(bounds.workspaces.clone().unwrap_or_else(std::env::temp_dir))?;
    let started = Instant::now();
    let case = start(arguments, flag, folder.path())?;
    // Only now, because the case must be the first child that is waited for.
    let events = events()?;
    let why = follow(case, &events, started, bounds);
    kill_all(&events);
    let written = fs::read(folder.path().join(VERDICT)).ok();
    let verdict = written.and_then(|json| serde_json::from_slice(&json).ok());
    Ok(match why {
        // A case that has ended by itself is not asked how.
        Why::Exited(status) => verdict.unwrap_or_else(|| Ok(Verdict::Failed(of_status(status)))),
        Why::Bound(bound) => Ok(Verdict::Failed(bound)),
    })
}

/// Leaves the verdict of a case for [`watch`].
///
/// # Errors
/// The file cannot be written.
pub(crate) fn leave(folder: &Path, ended: &Ended) -> io::Result<()> {
    fs::write(folder.join(VERDICT), serde_json::to_vec(ended)?)
}

/// A command that runs this program again, even if its file was replaced meanwhile.
#[expect(clippy::disallowed_methods, reason = "the same program, not one of a guest's")]
pub(crate) fn this_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command
}

/// Starts the process of the case.
fn start(arguments: Vec<OsString>, flag: &str, folder: &Path) -> io::Result<Pid> {
    let case = this_program()
        .args(arguments)
        .arg(flag)
        .arg(folder)
        .stdin(Stdio::null())
        // The standard output of this process is for the verdict.
        .stdout(io::stderr())
        .stderr(io::stderr())
        .spawn()?;
    // Where this is not allowed, only the machine's own choice is worse.
    drop(fs::write(format!("/proc/{}/oom_score_adj", case.id()), "1000"));
    Ok(Pid::from_child(&case))
}

/// Starts the threads that report what happens.
fn events() -> io::Result<Receiver<Event>> {
    let (to, events) = channel();
    let of_runner = to.clone();
    thread::Builder::new().name("reaper".into()).spawn(move || reap(&to))?;
    thread::Builder::new().name("runner".into()).spawn(move || {
        // The runner writes nothing.
        drop(io::stdin().read(&mut [0]));
        of_runner.send(Event::RunnerEnded)
    })?;
    Ok(events)
}

/// Reaps every child as soon as it has ended, until there is none.
fn reap(to: &Sender<Event>) {
    loop {
        let event = match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => Event::Reaped(pid, status),
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => Event::NoChildren,
        };
        let is_last = matches!(event, Event::NoChildren);
        if to.send(event).is_err() || is_last {
            return;
        }
    }
}

/// Why a case is over.
enum Why {
    Exited(WaitStatus),
    Bound(String),
}

/// Waits until the case ends, or exceeds a bound.
fn follow(case: Pid, events: &Receiver<Event>, started: Instant, bounds: &Bounds) -> Why {
    let mut sampled = Instant::now();
    loop {
        match events.recv_timeout(SAMPLE) {
            Ok(Event::Reaped(pid, status)) if pid == case => return Why::Exited(status),
            // An orphan.
            Ok(Event::Reaped(..)) | Err(RecvTimeoutError::Timeout) => {}
            // Nothing reads the reason.
            Ok(Event::RunnerEnded) => return Why::Bound("the runner ended".into()),
            Ok(Event::NoChildren) | Err(RecvTimeoutError::Disconnected) => {
                return Why::Bound("its process was waited for by another".into());
            }
        }
        if started.elapsed() > bounds.time + GRACE {
            return Why::Bound(format!(
                "did not end within {:?}, nor by itself {GRACE:?} later, and was killed: the host blocks the thread that drives it",
                bounds.time
            ));
        }
        // Orphans that end in a row must not put it off.
        if sampled.elapsed() >= SAMPLE {
            sampled = Instant::now();
            let processes = tree::descendants();
            let memory = tree::memory(&processes);
            if memory > bounds.memory {
                return Why::Bound(format!(
                    "the host and its {} processes took {} MiB of memory, more than the bound of {} MiB, and were killed",
                    processes.len().saturating_sub(1),
                    memory >> 20,
                    bounds.memory >> 20
                ));
            }
        }
    }
}

/// Kills every descendant, and returns when none is left.
fn kill_all(events: &Receiver<Event>) {
    let started = Instant::now();
    while started.elapsed() < LEAVE {
        // Again and again, because one that is not listed yet may start more.
        for process in tree::descendants() {
            process.kill();
        }
        match events.recv_timeout(SAMPLE) {
            Ok(Event::NoChildren) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Event::Reaped(..) | Event::RunnerEnded) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn of_status(status: WaitStatus) -> String {
    let how = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("with code {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => format!("({status:?})"),
    };
    format!("the process of the host ended {how} before the case did")
}
