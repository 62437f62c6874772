//! others' calls: the cost of `status` for one process while another's output floods in and is read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capsule_host::supervisor::{LogStream, Scope};

use crate::host::{Host, idle, request};
use crate::report::{Report, Target, Unit, micros, quantile};

const CALLS: usize = 200_000;

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    let scope = host.scope("others");
    let quiet = host.runtime.block_on(host.start(&scope, idle()));
    let mut alone = calls(&scope, &quiet);
    let endless = usize::MAX.to_string();
    let noisy = host
        .runtime
        .block_on(host.start(&scope, request(&["flood", &endless, "131072"])));
    let over = AtomicBool::new(false);
    let mut beside = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                scope.read_since(&noisy, LogStream::Stdout, None, u32::MAX).unwrap();
            }
        });
        let times = calls(&scope, &quiet);
        over.store(true, Ordering::Relaxed);
        times
    });
    host.runtime.block_on(async {
        scope.stop(&noisy, Some(Duration::ZERO)).await.unwrap();
    });
    for (percent, target) in [(50, 2.0), (99, 2.0)] {
        let time = quantile(&mut beside, percent);
        report.line(
            "others' calls",
            &format!("`status` of B while A floods and is read, p{percent}"),
            &format!("{time:.2} µs"),
            &format!("{:.2} µs (alone)", quantile(&mut alone, percent)),
            time,
            Unit::Micros,
            Target::AtMost(target),
        );
    }
}

fn calls(scope: &Scope, id: &str) -> Vec<f64> {
    let call = |_| {
        let begun = Instant::now();
        let info = scope.status(id).unwrap();
        let time = micros(begun.elapsed());
        drop(info);
        time
    };
    (0..CALLS).map(call).collect()
}
