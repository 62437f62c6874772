//! scale: the cost of calls as the number of a host's processes grows, compared with the cost at one process.

use std::time::{Duration, Instant};

use capsule_host::supervisor::{LogStream, Scope, SpawnRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::host::{Host, idle};
use crate::report::{Growth, Report, Target, Unit, median, micros};

/// The numbers of live processes, as far as there are descriptors for them.
const STEPS: [usize; 6] = [1, 10, 100, 1000, 2500, 5000];
/// The descriptors of a process in the host: two pipes, the channel to its init, and the counter of its time.
const DESCRIPTORS: usize = 4;
/// The descriptors of the host itself, and of the few processes that come and go besides the live ones.
const OTHERS: usize = 150;
/// The number of ids, live and exited, that the last step retains, and the number of their principals.
const RETAINED: usize = 10_000;
const PRINCIPALS: usize = 1000;
const LIFETIME: Duration = Duration::from_millis(100);

/// The measurements of each step, in microseconds.
const CALLS: [&str; 5] = ["status", "read-since", "spawn", "stop", "timer lateness"];

pub(crate) fn run(report: &mut Report) {
    let most = (allow_descriptors(64 * 1024) - OTHERS) / DESCRIPTORS;
    let steps = STEPS.map(|step| step.min(most));
    let largest = *steps.last().unwrap();
    let host = Host::unconfined();
    let scopes: Vec<Scope> = (0..PRINCIPALS)
        .map(|number| host.scope(&format!("principal {number}")))
        .collect();
    let mut at = scopes.iter().cycle();
    let mut all: Vec<(&Scope, String)> = Vec::new();
    let mut costs: Vec<[f64; CALLS.len()]> = Vec::new();
    for step in steps {
        host.runtime.block_on(async {
            while all.len() < step {
                let scope = at.next().unwrap();
                all.push((scope, host.start(scope, idle()).await));
            }
            if step == largest {
                while host.registry.retained() < RETAINED {
                    let scope = at.next().unwrap();
                    let id = host.start(scope, short()).await;
                    scope.wait(&id, Duration::from_secs(60)).await.unwrap();
                    all.push((scope, id));
                }
            }
        });
        let (scope, id) = all.first().unwrap();
        if step == 1 {
            // The very first calls find cold caches, and later ones do not.
            measure(&host, scope, id);
        }
        costs.push(measure(&host, scope, id));
    }
    let mut last = *costs.last().unwrap();
    let (scope, id) = all.remove(0);
    // Two of the calls take less than a microsecond, and the machine's speed may change by more than the effect. So
    // they are compared with calls of another host that has one process, alternately.
    let single = Host::unconfined();
    let alone = single.scope("alone");
    let one = host.runtime.block_on(single.start(&alone, idle()));
    let mut turns = [const { Vec::new() }; 4];
    for _ in 0..20 {
        let costs = [quick(scope, &id), quick(&alone, &one)];
        for (turns, cost) in turns.iter_mut().zip(costs.into_iter().flatten()) {
            turns.push(cost);
        }
    }
    let [status, read, status_alone, read_alone] = turns.map(|mut turns| median(&mut turns));
    (last[0], last[1]) = (status, read);
    host.runtime.block_on(async {
        for (scope, id) in all {
            scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        }
    });
    // The cost of the other calls at one process is the mean of before and after.
    let after = measure(&host, scope, &id);
    let first = costs.first_mut().unwrap();
    for (before, after) in first.iter_mut().zip(after) {
        *before = f64::midpoint(*before, after);
    }
    (first[0], first[1]) = (status_alone, read_alone);
    let first = *first;
    *costs.last_mut().unwrap() = last;
    for (index, name) in CALLS.into_iter().enumerate() {
        let of = |costs: &[f64; CALLS.len()]| *costs.get(index).unwrap();
        let target = if name == "status" { 1.1 } else { 1.5 };
        report.line(
            "scale",
            &format!("`{name}` at {largest} live, {RETAINED} retained, {PRINCIPALS} principals"),
            &format!("{:.2} µs", of(&last)),
            &format!("{:.2} µs (at 1)", of(&first)),
            of(&last) / of(&first),
            Unit::Times,
            Target::AtMost(target),
        );
        report.grows(Growth {
            name,
            points: STEPS
                .into_iter()
                .zip(costs.iter().map(|costs| of(costs) / of(&first)))
                .collect(),
        });
    }
}

fn short() -> SpawnRequest {
    SpawnRequest {
        cmd: "/bin/true".into(),
        exit_retention: Some(Duration::from_secs(24 * 60 * 60)),
        ..SpawnRequest::default()
    }
}

fn measure(host: &Host, scope: &Scope, id: &str) -> [f64; CALLS.len()] {
    let [status, read] = quick(scope, id);
    let (mut spawn, mut stop, mut timer) = (Vec::new(), Vec::new(), Vec::new());
    host.runtime.block_on(async {
        for _ in 0..100 {
            let begun = Instant::now();
            let id = host.start(scope, idle()).await;
            spawn.push(micros(begun.elapsed()));
            let begun = Instant::now();
            scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
            stop.push(micros(begun.elapsed()));
        }
        for _ in 0..20 {
            let request = SpawnRequest {
                max_lifetime: Some(LIFETIME),
                ..idle()
            };
            let begun = Instant::now();
            let id = host.start(scope, request).await;
            let started = Instant::now();
            // The timer ended the process, and its id is removed with it. A wait gets the exit, or comes after it.
            drop(scope.wait(&id, Duration::from_secs(60)).await);
            // The lifetime began at some time between the two, so half of the start's duration is subtracted from the
            // delay.
            let half = (started - begun) / 2;
            timer.push(micros(begun.elapsed().saturating_sub(half + LIFETIME)));
        }
    });
    [status, read, median(&mut spawn), median(&mut stop), median(&mut timer)]
}

/// `status` and `read-since`.
fn quick(scope: &Scope, id: &str) -> [f64; 2] {
    let status = repeated(20_000, || drop(scope.status(id).unwrap()));
    let cursor = scope.read_since(id, LogStream::Stdout, None, 0).unwrap().next;
    let read = repeated(20_000, || {
        drop(scope.read_since(id, LogStream::Stdout, Some(&cursor), 4096).unwrap());
    });
    [status, read]
}

fn repeated(rounds: usize, mut call: impl FnMut()) -> f64 {
    let time = |_| {
        let begun = Instant::now();
        call();
        micros(begun.elapsed())
    };
    median(&mut (0..rounds).map(time).collect::<Vec<_>>())
}

/// Descriptors are the scarcest resource of a process. The service manager of a host with thousands of processes
/// provides them. Returns how many there are.
pub(crate) fn allow_descriptors(wanted: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let current = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    let raised = Rlimit {
        current: Some(current),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    usize::try_from(current).unwrap()
}
