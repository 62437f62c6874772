//! Processes and tasks without a host, started, killed and waited for in the most direct way.

use std::future::poll_fn;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Measures the time from the start of a program to its exit.
pub(crate) fn run(program: &str, args: &[&str]) -> Duration {
    let begun = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    begun.elapsed()
}

/// Kills a sleeper that is asleep. One that is still being loaded has fewer resources to release.
pub(crate) fn kill(pid: u32) -> Instant {
    sleeps(&format!("/proc/{pid}/stat"));
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let begun = Instant::now();
    kill_process(pid, Signal::KILL).unwrap();
    begun
}

pub(crate) fn sleeper() -> Command {
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    let mut command = Command::new("/bin/sleep");
    command
        .arg("86400")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Returns when the process or thread of this file is asleep.
pub(crate) fn sleeps(stat: &str) {
    while !std::fs::read_to_string(stat).unwrap().contains(") S ") {}
}

/// Starts a task that does `work`, and returns when the task waits.
pub(crate) async fn waiting<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let (tells, told) = oneshot::channel();
    let mut tells = Some(tells);
    let mut work = Box::pin(work);
    let task = tokio::spawn(poll_fn(move |context| {
        let polled = work.as_mut().poll(context);
        if let (Poll::Pending, Some(tells)) = (&polled, tells.take()) {
            tells.send(()).unwrap();
        }
        polled
    }));
    told.await.unwrap();
    task
}
