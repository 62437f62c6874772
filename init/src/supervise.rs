//! Supervises a running command until the end of its tree, in one loop.
//!
//! Three events can occur: a child changes its state, the host sends a command, or the host is gone. The command's exit
//! and the end of the channel have the same effect: every process is ended and reaped, then the host gets a report. Init's own
//! exit guarantees this: when pid 1 exits, the kernel first ends its namespace.
//!
//! A tree can make dead children faster than they are reaped, in any number of processes (contract B5). So no loop here
//! runs until no dead child is left. Init reaps a bounded number of children before it checks the channel again, and at the
//! end it kills the living processes before it reaps the dead ones.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use capsule_init::{Bound, Command, Config, Exit, Layer, Report};
use libc::{SIGCONT, SIGKILL, SIGTERM, c_int};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, WaitOptions, wait};

use crate::channel::Channel;
use crate::failure::At;
use crate::guest::{self, Guest};
use crate::{sweep, sys};

/// How all of the tree is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// This process is pid 1: its namespace is the tree.
    Namespace,
    /// All descendants of this process.
    Descendants,
}

/// The most dead children that are reaped between two looks at the channel.
const REAPS: usize = 64;

/// The state of the loop.
struct Supervisor<'a> {
    channel: &'a Channel,
    tree: Tree,
    pid: Pid,
    /// The status of the command, once it was reaped. Its pid may then belong to another process.
    status: Option<c_int>,
    /// Whether the host has been told the status.
    told: bool,
    /// The file that kills the tree's control group, if the tree has one that this process is not in.
    killer: Option<OwnedFd>,
}

/// The descriptors that the host gets once the command runs.
pub(crate) struct Attached {
    pub(crate) counter: Option<OwnedFd>,
    pub(crate) mapping: Option<OwnedFd>,
    /// The listener for calls that make epoll instances. Not kept here: if the host does not take it, the calls fail instead of
    /// waiting.
    pub(crate) epolls: Option<OwnedFd>,
    /// The first bind-mounted part of its view, see [`capsule_init::Report::Started`].
    pub(crate) bound: Option<Bound>,
    /// Whether the tree runs as the owner of its workspace.
    pub(crate) as_owner: bool,
    /// The configuration that the command was started from. It is freed only once the command has left this memory.
    pub(crate) spent: ManuallyDrop<Config>,
}

/// Stays until the tree has ended, and reports.
///
/// `children` says when a child has changed its state.
pub(crate) fn run(
    channel: &Channel,
    tree: Tree,
    guest: Guest,
    attached: Attached,
    children: &OwnedFd,
    killer: Option<OwnedFd>,
) {
    let mut supervisor = Supervisor {
        channel,
        tree,
        pid: guest.pid,
        status: None,
        told: false,
        killer,
    };
    let outcome = supervisor.watch(guest, attached, children);
    supervisor.end();
    match outcome {
        Ok(true) => {
            supervisor.report_exit();
            supervisor.channel.wait_for_end();
        }
        // The host has ended and reads no report.
        Ok(false) => {}
        Err(report) => {
            supervisor.channel.report(&report, &[]);
        }
    }
}

impl Supervisor<'_> {
    /// Returns when the tree has to end: `false` if that is before the command was known to run.
    fn watch(&mut self, guest: Guest, attached: Attached, children: &OwnedFd) -> Result<bool, Report> {
        let (mut starting, mut attached) = (Some(guest), Some(attached));
        let mut backlog = false;
        loop {
            let words = starting.as_ref().map(Guest::words);
            let Some([host, child, verdict]) = ready(self.channel.fd(), children.as_fd(), words, backlog) else {
                return Ok(starting.is_none());
            };
            // Before the start the host sends no commands, and only its end is waited for.
            if host && (starting.is_some() || !self.obey()) {
                return Ok(starting.is_none());
            }
            if verdict
                && let Some(command) = Guest::hear(&mut starting).at(Layer::Process, "verdict")?
                && let Some(attached) = attached.take()
            {
                guest::verdict(&command.words)?;
                // Reported before the memory that the command has left is freed.
                self.report_start(&command.pidfd, &attached);
                drop(ManuallyDrop::into_inner(attached.spent));
            }
            if child || backlog {
                backlog = self.reap_some() == Reaped::One;
                if self.status.is_none() && !backlog {
                    // One signal may stand for several children, and the descriptor stays readable until it is read.
                    let _: Result<usize, Errno> = read(children, &mut [0_u8; 128]);
                    backlog = self.reap_some() == Reaped::One;
                }
            }
            // Until the start is decided, the pipe has the answer, even if the process is dead.
            if self.status.is_some() && starting.is_none() {
                return Ok(true);
            }
        }
    }

    /// Carries out the host's commands. `false`: the host has ended, or asks for the end.
    fn obey(&self) -> bool {
        self.channel.commands(|command| {
            let None = self.status else { return };
            match (command, self.tree) {
                (Command::Signal(signal), _) => signal_group(self.pid, signal.into()),
                (Command::Terminate, Tree::Namespace) => {
                    for signal in [SIGTERM, SIGCONT] {
                        // No process is left: nothing has to be done.
                        sys::kill(-1, signal).unwrap_or_default();
                    }
                }
                (Command::Terminate, Tree::Descendants) => {
                    // The group first, all at once: a shell must not learn of its child's death before its own.
                    signal_group(self.pid, SIGTERM);
                    sweep::terminate(self.pid);
                    signal_group(self.pid, SIGCONT);
                }
            }
        })
    }

    /// Ends every process of the tree, and returns when none is left, not even as a zombie.
    fn end(&mut self) {
        // Most commands leave no process behind.
        if self.reap_some() == Reaped::NoChild {
            return;
        }
        loop {
            self.kill();
            match self.reap(WaitOptions::NOHANG) {
                Reaped::NoChild => return,
                // A process that it left to this process may have been missed: this looks once more before it waits.
                Reaped::One => {
                    self.reap_some();
                }
                Reaped::NotYet => {
                    self.tell_status();
                    // One of the killed processes will end.
                    if self.reap(WaitOptions::empty()) == Reaped::NoChild {
                        return;
                    }
                }
            }
        }
    }

    /// Kills every process of the tree that exists at this moment.
    fn kill(&self) {
        match self.tree {
            // Forks cannot escape: a fork fails if its process has a deadly signal pending.
            Tree::Namespace => sys::kill(-1, SIGKILL).unwrap_or_default(),
            Tree::Descendants => {
                if let Some(killer) = &self.killer {
                    // This kills the whole group at once, including processes that are just being made. The rest is for those that left
                    // the group.
                    let _: Result<usize, Errno> = write(killer, b"1");
                }
                // The command's process group, which most trees never leave, is killed at once.
                let group = self.status.is_none().then_some(self.pid);
                if let Some(group) = group {
                    signal_group(group, SIGKILL);
                }
                sweep::end(group);
            }
        }
    }

    /// Reports the status of the command if the end of the other processes takes time. The host waits for that only for a bounded
    /// time, and then kills this process together with them.
    fn tell_status(&mut self) {
        if let Some(status) = self.status
            && !self.told
        {
            self.told = true;
            self.channel.report(&Report::CommandEnded { status }, &[]);
        }
    }

    /// Reaps [`REAPS`] at most; [`Reaped::One`] if there may be more.
    fn reap_some(&mut self) -> Reaped {
        for _ in 0..REAPS {
            match self.reap(WaitOptions::NOHANG) {
                Reaped::One => {}
                left @ (Reaped::NotYet | Reaped::NoChild) => return left,
            }
        }
        Reaped::One
    }

    fn reap(&mut self, options: WaitOptions) -> Reaped {
        match wait(options) {
            Ok(Some((pid, status))) => {
                if pid == self.pid {
                    self.status = Some(status.as_raw());
                }
                Reaped::One
            }
            Ok(None) => Reaped::NotYet,
            Err(Errno::INTR) => Reaped::One,
            Err(_) => Reaped::NoChild,
        }
    }

    fn report_start(&self, command: &OwnedFd, attached: &Attached) {
        let Attached {
            counter,
            mapping,
            epolls,
            bound,
            as_owner,
            spent: _,
        } = attached;
        let started = |descriptors: bool| Report::Started {
            command: descriptors,
            counter: descriptors && counter.is_some(),
            mapping: descriptors && mapping.is_some(),
            epolls: descriptors && epolls.is_some(),
            as_owner: *as_owner,
            bound: bound.clone(),
        };
        let descriptors = [Some(command), counter.as_ref(), mapping.as_ref(), epolls.as_ref()];
        let descriptors: Vec<_> = descriptors.into_iter().flatten().map(AsFd::as_fd).collect();
        // The kernel may refuse to send descriptors, because a user may have only a limited number in flight. It accepts a report
        // without them. The command already runs, so the host must be told.
        if !self.channel.report(&started(true), &descriptors) {
            self.channel.report(&started(false), &[]);
        }
    }

    fn report_exit(&self) {
        let usage = sys::children_usage();
        let micros = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
            seconds
                .saturating_mul(1_000_000)
                .saturating_add(u64::try_from(time.tv_usec).unwrap_or_default())
        };
        let exit = Exit {
            // The status is set, because the command was reaped with all other processes.
            status: self.status.unwrap_or(SIGKILL),
            user_micros: micros(usage.ru_utime),
            system_micros: micros(usage.ru_stime),
            peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or_default().saturating_mul(1024),
        };
        self.channel.report(&Report::Exited(exit), &[]);
    }
}

/// The result of a wait for a child.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reaped {
    One,
    NotYet,
    NoChild,
}

/// Signals the command's group; it is not reaped, so its number is still its own.
fn signal_group(pid: Pid, signal: c_int) {
    let pid = pid.as_raw_nonzero().get();
    // The command may have left its group, and the group may be empty.
    if sys::kill(-pid, signal) == Err(Errno::SRCH) {
        sys::kill(pid, signal).unwrap_or_default();
    }
}

/// Waits for an event of the host, of a child, or of the command before it has executed its program. While the command may still
/// report, only the end of the host counts. None if the wait fails: the end of the channel would then be missed, so the whole tree
/// must end at once.
///
/// With a `backlog` it does not wait, because the signal of dead children may have been read already.
fn ready(
    host: BorrowedFd<'_>,
    child: BorrowedFd<'_>,
    words: Option<BorrowedFd<'_>>,
    backlog: bool,
) -> Option<[bool; 3]> {
    let of_host = if words.is_some() {
        PollFlags::RDHUP
    } else {
        PollFlags::IN
    };
    let mut fds = [
        PollFd::from_borrowed_fd(host, of_host),
        PollFd::from_borrowed_fd(child, PollFlags::IN),
        PollFd::from_borrowed_fd(words.unwrap_or(host), PollFlags::IN),
    ];
    let asked = if words.is_some() { 3 } else { 2 };
    let at_once = Timespec::default();
    match poll(fds.get_mut(..asked)?, backlog.then_some(&at_once)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Some([false; 3]),
        Err(_) => return None,
    }
    Some(fds.map(|fd| !fd.revents().is_empty()))
}
