//! drain: how fast a child can write when no caller reads, compared with the best loop that only reads a pipe.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;

use crate::child;
use crate::host::{Host, request};
use crate::report::{Report, Target, Unit, gigabytes_per_second, median, micros};

const GIB: usize = 1 << 30;
/// One GiB each, so that a slow phase of the machine affects all ways. In such phases, which last for seconds, every
/// loop has a third of its speed, for example because the two processors are far from each other.
const ROUNDS: usize = 24;
/// The size of the processor's caches.
const LINE: usize = 64;

/// A way to read a pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    nonblocking: bool,
    pipe: usize,
    buffer: usize,
    /// Whether the bytes stay in place until a MiB was read after them, as in a ring, and an epoll watches the pipe, as
    /// in a runtime. Otherwise all bytes go to the same place, which is in the processor's nearest cache, and no epoll
    /// is notified of a write.
    keeps: bool,
}

/// A duration, and the processor time used in it.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    for (row, chunk, name) in [
        ("drain", 128 << 10, "24 GiB in writes of 128 KiB, one at a time"),
        (
            "drain, small writes",
            4 << 10,
            "24 GiB in writes of 4 KiB, one at a time",
        ),
    ] {
        let best = best_loop(GIB, chunk);
        let keeping = Loop { keeps: true, ..best };
        let costs: Vec<[Cost; 3]> = (0..ROUNDS)
            .map(|_| {
                [
                    bare(best, GIB, chunk),
                    through_host(&host, GIB, chunk),
                    bare(keeping, GIB, chunk),
                ]
            })
            .collect();
        let middle = |value: &dyn Fn(&[Cost; 3]) -> f64| median(&mut costs.iter().map(value).collect::<Vec<_>>());
        let rate = |cost: Cost| gigabytes_per_second(GIB as f64, micros(cost.time));
        let ours = format!("{:.2} GB/s", middle(&|[_, ours, _]| rate(*ours)));
        report.line(
            row,
            name,
            &ours,
            &format!("{:.2} GB/s ({})", middle(&|[limit, ..]| rate(*limit)), best.describe()),
            middle(&|[limit, ours, _]| rate(*ours) / rate(*limit)),
            Unit::Times,
            Target::AtLeast(0.9),
        );
        report.line(
            row,
            name,
            &ours,
            &format!(
                "{:.2} GB/s (the same loop, that keeps the last MiB and is watched by an epoll)",
                middle(&|[.., keeping]| rate(*keeping))
            ),
            middle(&|[_, ours, keeping]| rate(*ours) / rate(*keeping)),
            Unit::Times,
            Target::None,
        );
        if chunk > 4 << 10 {
            // Seconds of processor time for a gigabyte.
            let cpu = |cost: Cost| cost.cpu.as_secs_f64() / (GIB as f64 / 1e9);
            report.line(
                row,
                "the host's processor time",
                &format!("{:.3} s/GB", middle(&|[_, ours, _]| cpu(*ours))),
                &format!("{:.3} s/GB", middle(&|[limit, ..]| cpu(*limit))),
                middle(&|[limit, ours, _]| cpu(*ours) / cpu(*limit)),
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

/// The fastest way to read what a child writes.
pub(crate) fn best_loop(size: usize, chunk: usize) -> Loop {
    let ways = [false, true].into_iter().flat_map(|nonblocking| {
        [64 << 10, 1 << 20].into_iter().flat_map(move |pipe| {
            [4 << 10, 64 << 10, 256 << 10, 1 << 20].map(|buffer| Loop {
                nonblocking,
                pipe,
                buffer,
                keeps: false,
            })
        })
    });
    let timed = |way: Loop| (0..3).map(|_| bare(way, size, chunk).time).min();
    ways.min_by_key(|way| timed(*way)).unwrap()
}

/// The cost of reading a child's output without using it.
pub(crate) fn bare(way: Loop, size: usize, chunk: usize) -> Cost {
    let size_of_buffer = way.buffer + if way.keeps { 1 << 20 } else { 0 };
    let mut buffer = vec![0_u8; size_of_buffer + LINE];
    // The kernel copies to the beginning of a cache line several times as fast as to other addresses.
    let begin = buffer.as_ptr().align_offset(LINE);
    let buffer = buffer.get_mut(begin..begin + size_of_buffer).unwrap();
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
        let watched = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        if way.keeps {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&watched, &pipe, epoll::EventData::new_u64(0), flags).unwrap();
        }
        let (mut total, mut at) = (0, 0);
        loop {
            match rustix::io::read(&pipe, buffer.get_mut(at..at + way.buffer).unwrap()) {
                Ok(0) => break,
                Ok(count) => {
                    total += count;
                    if way.keeps {
                        at = (at + count) % (1 << 20);
                    }
                }
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

/// The processor time of this process without its children.
pub(crate) fn cpu_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).unwrap()
}

impl Loop {
    pub(crate) fn describe(self) -> String {
        let kind = if self.nonblocking { "non-blocking" } else { "blocking" };
        format!("{kind}, pipe {} KiB, buffer {} KiB", self.pipe >> 10, self.buffer >> 10)
    }
}
