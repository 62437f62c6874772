//! Processes that take and keep everything that the kernel counts for a user, for a namespace or not at all.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use crate::say;
use crate::sys::{self, Answer, Memory, at, call, int};

const MIB: usize = 1 << 20;
const STEP: usize = 16;

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    let number = args
        .first()
        .and_then(|arg| arg.parse::<usize>().ok())
        .unwrap_or_default();
    match behaviour {
        // Page tables for memory that is only read, and no memory of the process itself.
        "tables" => crate::greed::hold(number, || {
            let apart = 2 * MIB;
            let tables = STEP * MIB / 4096;
            let sharing = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            Memory::map(tables * apart, sharing, -1)?.look_at_every(apart);
            Ok(())
        }),
        "semaphores" => crate::greed::hold(number, || {
            for _ in 0..STEP / 2 {
                call(libc::SYS_semget, &[0, 32_000, int(libc::IPC_CREAT | 0o600)])?;
            }
            Ok(())
        }),
        "messages" => crate::greed::hold(number, || {
            for _ in 0..STEP * MIB / 16_384 {
                queue_full()?;
            }
            Ok(())
        }),
        // A file that grows after the process's first thread has ended.
        "headless-tmpfs" => {
            let mut file = File::create("/tmp/much").expect("a file");
            drop(std::thread::spawn(move || {
                crate::greed::hold(number, || {
                    file.write_all(&vec![1; STEP * MIB])
                        .map_err(|error| error.raw_os_error().unwrap_or_default())
                })
            }));
            sys::end_thread()
        }
        // As many as it gets, up to a number, kept or given back.
        "watchers" => {
            let taken = take(number, || call(libc::SYS_inotify_init1, &[0]));
            done(&format!("took {taken}"), args);
        }
        "watches" => {
            let taken = watches(number);
            done(&format!("took {taken}"), args);
        }
        "in-flight" => {
            let taken = take(number, in_flight);
            done(&format!("took {taken}"), args);
        }
        "signals" => {
            let taken = take(number, timer);
            done(&format!("took {taken}"), args);
        }
        "priority" => {
            let policy = call(libc::SYS_sched_getscheduler, &[0]).unwrap_or(usize::MAX);
            // The kernel's own value counts down from 20.
            let nice = call(libc::SYS_getpriority, &[int(0), 0]).unwrap_or_default();
            let io = call(libc::SYS_ioprio_get, &[1, 0]).unwrap_or(usize::MAX) >> 13;
            say(&format!("policy {policy} nice {nice} io {io}"));
        }
        _ => return false,
    }
    true
}

/// Epoll watches, in the way that needs the fewest descriptors: each file under as many descriptor numbers as possible.
/// Each number is watched separately, and its watch stays when the number belongs to another file.
fn watches(most: usize) -> usize {
    const NUMBERS: std::ops::Range<usize> = 1000..4000;
    const INSTANCES: usize = 64;
    let instances: Vec<_> = (0..INSTANCES)
        .flat_map(|_| call(libc::SYS_epoll_create1, &[0]))
        .collect();
    let event = libc::epoll_event { events: 1, u64: 0 };
    let mut taken = 0;
    while taken < most {
        let Ok(file) = call(libc::SYS_eventfd2, &[0, 0]) else {
            return taken;
        };
        for number in NUMBERS.take(most - taken) {
            if call(libc::SYS_dup3, &[file, number, 0]).is_err() {
                return taken;
            }
            for instance in instances.iter().take(most - taken) {
                let add = [*instance, int(libc::EPOLL_CTL_ADD), number, at(&event)];
                if call(libc::SYS_epoll_ctl, &add).is_err() {
                    return taken;
                }
                taken += 1;
            }
        }
        if instances.is_empty() {
            return taken;
        }
    }
    taken
}

fn take(most: usize, mut one: impl FnMut() -> Answer) -> usize {
    (0..most).take_while(|_| one().is_ok()).count()
}

fn done(said: &str, args: &[&str]) {
    say(said);
    if args.get(1) == Some(&"keep") {
        sys::pause();
    }
}

/// A message queue that is full.
fn queue_full() -> Result<(), i32> {
    const MESSAGE: usize = 8192;
    let queue = call(libc::SYS_msgget, &[0, int(libc::IPC_CREAT | 0o600)])?;
    let mut message = vec![0_u8; 8 + MESSAGE];
    // Its type, which is not 0.
    message.splice(..1, [1]);
    while call(
        libc::SYS_msgsnd,
        &[queue, at(message.as_slice()), MESSAGE, int(libc::IPC_NOWAIT)],
    )
    .is_ok()
    {}
    Ok(())
}

/// As many files in transit as one message carries, in a pair of sockets that holds nothing else.
fn in_flight() -> Answer {
    const FILES: usize = 253;
    let mut pair = [0_i32; 2];
    call(
        libc::SYS_socketpair,
        &[int(libc::AF_UNIX), int(libc::SOCK_DGRAM), 0, sys::at_mut(&mut pair)],
    )?;
    let [_, from] = pair;
    let null = File::open("/dev/null").map_err(|error| error.raw_os_error().unwrap_or_default())?;
    // A header with a length, a level and a type, followed by the descriptor numbers.
    let mut control = Vec::new();
    control.extend((16 + 4 * FILES).to_ne_bytes());
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    for _ in 0..FILES {
        control.extend(null.as_raw_fd().to_ne_bytes());
    }
    control.resize(control.len().next_multiple_of(8), 0);
    let byte = [0_u8];
    let part = [at(&byte), 1];
    let header = [0_usize, 0, at(&part), 1, at(control.as_slice()), 16 + 4 * FILES, 0];
    call(libc::SYS_sendmsg, &[int(from), at(&header), int(libc::MSG_DONTWAIT)])
}

/// A timer, for which the kernel reserves a signal.
fn timer() -> Answer {
    let mut id = 0_i32;
    call(
        libc::SYS_timer_create,
        &[int(libc::CLOCK_MONOTONIC), 0, sys::at_mut(&mut id)],
    )
}
