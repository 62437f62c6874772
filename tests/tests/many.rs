//! A thousand live processes in one registry: they have no threads of their own, and none is left at the end (X4, T4,
//! B3).
//!
//! Threads are counted for the whole test process, so this is one test in a binary of its own.

use std::collections::BTreeSet;

use capsule_host::supervisor::{Phase, SpawnRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use capsule_tests::{Host, cat, chunk, lines, watchdog};

const PROCESSES: usize = 1_000;

/// A number from `/proc/self/status`.
fn own(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let rest = status.lines().find_map(|line| line.strip_prefix(field));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("a number")
}

/// The start time of a process, in ticks since the machine started. It distinguishes the process from a later one with
/// the same pid.
fn begun(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn threads() -> usize {
    own("Threads:")
}

/// In KiB.
fn resident() -> usize {
    own("VmRSS:")
}

/// Each process has two pipes for its output, one for its stdin, and a pidfd.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let needed = 5 * u64::try_from(PROCESSES).expect("small");
    let current = limit.current.map_or(limit.maximum, |current| {
        Some(
            limit
                .maximum
                .map_or(current.max(needed), |maximum| maximum.min(current.max(needed))),
        )
    });
    assert!(
        current.is_none_or(|current| current >= needed),
        "this test needs {needed} open files: raise the hard limit"
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current,
            maximum: limit.maximum,
        },
    )
    .expect("within the hard limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_l5_a_thousand_processes_have_no_thread_each_and_end_together() {
    allow_descriptors();
    let host = Host::roomy();
    let scope = host.scope();
    let request = || SpawnRequest {
        log_ring_bytes: Some(8 << 20),
        ..cat()
    };
    // The first processes start all threads that there will be.
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(host.start(request()).await);
    }
    let (before, memory) = (threads(), resident());
    while ids.len() < PROCESSES {
        ids.push(host.start(request()).await);
    }
    let waits: Vec<_> = ids
        .iter()
        .map(|id| {
            let (scope, id) = (scope.clone(), id.clone());
            tokio::spawn(async move { scope.wait(&id, capsule_tests::PATIENCE).await })
        })
        .collect();
    // One line through each process, and its status.
    let mut pids = BTreeSet::new();
    for (number, id) in ids.iter().enumerate() {
        let line = format!("{number}\n").into_bytes();
        watchdog(scope.write_stdin(id, line)).await.expect("it reads");
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(lines(&scope, id, 1).await, [number.to_string()]);
        let info = scope.status(id).expect("it is there");
        assert_eq!(info.phase, Phase::Running);
        assert!(info.stdin_open);
        let pid = info.os_pid.expect("it runs");
        pids.insert((pid, begun(pid).expect("it runs")));
    }
    assert_eq!(pids.len(), PROCESSES);
    assert_eq!(scope.list(None).len(), PROCESSES);
    assert_eq!(scope.status_many(ids.iter().map(String::as_str)).len(), PROCESSES);
    assert_eq!(host.registry.retained(), PROCESSES);
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    // L5: a ring uses memory only as output arrives. The rings have 16 GiB together, and one line each.
    let more = resident().saturating_sub(memory);
    assert!(more < 256 << 10, "{more} KiB for {PROCESSES} processes");
    let now = threads();
    assert!(
        now <= before + 4,
        "{before} threads with 10 processes, {now} with {PROCESSES}"
    );
    chunk(&scope, &ids[0], capsule_host::supervisor::LogStream::Stdout, None, 1);

    watchdog(host.registry.shutdown()).await;
    assert_eq!(host.registry.tasks(), 0);
    for (pid, at) in pids {
        assert_ne!(begun(pid), Some(at), "gone when the shutdown returns");
    }
    for wait in waits {
        watchdog(wait).await.expect("no panic").map(|_| ()).unwrap_or_default();
    }
}
