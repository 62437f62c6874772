//! Writes to a process's stdin in order (contract S7, N1 to N4).
//!
//! Writes wait in one queue, in the order in which they arrived, and one task writes them. So the bytes of a call are contiguous.
//! A call that is dropped half-way does not tear its write, because the queue owns the bytes. The entries that such calls leave
//! in the queue are bounded. The stream ends after all writes that were accepted before it was closed.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use tokio::io::Interest;
use tokio::sync::{Notify, oneshot};

use crate::Error;
use crate::os::pipe;
use crate::os::readiness::{self, Watched};
use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Stdin {
    state: Mutex<State>,
    /// Wakes the writing task.
    wake: Notify,
    /// Wakes the monitor: an event is pending.
    monitor_wake: Option<Arc<Notify>>,
    abandoned_max: usize,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Write>,
    /// Whether new writes are accepted.
    open: bool,
    /// The pipe is broken, and no waiting write can be made.
    broken: bool,
    /// The bytes in the queue of dropped calls.
    abandoned: usize,
    next_ticket: u64,
    /// Whether an event is published when everything is written.
    event_wanted: bool,
    /// The event has still to be published.
    event_pending: bool,
}

#[derive(Debug)]
struct Write {
    ticket: u64,
    data: Vec<u8>,
    abandoned: bool,
    /// Tells the caller that every byte was written. It is dropped if that has become impossible.
    done: Option<oneshot::Sender<()>>,
}

impl Stdin {
    /// A stdin that is `/dev/null`.
    pub(crate) fn closed() -> Self {
        Self::with_queue(VecDeque::new(), false, 0, None)
    }

    /// A stdin that begins with `prelude` and accepts writes after it if it `stays_open`.
    /// `monitor_wake` is notified when an event is pending.
    pub(crate) fn new(
        prelude: Option<Vec<u8>>,
        stays_open: bool,
        abandoned_max: usize,
        monitor_wake: Arc<Notify>,
    ) -> Self {
        let prelude = prelude.filter(|prelude| !prelude.is_empty());
        let queue = prelude
            .map(|data| Write {
                ticket: 0,
                data,
                abandoned: false,
                done: None,
            })
            .into_iter()
            .collect();
        Self::with_queue(queue, stays_open, abandoned_max, Some(monitor_wake))
    }

    fn with_queue(queue: VecDeque<Write>, open: bool, abandoned_max: usize, monitor_wake: Option<Arc<Notify>>) -> Self {
        let state = State {
            queue,
            open,
            broken: false,
            abandoned: 0,
            next_ticket: 1,
            event_wanted: false,
            event_pending: false,
        };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            monitor_wake,
            abandoned_max,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Completes when every byte was written. The first poll puts the write into the queue. If the future is dropped
    /// after that, the write is still made, unless dropped calls have left too many bytes: then the whole write is
    /// withdrawn.
    pub(crate) async fn write(&self, data: Vec<u8>) -> Result<(), Error> {
        let (done, written) = oneshot::channel();
        let ticket = {
            let mut state = self.lock();
            if !state.open {
                return Err(Error::Closed);
            }
            if data.is_empty() {
                return Ok(());
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.queue.push_back(Write {
                ticket,
                data,
                abandoned: false,
                done: Some(done),
            });
            ticket
        };
        self.wake.notify_one();
        // This changes nothing if the write is in progress or done.
        let _abandon = Abandon { stdin: self, ticket };
        written.await.map_err(|_| Error::Closed)
    }

    /// Accepts no more writes. End of file follows the writes that were accepted before.
    pub(crate) fn close(&self) {
        self.lock().open = false;
        self.wake.notify_one();
    }

    /// The process has ended, and nothing more can be written.
    pub(crate) fn break_off(&self) {
        let mut state = self.lock();
        state.open = false;
        state.broken = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        // Outside of the lock: this wakes the callers.
        drop(queue);
        self.wake.notify_one();
    }

    /// Sets whether an event is published when all accepted bytes are written (contract E1).
    pub(crate) fn announce(&self, wanted: bool) {
        let mut state = self.lock();
        state.event_wanted = wanted;
        state.event_pending &= wanted;
    }

    /// Whether an event must be published now. Resets the answer.
    pub(crate) fn take_pending_event(&self) -> bool {
        std::mem::take(&mut self.lock().event_pending)
    }

    /// Records that a write was made.
    fn look_for_event(&self) {
        let mut state = self.lock();
        if state.event_wanted && state.queue.is_empty() {
            state.event_pending = true;
            self.monitor_wake.iter().for_each(|monitor| monitor.notify_one());
        }
    }

    /// The next write; none when all writes are done and stdin accepts no more.
    async fn next(&self) -> Option<Write> {
        loop {
            {
                let mut state = self.lock();
                if let Some(write) = state.queue.pop_front() {
                    if write.abandoned {
                        state.abandoned = state.abandoned.saturating_sub(write.data.len());
                    }
                    return Some(write);
                }
                if !state.open {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    async fn broken(&self) {
        while !self.lock().broken {
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a write whose caller no longer waits.
struct Abandon<'a> {
    stdin: &'a Stdin,
    ticket: u64,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        let mut state = self.stdin.lock();
        let Some(at) = state.queue.iter().position(|write| write.ticket == self.ticket) else {
            return;
        };
        let bytes = state.queue.get(at).map_or(0, |write| write.data.len());
        if state.abandoned + bytes > self.stdin.abandoned_max {
            state.queue.remove(at);
        } else if let Some(write) = state.queue.get_mut(at) {
            write.abandoned = true;
            state.abandoned += bytes;
        }
    }
}

/// Breaks off the remaining writes when the writing task has ended. This includes a task that was dropped with its runtime, whose
/// callers would otherwise wait for ever.
struct BreakOff(Arc<Stdin>);

impl Drop for BreakOff {
    fn drop(&mut self) {
        self.0.break_off();
    }
}

/// The writing task. It ends, and closes the pipe, when everything is written and no more is accepted, or when no
/// process reads any more. If it is dropped at any time, even before its first poll, it breaks off.
pub(crate) fn run(stdin: Arc<Stdin>, pipe: OwnedFd) -> impl Future<Output = ()> + Send + 'static {
    let writing = BreakOff(stdin);
    async move {
        let stdin = &writing.0;
        let Ok(pipe) = readiness::watch(pipe, Interest::WRITABLE) else {
            return;
        };
        while let Some(write) = stdin.next().await {
            let written = tokio::select! {
                written = write_all(&pipe, &write.data) => written.is_ok(),
                () = stdin.broken() => false,
            };
            if !written {
                return;
            }
            if let Some(done) = write.done {
                // The caller may have dropped its call. The write was made nevertheless.
                let _ = done.send(());
            }
            stdin.look_for_event();
        }
    }
}

async fn write_all(pipe: &Watched<OwnedFd>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let mut ready = pipe.writable().await?;
        match pipe::write(pipe.get_ref(), data) {
            Ok(count) => data = data.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
