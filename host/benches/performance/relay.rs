//! A process between this one and a command. It starts the command, waits for it and reports its end, and does nothing
//! else.
//!
//! Each tree needs a process that stays behind to end it when the host is gone. This file measures what that process
//! alone costs, and what it costs in a host that reads the command's output. It has no identity, no limit, no counter
//! and no registry, and makes no process for each command.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::net::unix::pipe::Receiver;

use crate::host::Host;
use crate::{bare, child};

const TRUE: u8 = b't';
const SLEEP: u8 = b's';
/// With stdout and stderr attached, and as long as the configuration of a small command.
const PIPED: u8 = b'p';
const LENGTH: usize = 240;

pub(crate) struct Relay {
    process: Child,
    orders: Option<UnixStream>,
    answers: ChildStdout,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let (program, args) = child::command(&[NAME]);
        let (ours, theirs) = UnixStream::pair().unwrap();
        #[expect(clippy::disallowed_methods, reason = "what is compared with")]
        let mut process = Command::new(program)
            .args(args)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: Some(ours),
            answers: process.stdout.take().unwrap(),
            process,
        }
    }

    /// The time from the order to the exit of `/bin/true`.
    pub(crate) fn spawn(&mut self) -> Duration {
        let begun = Instant::now();
        self.order(TRUE);
        self.answer();
        begun.elapsed()
    }

    /// The same for a task. Finding and loading a program can take long, so a thread that may block makes two pipes,
    /// sends the order and waits for the report of the start. Then the task reads both streams to their ends, and waits
    /// for the exit.
    pub(crate) fn spawn_piped(&mut self, host: &Host) -> Duration {
        let orders = self.orders.as_ref().unwrap().try_clone().unwrap();
        let mut started = File::from(self.answers.as_fd().try_clone_to_owned().unwrap());
        let task = host.runtime.spawn(async move {
            let begun = Instant::now();
            let ordering = tokio::task::spawn_blocking(move || {
                let streams = [(); 2].map(|()| std::io::pipe().unwrap());
                let theirs = streams.each_ref().map(|(_, theirs)| theirs.as_fd());
                order(&orders, PIPED, &theirs);
                let streams = streams.map(|(ours, _)| Receiver::from_owned_fd(ours.into()).unwrap());
                started.read_exact(&mut [0]).unwrap();
                (streams, Receiver::from_owned_fd(started.into()).unwrap())
            });
            let ([stdout, stderr], ended) = ordering.await.unwrap();
            tokio::join!(read_to_end(stdout), read_to_end(stderr));
            read_to_end(ended).await;
            begun.elapsed()
        });
        let time = host.runtime.block_on(task).unwrap();
        self.block();
        time
    }

    /// The time from the kill of a sleeper until a task in the host's runtime knows of it.
    pub(crate) fn exit_seen(&mut self, host: &Host) -> Duration {
        self.order(SLEEP);
        self.killed(host, async {})
    }

    /// The same for a task that first reads both streams to their ends, because the output must be there when the exit
    /// is visible.
    pub(crate) fn exit_seen_piped(&mut self, host: &Host) -> Duration {
        let streams = [(); 2].map(|()| std::io::pipe().unwrap());
        let theirs = streams.each_ref().map(|(_, theirs)| theirs.as_fd());
        order(self.orders.as_ref().unwrap(), SLEEP, &theirs);
        let [stdout, stderr] = {
            let _runtime = host.runtime.enter();
            streams.map(|(ours, _)| Receiver::from_owned_fd(ours.into()).unwrap())
        };
        self.killed(host, async {
            tokio::join!(read_to_end(stdout), read_to_end(stderr));
        })
    }

    /// Kills the sleeper that was ordered. Returns the time until a task knows of it that first does `first`.
    fn killed(&mut self, host: &Host, first: impl Future<Output = ()> + Send + 'static) -> Duration {
        let mut pid = [0; 4];
        self.answers.read_exact(&mut pid).unwrap();
        bare::sleeps(&format!("/proc/{}/stat", self.process.id()));
        let answers = {
            let _runtime = host.runtime.enter();
            self.answers()
        };
        let waiter = host.runtime.block_on(bare::waiting(async move {
            first.await;
            answers.readable().await.unwrap();
            Instant::now()
        }));
        let begun = bare::kill(u32::from_ne_bytes(pid));
        let seen = host.runtime.block_on(waiter).unwrap();
        self.block();
        self.answer();
        seen - begun
    }

    /// The reports, for tasks. They are non-blocking from here on.
    fn answers(&self) -> Receiver {
        Receiver::from_owned_fd(self.answers.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    /// Makes the reports blocking again, for threads.
    fn block(&self) {
        rustix::io::ioctl_fionbio(&self.answers, false).unwrap();
    }

    fn order(&self, order: u8) {
        self::order(self.orders.as_ref().unwrap(), order, &[]);
    }

    fn answer(&mut self) {
        self.answers.read_exact(&mut [0]).unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The process must be the only holder of its end of the orders.
        self.orders = None;
        self.process.wait().unwrap();
    }
}

fn order(orders: &UnixStream, order: u8, attached: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(attached));
    let message = [order; LENGTH];
    let message = if attached.is_empty() {
        &message[..1]
    } else {
        &message[..]
    };
    let sent = sendmsg(orders, &[IoSlice::new(message)], &mut control, SendFlags::empty());
    assert_eq!(sent.unwrap(), message.len());
}

/// The result of a call that writes one byte or none.
async fn read_to_end(pipe: Receiver) {
    // An error, because it would block.
    while pipe.try_read(&mut [0]).is_err() {
        pipe.readable().await.unwrap();
    }
}

/// The work of the process as the child.
pub(crate) const NAME: &str = "relay";

/// The process itself.
pub(crate) fn main() {
    let mut stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    while let Some((order, mut attached)) = ordered() {
        if order == TRUE {
            bare::run("/bin/true", &[]);
        } else {
            let mut command = bare::sleeper();
            if order == PIPED {
                #[expect(clippy::disallowed_methods, reason = "what is compared with")]
                let piped = Command::new("/bin/true");
                command = piped;
                command.stdin(Stdio::null());
            }
            if let (Some(stderr), Some(stdout)) = (attached.pop(), attached.pop()) {
                command.stdout(stdout).stderr(stderr);
            }
            let mut child = command.spawn().unwrap();
            // The ends of the pipes are closed with it.
            drop(command);
            if order == PIPED {
                stdout.write_all(&[0]).unwrap();
            } else {
                stdout.write_all(&child.id().to_ne_bytes()).unwrap();
            }
            child.wait().unwrap();
        }
        stdout.write_all(&[0]).unwrap();
    }
}

fn ordered() -> Option<(u8, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = [0; LENGTH];
    let slices = &mut [IoSliceMut::new(&mut message)];
    let received = recvmsg(std::io::stdin(), slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let attached = control.drain().filter_map(|message| {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            Some(rights)
        } else {
            None
        }
    });
    let attached = attached.flatten().collect();
    (received.bytes > 0).then_some((message[0], attached))
}
