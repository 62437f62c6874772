//! exit seen: the time from the kill of a process to the return of its waiter.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::gettid;

use crate::bare;
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

fn by_waitpid() -> Duration {
    let mut child = bare::sleeper().spawn().unwrap();
    let pid = child.id();
    std::thread::scope(|scope| {
        let (tells, told) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            tells.send(gettid()).unwrap();
            assert!(!child.wait().unwrap().success());
            Instant::now()
        });
        bare::sleeps(&format!("/proc/self/task/{}/stat", told.recv().unwrap()));
        let begun = bare::kill(pid);
        waiter.join().unwrap() - begun
    })
}

fn by_tokio(host: &Host) -> Duration {
    let waiter = host.runtime.block_on(async {
        let mut child = tokio::process::Command::from(bare::sleeper()).spawn().unwrap();
        let pid = child.id().unwrap();
        let waiter = bare::waiting(async move {
            child.wait().await.unwrap();
            Instant::now()
        });
        (pid, waiter.await)
    });
    let begun = bare::kill(waiter.0);
    host.runtime.block_on(waiter.1).unwrap() - begun
}

fn through_host(host: &Host) -> Duration {
    let scope = host.scope("exit");
    let (id, pid, waiter) = host.runtime.block_on(async {
        let id = host.start(&scope, idle()).await;
        let pid = scope.status(&id).unwrap().os_pid.unwrap();
        let (waits, name) = (scope.clone(), id.clone());
        let waiter = bare::waiting(async move {
            waits.wait(&name, Duration::from_secs(60)).await.unwrap();
            Instant::now()
        });
        (id, pid, waiter.await)
    });
    let begun = bare::kill(pid);
    let seen = host.runtime.block_on(waiter).unwrap();
    host.runtime.block_on(scope.release(&id)).unwrap();
    seen - begun
}

/// The time until a command of the host is dead, seen by a thread that waits only for that and cannot reap it.
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
        bare::sleeps(&format!("/proc/self/task/{}/stat", told.recv().unwrap()));
        let begun = bare::kill(number);
        waiter.join().unwrap() - begun
    });
    host.runtime.block_on(async {
        scope.wait(&id, Duration::from_secs(60)).await.unwrap();
        scope.release(&id).await.unwrap();
    });
    time
}
