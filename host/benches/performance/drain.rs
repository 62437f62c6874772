//! drain: how fast a child can write that nobody reads, beside the best loop that only reads a pipe.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::child;
use crate::host::{Host, request};
use crate::report::{Report, Target, Unit, gigabytes_per_second, median, micros};

const GIB: usize = 1 << 30;
const ROUNDS: usize = 5;

/// A way to read a pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    nonblocking: bool,
    pipe: usize,
    buffer: usize,
}

/// How long something took, and how much of a processor.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    for (row, chunk, name) in [
        ("drain", 128 << 10, "8 GiB in writes of 128 KiB"),
        ("drain, small writes", 4 << 10, "8 GiB in writes of 4 KiB"),
    ] {
        let best = best_loop(GIB, chunk);
        let (mut ours, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            limits.push(bare(best, 8 * GIB, chunk));
            ours.push(through_host(&host, 8 * GIB, chunk));
        }
        let rate = |costs: &[Cost]| {
            let mut rates: Vec<f64> = costs
                .iter()
                .map(|cost| gigabytes_per_second(8.0 * GIB as f64, micros(cost.time)))
                .collect();
            median(&mut rates)
        };
        // Seconds of processor time for a gigabyte.
        let cpu = |costs: &[Cost]| {
            let mut times: Vec<f64> = costs
                .iter()
                .map(|cost| cost.cpu.as_secs_f64() / (8.0 * GIB as f64 / 1e9))
                .collect();
            median(&mut times)
        };
        let limit = best.describe();
        report.line(
            row,
            name,
            &format!("{:.2} GB/s", rate(&ours)),
            &format!("{:.2} GB/s ({limit})", rate(&limits)),
            rate(&ours) / rate(&limits),
            Unit::Times,
            Target::AtLeast(0.9),
        );
        if chunk > 4 << 10 {
            report.line(
                row,
                "the host's processor time",
                &format!("{:.3} s/GB", cpu(&ours)),
                &format!("{:.3} s/GB", cpu(&limits)),
                cpu(&ours) / cpu(&limits),
                Unit::Times,
                Target::AtMost(1.15),
            );
        }
    }
}

fn through_host(host: &Host, size: usize, chunk: usize) -> Cost {
    let scope = host.scope("drain");
    measured(|| {
        host.runtime.block_on(async {
            let request = request(&["flood", &size.to_string(), &chunk.to_string()]);
            let id = host.start(&scope, request).await;
            let exit = scope.wait(&id, Duration::from_secs(300)).await.unwrap();
            assert_eq!(exit.exit_code, Some(0));
            scope.release(&id).await.unwrap();
        });
    })
}

/// The fastest of the ways to read what a child writes.
pub(crate) fn best_loop(size: usize, chunk: usize) -> Loop {
    let ways = [false, true].into_iter().flat_map(|nonblocking| {
        [64 << 10, 1 << 20].into_iter().flat_map(move |pipe| {
            [4 << 10, 64 << 10, 256 << 10, 1 << 20].map(|buffer| Loop {
                nonblocking,
                pipe,
                buffer,
            })
        })
    });
    let timed = |way: Loop| (0..3).map(|_| bare(way, size, chunk).time).min();
    ways.min_by_key(|way| timed(*way)).unwrap()
}

/// What reading a child's output costs where nothing is done with it.
pub(crate) fn bare(way: Loop, size: usize, chunk: usize) -> Cost {
    let mut buffer = vec![0; way.buffer];
    measured(|| {
        let (ours, childs) = std::io::pipe().unwrap();
        let (program, args) = child::command(&["flood", &size.to_string(), &chunk.to_string()]);
        rustix::pipe::fcntl_setpipe_size(&ours, way.pipe).unwrap();
        #[expect(clippy::disallowed_methods, reason = "what is compared with")]
        let mut child = Command::new(program)
            .args(args)
            .stdout(Stdio::from(OwnedFd::from(childs)))
            .spawn()
            .unwrap();
        let pipe = File::from(OwnedFd::from(ours));
        rustix::io::ioctl_fionbio(&pipe, way.nonblocking).unwrap();
        let mut total = 0;
        loop {
            match rustix::io::read(&pipe, &mut buffer) {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::new(&pipe.as_fd(), PollFlags::IN)], None).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(total, size);
        assert!(child.wait().unwrap().success());
    })
}

fn measured(work: impl FnOnce()) -> Cost {
    let (begun, cpu) = (Instant::now(), cpu_time());
    work();
    Cost {
        time: begun.elapsed(),
        cpu: cpu_time() - cpu,
    }
}

/// What this process has used, its children not counted.
pub(crate) fn cpu_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).unwrap()
}

impl Loop {
    pub(crate) fn describe(self) -> String {
        let kind = if self.nonblocking { "non-blocking" } else { "blocking" };
        format!("{kind}, pipe {} KiB, buffer {} KiB", self.pipe >> 10, self.buffer >> 10)
    }
}
