//! waiting, trees: what a host uses while it only waits.

use std::time::Duration;

use capsule_host::supervisor::{Overflow, SpawnRequest};

use crate::drain::cpu_time;
use crate::host::{Host, buffered, idle, request};
use crate::report::{Report, Target, Unit};
use crate::scale::allow_descriptors;

pub(crate) const TIME: Duration = Duration::from_secs(5);
const RINGS: usize = 200;
const RING: u32 = 64 << 10;
const TREES: usize = 1000;

pub(crate) fn run(report: &mut Report) {
    allow_descriptors(16 * 1024);
    let host = Host::unconfined();
    let idle = percent_of_a_core(&host);
    let scope = host.scope("waiting");
    let ids = host.runtime.block_on(async {
        let mut ids = Vec::new();
        for _ in 0..RINGS {
            let request = SpawnRequest {
                overflow: Overflow::Backpressure,
                log_ring_bytes: Some(RING),
                ..request(&["flood", &usize::MAX.to_string(), "4096"])
            };
            ids.push(host.start(&scope, request).await);
        }
        for id in &ids {
            buffered(&scope, id, u64::from(RING)).await;
        }
        ids
    });
    let stalled = percent_of_a_core(&host);
    line(report, &format!("{RINGS} stalled rings for 5 s"), stalled, idle);
    host.runtime.block_on(async {
        for id in ids {
            scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        }
    });
}

/// Idle trees, each with the default limits of its owner: the cost is that of sampling them.
pub(crate) fn idle_trees(report: &mut Report) {
    allow_descriptors(64 * 1024);
    let host = Host::confined();
    let alone = percent_of_a_core(&host);
    let scope = host.scope("idle");
    let ids = host.runtime.block_on(async {
        let mut ids = Vec::new();
        for _ in 0..TREES {
            ids.push(host.start(&scope, idle()).await);
        }
        ids
    });
    // Each is sampled once before it is known to be idle.
    let _first_looks = percent_of_a_core(&host);
    let used = percent_of_a_core(&host);
    report.line(
        "trees",
        &format!("{TREES} idle confined trees for 5 s"),
        &format!("{used:.3} % of a core"),
        &format!("{alone:.3} % (an idle host)"),
        used,
        Unit::Percent,
        Target::None,
    );
    host.runtime.block_on(async {
        for id in ids {
            scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        }
    });
}

pub(crate) fn line(report: &mut Report, workload: &str, used: f64, idle: f64) {
    report.line(
        "waiting",
        workload,
        &format!("{used:.3} % of a core"),
        &format!("{idle:.3} % (an idle host)"),
        used,
        Unit::Percent,
        Target::AtMost(0.2),
    );
}

/// The processor time of this process in five seconds in which nothing happens.
pub(crate) fn percent_of_a_core(host: &Host) -> f64 {
    let before = cpu_time();
    host.runtime.block_on(async { tokio::time::sleep(TIME).await });
    (cpu_time() - before).as_secs_f64() / TIME.as_secs_f64() * 100.0
}
