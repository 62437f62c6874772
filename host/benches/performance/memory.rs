//! memory: the cost of a process for the host while it is idle, with a full ring, and after it was released.

use std::time::Duration;

use capsule_host::supervisor::SpawnRequest;

use crate::host::{Host, buffered, idle, request};
use crate::report::{Report, Target, Unit};
use crate::scale::allow_descriptors;

const IDLE: usize = 2000;
const FULL: usize = 400;
const RING: usize = 1 << 20;

pub(crate) fn run(report: &mut Report) {
    allow_descriptors(64 * 1024);
    let host = Host::unconfined();
    let scope = host.scope("memory");
    // The first processes allocate what all of them share.
    let warm: Vec<_> = start(&host, 50, idle);
    let before = resident();
    let ids = start(&host, IDLE, idle);
    let idle = (resident() - before) / IDLE as f64;
    report.line(
        "memory",
        &format!("an idle process, of {IDLE}"),
        &format!("{idle:.1} KiB"),
        "–",
        idle,
        Unit::Kibibytes,
        Target::AtMost(8.0),
    );
    stop(&host, ids);

    let one_full = || SpawnRequest {
        keep_stdin_open: true,
        ..request(&["serve", &RING.to_string(), "ascii"])
    };
    let before = resident();
    let ids = start(&host, FULL, one_full);
    host.runtime.block_on(async {
        for id in &ids {
            scope.write_stdin(id, vec![1]).await.unwrap();
            buffered(&scope, id, RING as u64).await;
        }
    });
    let full = (resident() - before) / FULL as f64;
    report.line(
        "memory",
        &format!("a process with one full ring of 1 MiB, of {FULL}"),
        &format!("{full:.1} KiB"),
        "–",
        full,
        Unit::Kibibytes,
        Target::AtMost(1.02 * 1024.0),
    );
    stop(&host, ids);
    let returned = (1.0 - (resident() - before).max(0.0) / FULL as f64 / full) * 100.0;
    report.line(
        "memory",
        "how much of that is given back after the release",
        &format!("{returned:.1} %"),
        "–",
        returned,
        Unit::Percent,
        Target::AtLeast(98.0),
    );
    stop(&host, warm);
}

fn start(host: &Host, count: usize, request: impl Fn() -> SpawnRequest) -> Vec<String> {
    let scope = host.scope("memory");
    host.runtime.block_on(async {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(host.start(&scope, request()).await);
        }
        ids
    })
}

fn stop(host: &Host, ids: Vec<String>) {
    let scope = host.scope("memory");
    host.runtime.block_on(async {
        for id in ids {
            scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        }
    });
}

/// The anonymous memory of this process, in KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
