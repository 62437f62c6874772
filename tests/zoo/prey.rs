//! Users that attack other users: their processes, and what the kernel counts for a user.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::parent_id;

use crate::say;
use crate::sys::{self, call, int};

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match (behaviour, args) {
        ("prowl", []) => prowl(),
        ("hoard-inotify", []) => {
            let mut had = 0;
            // No more than a user may have anywhere.
            while had < 4096 && call(libc::SYS_inotify_init1, &[0]).is_ok() {
                had += 1;
            }
            say(&format!("had {had}"));
            say("hoarded");
            sys::pause()
        }
        ("want-inotify", []) => say(&format!("{:?}", call(libc::SYS_inotify_init1, &[0]).is_ok())),
        _ => return false,
    }
    true
}

/// Waits for new inits, and prints what it could open of them. It ends when its parent does, or when it is killed.
fn prowl() {
    let mut seen = 0_u32;
    let parent = parent_id();
    say("up");
    while parent_id() == parent {
        // The pid of the newest process, at the end of the line. Earlier processes may not be ready yet.
        let load = fs::read_to_string("/proc/loadavg").expect("/proc");
        let last: i32 = load
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|last| last.parse().ok())
            .expect("a number");
        for pid in last.saturating_sub(12)..=last.saturating_add(2) {
            if is_init(pid) {
                seen += 1;
                if seen == 1 {
                    say("saw one");
                }
                attack(pid);
            }
        }
    }
}

fn is_init(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "capsule-init")
}

fn attack(pid: i32) {
    for file in ["environ", "mem", "maps"] {
        // A process that has executed another program no longer counts. Of an ended process any user may open empty
        // files.
        let read = File::open(format!("/proc/{pid}/{file}")).map(|mut file| file.read(&mut [0]));
        let is_there = read.is_ok_and(|read| !matches!(read, Ok(0)));
        if is_there && is_init(pid) {
            say(&format!("opened {file} of {pid}"));
        }
    }
    let number = int(pid);
    let seized = call(
        libc::SYS_ptrace,
        &[usize::try_from(libc::PTRACE_SEIZE).expect("small"), number],
    )
    .is_ok();
    if seized && is_init(pid) {
        say(&format!("traced {pid}"));
    }
    if call(libc::SYS_kill, &[number, int(libc::SIGSTOP)]).is_ok() && is_init(pid) {
        say(&format!("stopped {pid}"));
        sys::just(libc::SYS_kill, &[number, int(libc::SIGCONT)]);
    }
}
