//! lossless: all output of a child, through a ring that makes it wait, read by cursor.

use std::time::{Duration, Instant};

use capsule_host::supervisor::{LogStream, Overflow, Scope, SpawnRequest};

use crate::drain;
use crate::host::{Host, request};
use crate::report::{Report, Target, Unit, gigabytes_per_second, median, micros};

pub(crate) const SIZE: usize = 1 << 30;
const CHUNK: usize = 128 << 10;
const ROUNDS: usize = 5;

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    let best = drain::best_loop(SIZE / 4, CHUNK);
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limits.push(rate(drain::bare(best, SIZE, CHUNK).time));
        ours.push(rate(through_host(&host)));
    }
    let (ours, limit) = (median(&mut ours), median(&mut limits));
    report.line(
        "lossless",
        "1 GiB through a 1 MiB ring, by cursor in the core",
        &format!("{ours:.2} GB/s"),
        &format!("{limit:.2} GB/s (bare pipe: {})", best.describe()),
        ours / limit,
        Unit::Times,
        Target::AtLeast(0.5),
    );
}

pub(crate) fn rate(time: Duration) -> f64 {
    gigabytes_per_second(SIZE as f64, micros(time))
}

/// A child that writes all of it, and waits for room.
pub(crate) fn writer() -> SpawnRequest {
    SpawnRequest {
        overflow: Overflow::Backpressure,
        ..request(&["flood", &SIZE.to_string(), &CHUNK.to_string()])
    }
}

pub(crate) fn through_host(host: &Host) -> Duration {
    let scope = host.scope("lossless");
    let begun = Instant::now();
    let total = host.runtime.block_on(async {
        let id = host.start(&scope, writer()).await;
        let total = follow(&scope, &id).await;
        scope.release(&id).await.unwrap();
        total
    });
    assert_eq!(total, SIZE);
    begun.elapsed()
}

async fn follow(scope: &Scope, id: &str) -> usize {
    let handle = scope.attach(id).unwrap();
    let ready = handle.logs_ready();
    let (mut total, mut cursor) = (0, None::<String>);
    loop {
        let chunk = scope
            .read_since(id, LogStream::Stdout, cursor.as_deref(), 1 << 18)
            .unwrap();
        total += chunk.data.len();
        if chunk.drained_eof {
            return total;
        }
        cursor = Some(chunk.next);
        if chunk.data.is_empty() {
            ready.ready().await;
        }
    }
}
