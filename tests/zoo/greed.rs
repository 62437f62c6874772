//! Processes that take more than they may: memory wherever it can be kept, and processor time in ways that are hard to
//! add up.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::say;
use crate::sys::{self, Memory, call, int, just, text};

const MIB: usize = 1 << 20;
const STEP: usize = 16;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const SHARED: i32 = libc::MAP_SHARED | libc::MAP_ANONYMOUS;

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    let number = args
        .first()
        .and_then(|arg| arg.parse::<usize>().ok())
        .unwrap_or_default();
    let millis = Duration::from_millis(u64::try_from(number).unwrap_or_default());
    match behaviour {
        // Private memory, which every sample sees.
        "touch" => hold(number, || private(STEP)),
        "tmpfs" => in_file("/tmp/much", number),
        "shm" => in_file("/dev/shm/much", number),
        "memfd" => memfd(number),
        // One part for each process.
        "eight" => {
            sys::block();
            for _ in 0..8 {
                if let Ok(None) = sys::fork() {
                    hold(number / 8, || private(STEP));
                }
            }
            sys::pause()
        }
        // Shared memory that no process has mapped, and that stays nevertheless.
        "unmapped" => hold(number, || {
            let memory = Memory::map(STEP * MIB, SHARED, -1)?;
            memory.touch();
            memory.forget();
            Ok(())
        }),
        // A process whose first thread has ended. A sample of that thread shows no memory.
        "headless" => {
            drop(std::thread::spawn(move || hold(number, || private(STEP))));
            sys::end_thread()
        }
        // Partly in the private file system, partly in memory, in a process that cannot be inspected.
        "half-and-half" => {
            just(libc::SYS_prctl, &[int(libc::PR_SET_DUMPABLE), 0]);
            fill("/tmp/much", number / 2);
            hold(number / 2, || private(STEP))
        }
        // Bytes in transit between sockets that no process holds.
        "pipes" => hold(number, || {
            for _ in 0..STEP {
                pipe_of_a_mebibyte()?;
            }
            Ok(())
        }),
        "sockets" => hold(number, || {
            let mut step = 0;
            while step < STEP * MIB {
                step += socket_full()?;
            }
            Ok(())
        }),
        // Large pages, each kept by a pipe that holds a small part of it, and mapped by no process.
        "spliced" => {
            let (_reader, mut writer) = std::io::pipe().expect("a pipe");
            let mut used = 0;
            hold(number, move || {
                for _ in 0..STEP / 2 {
                    if used == 16 {
                        let (reader, next) =
                            std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or_default())?;
                        std::mem::forget((reader, std::mem::replace(&mut writer, next)));
                        used = 0;
                    }
                    sys::splice_large(writer.as_raw_fd())?;
                    used += 1;
                }
                Ok(())
            })
        }
        "spin" => {
            sys::spin(millis);
            say("free");
        }
        // One after the other, each for a short time.
        "relay" => {
            relay(number, |part| {
                sys::spin(part);
                0
            });
            say("free");
        }
        // The same, and their usage is not collected.
        "relay-unseen" => {
            sys::ignore_children();
            relay(number, |part| {
                sys::spin(part);
                0
            });
            say("free");
        }
        // Each is a program that may be executed and not read. The kernel removes counters from such a process.
        "relay-unreadable" => {
            sys::ignore_children();
            let copy = "./unreadable";
            drop(std::fs::copy("/proc/self/exe", copy));
            drop(std::fs::set_permissions(copy, std::fs::Permissions::from_mode(0o111)));
            let part = args.get(1).and_then(|arg| arg.parse().ok()).unwrap_or(200);
            relay_in(number, part, |part| {
                execute(copy, &["spin", &part.as_millis().to_string()])
            });
            say("free");
        }
        "spin-apart" => {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            crate::trees::daemon(|| sys::spin(millis));
            drop(writer);
            crate::trees::drain(reader);
        }
        "open-files" => {
            let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(500).collect();
            say(&format!("open-files {}", files.len()));
        }
        _ => return false,
    }
    true
}

fn private(mib: usize) -> Result<(), i32> {
    Memory::map(mib * MIB, PRIVATE, -1).map(|memory| memory.touch())
}

/// Takes `total` MiB in steps, prints each step, and keeps the memory.
pub(crate) fn hold(total: usize, mut step: impl FnMut() -> Result<(), i32>) -> ! {
    for held in (STEP..=total).step_by(STEP) {
        if let Err(errno) = step() {
            say(&format!("refused {errno}"));
            sys::exit(3);
        }
        say(&format!("held {held}"));
    }
    say("all");
    sys::pause()
}

fn fill(path: &str, mib: usize) -> usize {
    let mut file = File::create(path).expect("a file");
    let chunk = vec![1; MIB];
    (0..mib).take_while(|_| file.write_all(&chunk).is_ok()).count()
}

fn in_file(path: &str, mib: usize) {
    let written = fill(path, mib);
    say(&format!("held {written}"));
    if written < mib {
        say("refused 28");
        sys::exit(3);
    }
    say("all");
    sys::pause()
}

fn memfd(mib: usize) {
    let name = text("much");
    let fd = match call(libc::SYS_memfd_create, &[name.as_ptr().expose_provenance(), 0]) {
        Ok(fd) => i32::try_from(fd).expect("a descriptor"),
        Err(errno) => {
            say(&format!("refused {errno}"));
            sys::exit(3)
        }
    };
    in_file(&format!("/proc/self/fd/{fd}"), mib);
}

fn pipe_of_a_mebibyte() -> Result<(), i32> {
    let raw = |error: std::io::Error| error.raw_os_error().unwrap_or_default();
    let (reader, writer) = std::io::pipe().map_err(raw)?;
    call(
        libc::SYS_fcntl,
        &[int(writer.as_raw_fd()), int(libc::F_SETPIPE_SZ), MIB],
    )?;
    (&writer).write_all(&vec![1; MIB]).map_err(raw)?;
    std::mem::forget((reader, writer));
    Ok(())
}

/// A pair of sockets that is full, and the number of bytes in it.
fn socket_full() -> Result<usize, i32> {
    let raw = |error: std::io::Error| error.raw_os_error().unwrap_or_default();
    let (near, far) = UnixStream::pair().map_err(raw)?;
    near.set_nonblocking(true).map_err(raw)?;
    let chunk = vec![1; MIB / 8];
    let mut held = 0;
    while let Ok(written) = (&near).write(&chunk) {
        held += written;
    }
    std::mem::forget((near, far));
    Ok(held)
}

/// `millis` of processor time in parts of 200 ms, each in a process of its own.
fn relay(millis: usize, part: impl Fn(Duration) -> i32) {
    relay_in(millis, 200, part);
}

fn relay_in(millis: usize, each: usize, part: impl Fn(Duration) -> i32) {
    let time = Duration::from_millis(u64::try_from(each).unwrap_or_default());
    for _ in 0..millis / each {
        match sys::fork() {
            Ok(None) => sys::exit(part(time)),
            // With SIGCHLD ignored this also waits for the end, and gets no usage.
            Ok(Some(pid)) => {
                sys::wait(pid);
            }
            Err(errno) => say(&format!("no fork: {errno}")),
        }
    }
}

fn execute(path: &str, args: &[&str]) -> i32 {
    let (path, args): (_, Vec<_>) = (
        text(path),
        std::iter::once("zoo").chain(args.iter().copied()).map(text).collect(),
    );
    let mut pointers: Vec<usize> = args.iter().map(|arg| arg.as_ptr().expose_provenance()).collect();
    pointers.push(0);
    let nothing = [0_usize];
    if let Ok(stdout) = File::create("/dev/null") {
        just(libc::SYS_dup2, &[int(stdout.as_raw_fd()), 1]);
    }
    let refused = call(
        libc::SYS_execve,
        &[
            path.as_ptr().expose_provenance(),
            sys::at(pointers.as_slice()),
            sys::at(&nothing),
        ],
    );
    refused.err().unwrap_or_default()
}
