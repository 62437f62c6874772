//! wake: the time until a child that waits for room writes again, after there is room.

use std::time::{Duration, Instant};

use capsule_host::supervisor::{LogStream, Overflow, SpawnRequest};
use rustix::event::{EventfdFlags, eventfd};

use crate::host::{Host, buffered, request};
use crate::report::{Report, Target, Unit, micros, quantile};

const ROUNDS: usize = 2000;
const RING: u64 = 1 << 20;

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    let scope = host.scope("wake");
    let mut times = host.runtime.block_on(async {
        let endless = usize::MAX.to_string();
        let request = SpawnRequest {
            overflow: Overflow::Backpressure,
            ..request(&["flood", &endless, "4096"])
        };
        let id = host.start(&scope, request).await;
        let pid = scope.status(&id).unwrap().os_pid.unwrap();
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            // The bytes are drained, so that none of the bytes that fill the ring is acknowledged.
            drop(scope.read_logs(&id).unwrap());
            buffered(&scope, &id, RING).await;
            asleep(pid).await;
            let end = scope.read_since(&id, LogStream::Stdout, None, u32::MAX).unwrap().next;
            // Presenting the cursor frees all of the ring.
            let begun = Instant::now();
            let read = || scope.read_since(&id, LogStream::Stdout, Some(&end), 4096).unwrap();
            while read().data.is_empty() {
                tokio::task::yield_now().await;
            }
            times.push(micros(begun.elapsed()));
        }
        scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        times
    });
    let mut limits = ping_pong();
    for (percent, target) in [(50, 100.0), (99, 1000.0)] {
        let time = quantile(&mut times, percent);
        report.line(
            "wake",
            &format!("first free byte to new bytes, p{percent}"),
            &format!("{time:.1} µs"),
            &format!(
                "{:.1} µs (a thread wakes another by eventfd)",
                quantile(&mut limits, percent)
            ),
            time,
            Unit::Micros,
            Target::AtMost(target),
        );
    }
}

/// Waits until the child waits. It only ever waits for room.
async fn asleep(pid: u32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.contains(") S ") {
            return;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

/// The time that a thread takes to wake another.
fn ping_pong() -> Vec<f64> {
    let (there, back) = (
        eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
        eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
    );
    let mut value = [0; 8];
    let one = 1_u64.to_ne_bytes();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut value = [0; 8];
            for _ in 0..ROUNDS {
                rustix::io::read(&there, &mut value).unwrap();
                rustix::io::write(&back, &one).unwrap();
            }
        });
        let round = |_| {
            let begun = Instant::now();
            rustix::io::write(&there, &one).unwrap();
            rustix::io::read(&back, &mut value).unwrap();
            // Two wake-ups, there and back.
            micros(begun.elapsed()) / 2.0
        };
        (0..ROUNDS).map(round).collect()
    })
}
