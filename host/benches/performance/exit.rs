//! exit seen: from the kill of a process to the return of whoever waits for it.

use std::future::poll_fn;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::gettid;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::host::{Host, idle};
use crate::relay::Relay;
use crate::report::{Report, Target, Unit, median, micros};

const ROUNDS: usize = 300;

pub(crate) fn run(report: &mut Report) {
    let (unconfined, confined) = (Host::unconfined(), Host::confined());
    let (mut relay, mut reading_relay) = (Relay::start(), Relay::start());
    let mut times = [const { Vec::<f64>::new() }; 8];
    let mut ways: [&mut dyn FnMut() -> Duration; 8] = [
        &mut by_waitpid,
        &mut || by_tokio(&unconfined),
        &mut || relay.exit_seen(&unconfined),
        &mut || reading_relay.exit_seen_piped(&unconfined),
        &mut || through_host(&unconfined),
        &mut || through_host(&confined),
        &mut || death(&unconfined),
        &mut || death(&confined),
    ];
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            times.push(micros(way()));
        }
    }
    let [
        thread,
        tokio,
        relay,
        reading,
        unconfined,
        confined,
        death,
        confined_death,
    ] = times.map(|mut times| median(&mut times));
    let thread = (thread, "a thread in waitpid");
    let tokio = (tokio, "tokio's `Child::wait`");
    let bare = (relay, "a process in waitpid, that tells a task");
    let reads = (
        reading,
        "a process in waitpid, that tells a task which has read both streams",
    );
    for (workload, time, (limit, name), target) in [
        (
            "kill to `wait` returning, unconfined",
            unconfined,
            thread,
            Target::AtMost(1.3),
        ),
        (
            "kill to `wait` returning, unconfined",
            unconfined,
            tokio,
            Target::AtMost(1.0),
        ),
        ("kill to `wait` returning, unconfined", unconfined, bare, Target::None),
        ("kill to `wait` returning, unconfined", unconfined, reads, Target::None),
        (
            "kill to `wait` returning, confined",
            confined,
            thread,
            Target::AtMost(1.3),
        ),
        ("kill to `wait` returning, confined", confined, bare, Target::None),
        (
            "to the death of the same command, unconfined",
            death,
            thread,
            Target::None,
        ),
        (
            "to the death of the same command, confined",
            confined_death,
            thread,
            Target::None,
        ),
        ("a process in waitpid, that tells a task", relay, thread, Target::None),
        (
            "a process in waitpid, that tells a task which has read both streams",
            reading,
            thread,
            Target::None,
        ),
        ("a process in waitpid, that tells a task", relay, tokio, Target::None),
    ] {
        report.line(
            "exit seen",
            workload,
            &format!("{time:.0} µs"),
            &format!("{limit:.0} µs ({name})"),
            time / limit,
            Unit::Times,
            target,
        );
    }
}

/// Kills a sleeper that is asleep: one that is still being loaded has less to give back.
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

fn by_waitpid() -> Duration {
    let mut child = sleeper().spawn().unwrap();
    let pid = child.id();
    std::thread::scope(|scope| {
        let (tells, told) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            tells.send(gettid()).unwrap();
            assert!(!child.wait().unwrap().success());
            Instant::now()
        });
        sleeps(&format!("/proc/self/task/{}/stat", told.recv().unwrap()));
        let begun = kill(pid);
        waiter.join().unwrap() - begun
    })
}

/// Returns once the process or thread of this file is asleep.
pub(crate) fn sleeps(stat: &str) {
    while !std::fs::read_to_string(stat).unwrap().contains(") S ") {}
}

fn by_tokio(host: &Host) -> Duration {
    let waiter = host.runtime.block_on(async {
        let mut child = tokio::process::Command::from(sleeper()).spawn().unwrap();
        let pid = child.id().unwrap();
        let waiter = waiting(async move {
            child.wait().await.unwrap();
            Instant::now()
        });
        (pid, waiter.await)
    });
    let begun = kill(waiter.0);
    host.runtime.block_on(waiter.1).unwrap() - begun
}

fn through_host(host: &Host) -> Duration {
    let scope = host.scope("exit");
    let (id, pid, waiter) = host.runtime.block_on(async {
        let id = host.start(&scope, idle()).await;
        let pid = scope.status(&id).unwrap().os_pid.unwrap();
        let (waits, name) = (scope.clone(), id.clone());
        let waiter = waiting(async move {
            waits.wait(&name, Duration::from_secs(60)).await.unwrap();
            Instant::now()
        });
        (id, pid, waiter.await)
    });
    let begun = kill(pid);
    let seen = host.runtime.block_on(waiter).unwrap();
    host.runtime.block_on(scope.release(&id)).unwrap();
    seen - begun
}

/// Until a command of the host's is dead, for a thread that waits for that alone and cannot reap it.
fn death(host: &Host) -> Duration {
    let scope = host.scope("death");
    let (id, number) = host.runtime.block_on(async {
        let id = host.start(&scope, idle()).await;
        let number = scope.status(&id).unwrap().os_pid.unwrap();
        (id, number)
    });
    let pid = Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
    let command = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let time = std::thread::scope(|threads| {
        let (tells, told) = std::sync::mpsc::channel();
        let waiter = threads.spawn(move || {
            tells.send(gettid()).unwrap();
            poll(&mut [PollFd::new(&command, PollFlags::IN)], None).unwrap();
            Instant::now()
        });
        sleeps(&format!("/proc/self/task/{}/stat", told.recv().unwrap()));
        let begun = kill(number);
        waiter.join().unwrap() - begun
    });
    host.runtime.block_on(async {
        scope.wait(&id, Duration::from_secs(60)).await.unwrap();
        scope.release(&id).await.unwrap();
    });
    time
}

/// A task that does `work`, once that has come to where it waits.
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
