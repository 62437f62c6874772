//! exit seen: from the kill of a process to the return of whoever waits for it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::host::{Host, idle};
use crate::report::{Report, Target, Unit, median, micros};

const ROUNDS: usize = 300;

pub(crate) fn run(report: &mut Report) {
    let (unconfined, confined) = (Host::unconfined(), Host::confined());
    let mut times = [const { Vec::<f64>::new() }; 4];
    let mut ways: [&mut dyn FnMut() -> Duration; 4] = [
        &mut by_thread,
        &mut || by_tokio(&unconfined),
        &mut || through_host(&unconfined),
        &mut || through_host(&confined),
    ];
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            times.push(micros(way()));
        }
    }
    let [thread, tokio, unconfined, confined] = times.map(|mut times| median(&mut times));
    let against_thread = format!("{thread:.0} µs (a thread in waitpid)");
    let against_tokio = format!("{tokio:.0} µs (tokio's `Child::wait`)");
    for (name, time, limit, against, target) in [
        ("unconfined", unconfined, thread, &against_thread, 1.3),
        ("unconfined", unconfined, tokio, &against_tokio, 1.0),
        ("confined", confined, thread, &against_thread, 1.3),
    ] {
        report.line(
            "exit seen",
            &format!("kill to `wait` returning, {name}"),
            &format!("{time:.0} µs"),
            against,
            time / limit,
            Unit::Times,
            Target::AtMost(target),
        );
    }
}

fn kill(pid: u32) -> Instant {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let begun = Instant::now();
    kill_process(pid, Signal::KILL).unwrap();
    begun
}

fn sleeper() -> Command {
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    let mut command = Command::new("/bin/sleep");
    command
        .arg("86400")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn by_thread() -> Duration {
    let mut child = sleeper().spawn().unwrap();
    let pid = child.id();
    let waiter = std::thread::spawn(move || {
        child.wait().unwrap();
        Instant::now()
    });
    settle();
    let begun = kill(pid);
    waiter.join().unwrap() - begun
}

fn by_tokio(host: &Host) -> Duration {
    let waiter = host.runtime.block_on(async {
        let mut child = tokio::process::Command::from(sleeper()).spawn().unwrap();
        let pid = child.id().unwrap();
        let waiter = tokio::spawn(async move {
            child.wait().await.unwrap();
            Instant::now()
        });
        (pid, waiter)
    });
    settle();
    let begun = kill(waiter.0);
    host.runtime.block_on(waiter.1).unwrap() - begun
}

fn through_host(host: &Host) -> Duration {
    let scope = host.scope("exit");
    let (id, pid, waiter) = host.runtime.block_on(async {
        let id = host.start(&scope, idle()).await;
        let pid = scope.status(&id).unwrap().os_pid.unwrap();
        let (waiting, name) = (scope.clone(), id.clone());
        let waiter = tokio::spawn(async move {
            waiting.wait(&name, Duration::from_secs(60)).await.unwrap();
            Instant::now()
        });
        (id, pid, waiter)
    });
    settle();
    let begun = kill(pid);
    let seen = host.runtime.block_on(waiter).unwrap();
    host.runtime.block_on(scope.release(&id)).unwrap();
    seen - begun
}

/// Lets the one that waits get to it; how long that takes is not measured.
fn settle() {
    std::thread::sleep(Duration::from_millis(2));
}
