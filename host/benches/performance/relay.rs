//! A process between this one and a command, that starts it, waits for it and says so through a pipe, and nothing else.
//!
//! A tree has to have somebody who stays behind to end it when the host is gone; this is what the detour alone costs, without
//! a host or a supervisor, and without anybody who is made for each command.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::host::Host;
use crate::{child, exit, spawn};

const TRUE: u8 = b't';
const SLEEP: u8 = b's';

pub(crate) struct Relay {
    process: Child,
    orders: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let (program, args) = child::command(&["relay"]);
        #[expect(clippy::disallowed_methods, reason = "what is compared with")]
        let mut process = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: process.stdin.take(),
            answers: process.stdout.take().unwrap(),
            process,
        }
    }

    /// From the order to the exit of `/bin/true`.
    pub(crate) fn spawn(&mut self) -> Duration {
        let begun = Instant::now();
        self.order(TRUE);
        self.answers.read_exact(&mut [0]).unwrap();
        begun.elapsed()
    }

    /// From the kill of a sleeper to the knowing of a task in the host's runtime.
    pub(crate) fn exit_seen(&mut self, host: &Host) -> Duration {
        self.order(SLEEP);
        let mut pid = [0; 4];
        self.answers.read_exact(&mut pid).unwrap();
        exit::sleeps(&format!("/proc/{}/stat", self.process.id()));
        let answers = self.answers.as_fd().try_clone_to_owned().unwrap();
        let waiter = host.runtime.block_on(async {
            let answers = AsyncFd::with_interest(answers, Interest::READABLE).unwrap();
            exit::waiting(async move {
                drop(answers.readable().await.unwrap());
                Instant::now()
            })
            .await
        });
        let begun = exit::kill(u32::from_ne_bytes(pid));
        let seen = host.runtime.block_on(waiter).unwrap();
        self.answers.read_exact(&mut [0]).unwrap();
        seen - begun
    }

    fn order(&mut self, order: u8) {
        self.orders.as_ref().unwrap().write_all(&[order]).unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The end of its orders is its own.
        self.orders = None;
        self.process.wait().unwrap();
    }
}

/// The process itself.
pub(crate) fn main() {
    let mut stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    let mut order = [0];
    while stdin.read(&mut order).unwrap() > 0 {
        if order == [TRUE] {
            spawn::bare("/bin/true", &[]);
        } else {
            let mut sleeper = exit::sleeper().spawn().unwrap();
            stdout.write_all(&sleeper.id().to_ne_bytes()).unwrap();
            sleeper.wait().unwrap();
        }
        stdout.write_all(&[0]).unwrap();
    }
}
