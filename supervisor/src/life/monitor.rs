//! The part of a process's task that owns its child.
//!
//! Only the monitor signals the child, reaps it and decides what comes next. Other tasks send it requests and watch the status
//! that it publishes. `lifecycle` makes the decisions, and this file carries them out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::lifecycle::{Action, End, Event, Lifecycle};
use super::process::{Process, Request, Status};
use super::timers::Timer;
use crate::generation::Member;
use crate::log::output::Flow;
use crate::network::owner_network::OwnerNetwork;
use crate::os::child::Child;
use crate::quota::Permit;
use crate::{Error, ExitInfo, metrics};

/// The signal with which the kernel ends a tree that is out of memory.
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Keeps a process in the registry and in the quotas for as long as its id lasts.
pub(crate) type RetentionGuard = Box<dyn Send>;

pub(crate) struct Monitor {
    /// None when no process of the tree is left. An exited process is kept for its output, and keeps nothing open for
    /// the child.
    pub(crate) child: Option<Child>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Request>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) timer: Timer,
    pub(crate) member: Member,
    pub(crate) grace_shutdown: Duration,
    pub(crate) ends_when_full: bool,
    pub(crate) slot: Option<Permit>,
    /// Held like the slot: as long as a process of the tree may be in it.
    pub(crate) network: Option<Arc<OwnerNetwork>>,
    pub(crate) retained: Option<RetentionGuard>,
    pub(crate) process: Arc<Process>,
    /// The time when the command ended, until its exit is visible.
    pub(crate) ended_at: Option<Instant>,
    /// The exit has just become visible.
    pub(crate) just_published: bool,
}

pub(crate) async fn run(mut monitor: Monitor) {
    let mut closing = false;
    while !monitor.lifecycle.is_gone() {
        monitor.timer.set(monitor.lifecycle.deadline(monitor.process.touched()));
        tokio::select! {
            exited = exited(monitor.child.as_ref()), if monitor.lifecycle.is_alive() => monitor.reap(exited),
            () = left(monitor.child.as_ref()), if !monitor.lifecycle.is_alive() => {
                monitor.child = None;
                monitor.free();
            }
            Some(request) = monitor.inbox.recv() => monitor.answer(request),
            () = monitor.wake.notified() => {}
            () = monitor.timer.due() => monitor.on(Event::Deadline),
            () = monitor.member.closing.cancelled(), if !closing => {
                closing = true;
                monitor.on(Event::End { end: End::Shutdown, grace: monitor.grace_shutdown });
            }
        }
        monitor.look_at_outputs();
        if std::mem::take(&mut monitor.just_published) {
            // A task that waits for the exit runs first, before the timers task too, which would otherwise be woken
            // next.
            tokio::task::yield_now().await;
        }
    }
    // A request that came too late is still answered, and no further request is accepted.
    monitor.inbox.close();
    while let Ok(request) = monitor.inbox.try_recv() {
        monitor.answer(request);
    }
    let Some(child) = monitor.child.take() else { return };
    if child.is_stuck() {
        // The slot and the network are kept too, because no other process may have the slot while this one exists. Neither a shutdown nor the
        // end of a capsule waits for that.
        let held = (monitor.slot.take(), monitor.network.take());
        drop(tokio::task::spawn(async move {
            child.freed().await;
            drop(held);
        }));
    } else if child.is_leaving() {
        child.left().await;
    }
}

async fn exited(child: Option<&Child>) -> std::io::Result<()> {
    match child {
        Some(child) => child.exited().await,
        None => std::future::pending().await,
    }
}

/// Completes when no process of a reaped child is left.
async fn left(child: Option<&Child>) {
    match child {
        Some(child) if child.is_leaving() => child.left().await,
        Some(child) => freed(child).await,
        None => std::future::pending().await,
    }
}

/// Completes when no process is left of a child, including a child that was given up.
async fn freed(child: &Child) {
    if child.is_stuck() {
        child.freed().await;
    }
}

impl Monitor {
    fn on(&mut self, event: Event) {
        for action in self.lifecycle.on(event, Instant::now(), self.process.touched()) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Terminate => {
                if let Some(child) = &self.child {
                    // A tree that cannot be sent TERM is killed later.
                    drop(child.terminate());
                }
            }
            Action::Kill => {
                if let Some(child) = &self.child {
                    child.kill();
                }
            }
            Action::Drain => {
                self.process.stdout.tree_ended();
                self.process.stderr.tree_ended();
            }
            Action::FreeSlot => {
                self.process.stdin.break_off();
                // A tree that was killed and does not end still uses the resources of its slot.
                if !self.child.as_ref().is_some_and(Child::is_stuck) {
                    self.free();
                }
            }
            Action::Remove => {
                let _published = self.process.carriers.exit();
                self.retained = None;
                self.process.stdout.close();
                self.process.stderr.close();
                // Before the exit: a reader that sees the exit stops looking for events.
                self.process.publish_pending_events();
                let exit = self.lifecycle.exit();
                // Also before the exit: a caller that sees the exit finds it counted.
                self.count_exit();
                self.status.send_modify(|status| *status = Status { exit, gone: true });
                self.process.publish_exit_event();
            }
            Action::Publish => {
                let _published = self.process.carriers.exit();
                let exit = self.lifecycle.exit();
                // Before the exit: a reader that sees the exit stops looking for events.
                self.process.publish_pending_events();
                self.count_exit();
                self.status.send_modify(|status| status.exit = exit);
                self.process.publish_exit_event();
            }
        }
    }

    /// Gives back what is held as long as the tree is there.
    fn free(&mut self) {
        self.slot = None;
        self.network = None;
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Signal { signal, reply } => {
                let child = self.child.as_ref().filter(|_| self.lifecycle.is_alive());
                let sent = child.map_or(Ok(()), |child| child.signal(signal.into()));
                // The caller may have dropped its call.
                drop(reply.send(sent.map_err(|error| Error::Host(format!("signal: {error}")))));
            }
            Request::End { end, grace } => self.on(Event::End { end, grace }),
            Request::Release { reply } => {
                self.on(Event::Release);
                let _ = reply.send(self.lifecycle.is_gone());
            }
        }
    }

    fn reap(&mut self, exited: std::io::Result<()>) {
        let Some(child) = &mut self.child else { return };
        if exited.is_err() {
            // The runtime is ending. Reaping kills first, so the wait is short.
            child.kill();
        }
        let raw = child.reap();
        let exit = ExitInfo {
            exit_code: raw.code,
            signal: raw.signal,
        };
        self.process.reaped.store(true, Ordering::Release);
        self.ended_at = Some(Instant::now());
        // If the command had already ended for another reason, this was not the reason.
        if exit.signal == Some(KILL) && self.process.meter.usage().ran_out_of_memory {
            self.on(Event::End {
                end: End::LimitMemory,
                grace: Duration::ZERO,
            });
        }
        self.on(Event::Exited(exit));
    }

    /// Makes the exit visible.
    fn count_exit(&mut self) {
        if let Some(ended) = self.ended_at.take() {
            self.just_published = true;
            metrics::exited(ended.elapsed());
        }
    }

    fn look_at_outputs(&mut self) {
        let flows = [self.process.stdout.flow(), self.process.stderr.flow()];
        if self.ends_when_full && flows.contains(&Flow::Parked) {
            self.on(Event::End {
                end: End::Overflow,
                grace: Duration::ZERO,
            });
        }
        if self.lifecycle.is_draining() && !flows.contains(&Flow::Reading) {
            self.on(Event::Settled);
        }
        self.process.publish_pending_events();
    }
}
