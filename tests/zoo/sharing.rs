//! Processes that observe or delay others through files that both can see.

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::say;
use crate::sys::{self, Answer, at, at_mut, call, int, text};

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match (behaviour, args) {
        ("listen", paths) => listen(paths),
        ("hold-locks", [path]) => {
            let file = File::open(path).expect("a file");
            for kind in LOCKS {
                say(&format!(
                    "{kind} {}",
                    lock(&file, kind, libc::F_RDLCK).err().unwrap_or(0)
                ));
            }
            say("held");
            sys::pause()
        }
        ("pipes", [path]) => {
            // Waits for a process to open the other end.
            let file = File::open(path).expect("a pipe");
            drop(file);
            say("met");
        }
        _ => return false,
    }
    true
}

/// The kinds of locks that a file can have.
pub(crate) const LOCKS: [&str; 3] = ["flock", "posix", "ofd"];

/// Asks for a lock without waiting for it: of the whole file by `flock`, or by the other calls for the other values of
/// `kind`.
fn lock(file: &File, name: &str, kind: i32) -> Answer {
    let fd = int(file.as_raw_fd());
    let how = match name {
        "flock" => return call(libc::SYS_flock, &[fd, int(libc::LOCK_EX | libc::LOCK_NB)]),
        "posix" => libc::F_SETLK,
        _ => libc::F_OFD_SETLK,
    };
    let range = Range {
        kind: i16::try_from(kind).expect("16 bits"),
        ..Range::default()
    };
    call(libc::SYS_fcntl, &[fd, int(how), at(&range)])
}

/// The kernel's `flock`: the whole file, if everything but the type is zero.
#[repr(C)]
#[derive(Default)]
struct Range {
    kind: i16,
    whence: i16,
    start: i64,
    length: i64,
    pid: i32,
}

/// Prints the events of `paths`, until one names a file called `done`.
fn listen(paths: &[&str]) {
    const EVERYTHING: usize = 0xfff;
    let inotify = call(libc::SYS_inotify_init1, &[0]).expect("inotify");
    for path in paths {
        let name = text(path);
        let watch = call(
            libc::SYS_inotify_add_watch,
            &[inotify, name.as_ptr().expose_provenance(), EVERYTHING],
        );
        say(&format!("watch {path} {watch:?}"));
    }
    say("listening");
    let mut buffer = [0_u8; 1 << 14];
    loop {
        let length = call(libc::SYS_read, &[inotify, at_mut(&mut buffer), size_of_val(&buffer)]).expect("events");
        let mut events = buffer.get(..length).unwrap_or_default();
        while let Some((header, rest)) = events.split_first_chunk::<16>() {
            let number = |at: usize| {
                let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                u32::from_ne_bytes(bytes.expect("four bytes"))
            };
            let (name, following) = rest.split_at(usize::try_from(number(12)).expect("a length"));
            events = following;
            let name = String::from_utf8_lossy(name);
            let name = name.trim_end_matches('\0');
            say(&format!("event {} {:x} {name}", number(0), number(4)));
            if name == "done" {
                return;
            }
        }
    }
}
