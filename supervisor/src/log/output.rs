//! One output stream of a process: its ring, its pipe, and all operations on the two.
//!
//! One lock covers the pipe and the ring, so that a consumer that makes room can refill the ring at once. A consumer
//! that acknowledges bytes of a full ring finds the next bytes there, without waiting for a task to be scheduled. The lock
//! is held for a few reads of the pipe's waiting bytes, or for one slice of a copy, and never across an await.
//!
//! The reader waits for the pipe; consumers never wait. A ring that is full under backpressure is *parked*: the task
//! sleeps, and a consumer that makes room reads one slice. If the slice left room, or found the pipe empty, the task continues to
//! read. So a child that writes as fast as it is read never delays a consumer.
//!
//! The pipe of a child that floods it is enlarged, because each read has a fixed cost besides its bytes. A child that writes
//! little at a time is read as fast as it writes, without asking for the amount between two reads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::cursor::Position;
use super::ring::{Drained, Overflow, Ring, SLACK};
use crate::metrics;
use crate::os::pipe::{self, Waiting};
use crate::os::readiness::{self, Watched};
use crate::sync::{Mutex, MutexGuard};
use crate::text;

/// The most bytes that are copied for a caller while the lock is held once.
const SLICE: usize = 64 * 1024;

/// The most small reads while the lock is held once. They are counted, because a child may write single bytes.
const SPECULATIVE_READS: usize = 64;

/// The most slices that are read at once from the pipe of an ended tree: enough for the whole pipe, unless it was enlarged.
const LEFTOVERS: usize = 2;

/// The default capacity of a pipe (pipe(7)).
const PIPE: usize = 64 * 1024;
/// The capacity of the pipe of a child that floods it.
const LARGE_PIPE: usize = 8 * PIPE;
/// How many times in a row a pipe must be found full before it is enlarged.
const FLOOD: u8 = 16;

/// The state of the stream's pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The reader reads all bytes that arrive.
    Reading,
    /// Bytes wait in the pipe and the ring has no room for them.
    Parked,
    /// No more bytes will come.
    Ended,
}

/// The result of one attempt to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Bytes arrived; there may be more.
    More,
    /// The pipe is empty.
    Empty,
    /// Bytes wait, and the ring has no room for them.
    Full,
    /// The stream has ended.
    Ended,
}

/// Bytes of a stream, and the position of the reader after them.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) data: Vec<u8>,
    pub(crate) next: Position,
    /// The stream has ended and the chunk reaches its end.
    pub(crate) at_end: bool,
}

#[derive(Debug)]
pub(crate) struct Output {
    state: Mutex<State>,
    /// Wakes the reader, when it must read the pipe again, when the tree has ended, or when the stream was closed.
    pub(crate) reader: Notify,
    /// Wakes the monitor: see [`State::concerns_monitor`].
    monitor_wake: Arc<Notify>,
    /// Wakes the tasks that wait for output, when bytes came or the stream ended.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// None once the stream has ended. The reader waits on its own reference and drops it then.
    pipe: Option<Arc<Watched<OwnedFd>>>,
    flow: Flow,
    /// The number of unread bytes of those that were in the pipe when the tree ended; none before the end.
    residue: Option<usize>,
    ready_event: ReadyEvent,
    /// The number of evicted bytes that were counted as a metric (contract U2).
    counted: u64,
    /// How many times in a row the pipe was found full.
    flood: u8,
    /// Whether the pipe was last found to hold more than can be read without asking it.
    asks_first: bool,
    /// Whether the monitor knows that the ring is full.
    was_full: bool,
    enlarged: Option<Enlarged>,
}

/// The event of new output. There is one for each change from empty to not empty since a reader last reached the end
/// (contract E2).
#[derive(Clone, Copy, Debug, Default)]
struct ReadyEvent {
    wanted: bool,
    announced: bool,
    /// The event has still to be published.
    pending: bool,
}

impl Output {
    /// Needs a tokio runtime with its I/O driver. `pipe` is non-blocking.
    pub(crate) fn new(
        pipe: OwnedFd,
        capacity: usize,
        overflow: Overflow,
        monitor_wake: Arc<Notify>,
    ) -> io::Result<Self> {
        let pipe = Arc::new(readiness::watch(pipe, Interest::READABLE)?);
        let state = State {
            ring: Ring::new(capacity, overflow),
            pipe: Some(pipe),
            flow: Flow::Reading,
            residue: None,
            ready_event: ReadyEvent::default(),
            counted: 0,
            flood: 0,
            asks_first: true,
            was_full: false,
            enlarged: None,
        };
        Ok(Self {
            state: Mutex::new(state),
            reader: Notify::new(),
            monitor_wake,
            changed: Notify::new(),
        })
    }

    /// The pipe to wait on, while the stream has not ended.
    pub(crate) fn pipe(&self) -> Option<Arc<Watched<OwnedFd>>> {
        self.lock().pipe.clone()
    }

    pub(crate) fn flow(&self) -> Flow {
        self.lock().flow
    }

    /// Reads the waiting bytes that fit: at once, or in a few small pieces.
    pub(crate) fn pump(&self) -> Pumped {
        self.pump_up_to(usize::MAX)
    }

    fn pump_up_to(&self, max: usize) -> Pumped {
        let mut state = self.lock();
        let (before, end) = (state.flow, state.ring.end());
        let pumped = state.pump(max);
        if state.concerns_monitor(before) {
            self.monitor_wake.notify_one();
        }
        let came = state.ring.end() > end;
        drop(state);
        if came || pumped == Pumped::Ended {
            self.changed.notify_waiters();
        }
        pumped
    }

    /// Completes at the next change after its first poll: bytes came, or the stream ended. It may also complete without
    /// a change.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether there are bytes after `seen` that [`Self::drain`] would return.
    pub(crate) fn has_beyond(&self, seen: u64) -> bool {
        self.lock().has_beyond(seen)
    }

    /// Sets whether an event is published when there is new output. If there is output already, the event is pending at
    /// once.
    pub(crate) fn announce(&self, wanted: bool) {
        let mut state = self.lock();
        state.ready_event.wanted = wanted;
        state.ready_event.pending &= wanted;
        state.look_for_event();
        if state.ready_event.pending {
            self.monitor_wake.notify_one();
        }
    }

    /// Whether an event must be published now. Resets the answer.
    pub(crate) fn take_pending_event(&self) -> bool {
        std::mem::take(&mut self.lock().ready_event.pending)
    }

    /// Records that the tree has ended: all its output is in the ring or in the pipe.
    pub(crate) fn tree_ended(&self) {
        let mut state = self.lock();
        state.residue = Some(state.pipe.as_ref().map_or(0, |pipe| {
            // Without an answer, only end of file or the drain time can tell that all was read.
            pipe::bytes_waiting(pipe.get_ref().as_fd()).unwrap_or(0)
        }));
        drop(state);
        // Most often only the end of the stream is left. It is read here, so that neither the end nor a caller that
        // waits for the exit must wait for the reader's turn.
        for _ in 0..LEFTOVERS {
            if self.flow() != Flow::Reading || self.pump_up_to(SLICE) != Pumped::More {
                break;
            }
        }
        self.reader.notify_one();
    }

    /// Whether all output of an ended tree was read. From here on only a process outside of the tree can write.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.lock().residue == Some(0)
    }

    /// Ends the stream from the host's side.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.flow != Flow::Ended {
            state.end();
            self.monitor_wake.notify_one();
        }
        drop(state);
        self.reader.notify_one();
        self.changed.notify_waiters();
    }

    /// At most `max` bytes from a reader's position, or from the oldest byte without one. Acknowledges the bytes before the
    /// position.
    pub(crate) fn read_since(&self, position: Option<Position>, max: usize) -> Chunk {
        let mut state = self.lock();
        let mut at = position.unwrap_or(Position {
            offset: state.ring.start(),
            dropped: 0,
        });
        if position.is_some() {
            let was_full = !state.ring.has_room();
            state.ring.acknowledge(at.offset);
            self.refill(&mut state, was_full);
        }
        // Bytes that were evicted by now can never reach this reader.
        let gone = state.ring.start().saturating_sub(at.offset);
        at.dropped = at.dropped.saturating_add(gone);
        at.offset = at.offset.saturating_add(gone);

        let available = usize::try_from(state.ring.end().saturating_sub(at.offset)).unwrap_or(usize::MAX);
        let mut data = Vec::with_capacity(max.min(available));
        loop {
            let copied = state.ring.copy(at.offset, (max - data.len()).min(SLICE), &mut data);
            at.offset += copied as u64;
            if copied < SLICE || data.len() >= max {
                break;
            }
            drop(state);
            state = self.lock();
            if state.ring.start() > at.offset {
                // More bytes were evicted meanwhile. The copied bytes are contiguous; the next call counts the loss.
                break;
            }
        }
        state.read_up_to(at.offset);
        let at_end = state.flow == Flow::Ended && at.offset >= state.ring.end();
        let dropped = state.uncounted();
        drop(state);
        metrics::read(data.len());
        metrics::dropped(dropped);
        Chunk { data, next: at, at_end }
    }

    /// Returns and removes the buffered bytes. While the stream has not ended, an unfinished character at the end is
    /// kept.
    pub(crate) fn drain(&self) -> Drained {
        let mut state = self.lock();
        let was_full = !state.ring.has_room();
        let keep = state.held_back();
        let drained = state.ring.drain(keep);
        let start = state.ring.start();
        state.read_up_to(start);
        let dropped = state.uncounted();
        self.refill(&mut state, was_full);
        drop(state);
        metrics::drained(drained.len());
        metrics::dropped(dropped);
        drained
    }

    /// Returns and removes all bytes up to the end, after the tree has ended: those in the ring, and those that waited
    /// for room.
    pub(crate) async fn drain_to_end(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let (drained, over) = {
                let mut state = self.lock();
                let was_full = !state.ring.has_room();
                let drained = state.ring.drain(0);
                let end = state.ring.end();
                state.read_up_to(end);
                self.refill(&mut state, was_full);
                // The call does not wait for output that a process outside of the tree writes meanwhile.
                let over = state.ring.len() == 0 && (state.flow == Flow::Ended || state.residue == Some(0));
                (drained, over)
            };
            let drained = drained.into_bytes();
            metrics::drained(drained.len());
            let came = !drained.is_empty();
            all.extend(drained);
            if over {
                return all;
            }
            if !came {
                changed.await;
            }
        }
    }

    /// The number of bytes that [`Self::drain`] would return.
    pub(crate) fn buffered(&self) -> usize {
        let state = self.lock();
        state.ring.len() - state.held_back()
    }

    /// The number of bytes that were evicted without a reader's consent.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().ring.evicted()
    }

    /// Reads at most a slice if a ring that was full has room again. Bytes may wait for it, whether the task has found
    /// it full or not. So whenever the lock is free, a parked stream is one whose ring has no room.
    fn refill(&self, state: &mut State, was_full: bool) {
        let before = state.flow;
        if was_full && state.ring.has_room() {
            let pumped = state.pump(SLICE);
            if pumped == Pumped::More && state.ring.has_room() {
                state.flow = Flow::Reading;
            }
            // This also ends the stream of an ended tree when everything is read.
            if state.flow != Flow::Parked && (before == Flow::Parked || state.residue.is_some()) {
                self.reader.notify_one();
            }
            if pumped != Pumped::Full {
                self.changed.notify_waiters();
            }
        }
        if state.concerns_monitor(before) {
            self.monitor_wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic half-way through a change, so the state is always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        metrics::dropped(state.uncounted());
    }
}

impl State {
    /// The number of bytes that were evicted since the last call.
    fn uncounted(&mut self) -> u64 {
        let evicted = self.ring.evicted();
        evicted - std::mem::replace(&mut self.counted, evicted)
    }

    fn pump(&mut self, max: usize) -> Pumped {
        let pumped = self.read(max).unwrap_or(Pumped::Ended);
        match pumped {
            Pumped::More => {}
            Pumped::Empty => self.flow = Flow::Reading,
            Pumped::Full => self.flow = Flow::Parked,
            Pumped::Ended => self.end(),
        }
        self.look_for_event();
        pumped
    }

    /// Whether the monitor has to act: an event is pending, a ring is full for the first time, or the tree has ended. Other changes
    /// from `before` do not concern it, because a child that is read as fast as it writes parks and continues thousands of times a
    /// second.
    fn concerns_monitor(&mut self, before: Flow) -> bool {
        let decides = match self.flow {
            Flow::Ended => true,
            Flow::Parked => self.residue.is_some() || !std::mem::replace(&mut self.was_full, true),
            Flow::Reading => self.residue.is_some(),
        };
        self.ready_event.pending || (decides && self.flow != before)
    }

    fn look_for_event(&mut self) {
        if self.ready_event.wanted && !self.ready_event.announced && self.has_beyond(0) {
            self.ready_event.announced = true;
            self.ready_event.pending = true;
        }
    }

    /// Records that a reader has everything before `offset`.
    fn read_up_to(&mut self, offset: u64) {
        if !self.has_beyond(offset) {
            self.ready_event.announced = false;
            self.ready_event.pending = false;
        }
    }

    fn has_beyond(&self, seen: u64) -> bool {
        let beyond = self.ring.end().saturating_sub(self.ring.start().max(seen));
        // Most often no byte or many bytes are new, and then the last character does not matter.
        beyond >= text::LONGEST as u64 || (beyond > 0 && beyond > self.held_back() as u64)
    }

    /// An error of a pipe is its end, because no more bytes can be read from it.
    fn read(&mut self, max: usize) -> io::Result<Pumped> {
        let Some(pipe) = &self.pipe else {
            return Ok(Pumped::Ended);
        };
        let fd = pipe.get_ref().as_fd();
        if !self.asks_first {
            let (count, stopped) = read_speculatively(fd, &mut self.ring, (max / SLACK).min(SPECULATIVE_READS))?;
            self.residue = self.residue.map(|residue| residue.saturating_sub(count));
            self.asks_first = stopped == SpeculationEnd::Ask;
            // A reader that immediately reads a pipe again, after finding it empty, keeps the child from writing to it.
            if count > 0 && stopped != SpeculationEnd::Empty {
                return Ok(Pumped::More);
            }
            match stopped {
                SpeculationEnd::Ended => return Ok(Pumped::Ended),
                SpeculationEnd::Empty => {
                    self.residue = self.residue.map(|_| 0);
                    return Ok(Pumped::Empty);
                }
                SpeculationEnd::Turn | SpeculationEnd::Ask => {}
            }
        }
        let waiting = pipe::bytes_waiting(fd)?;
        self.asks_first = waiting > SLACK;
        if waiting == 0 {
            return Ok(match pipe::peek(fd)? {
                Waiting::EndOfFile => Pumped::Ended,
                Waiting::Nothing => {
                    self.residue = self.residue.map(|_| 0);
                    Pumped::Empty
                }
                // The bytes arrived at this moment, and can now be counted.
                Waiting::Bytes => Pumped::More,
            });
        }
        // Room is made for exactly the waiting bytes, so that a ring never evicts a byte that could have stayed.
        let room = self.ring.make_room(waiting.min(max));
        if room == 0 {
            return Ok(Pumped::Full);
        }
        self.flood = if waiting >= PIPE {
            self.flood.saturating_add(1)
        } else {
            0
        };
        if self.flood == FLOOD && self.enlarged.is_none() {
            self.enlarged = Enlarged::pipe(fd);
        }
        let (first, second) = self.ring.spare(room);
        match pipe::read_vectored(fd, first, second) {
            Ok(0) => Ok(Pumped::Ended),
            Ok(count) => {
                self.ring.commit(count);
                self.residue = self.residue.map(|residue| residue.saturating_sub(count));
                Ok(Pumped::More)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Pumped::Empty),
            Err(error) => Err(error),
        }
    }

    fn end(&mut self) {
        self.flow = Flow::Ended;
        self.pipe = None;
        self.enlarged = None;
    }

    fn held_back(&self) -> usize {
        match self.flow {
            Flow::Ended => 0,
            Flow::Reading | Flow::Parked => {
                let (tail, count) = self.ring.tail::<{ text::LONGEST }>();
                text::unfinished(tail.split_at(tail.len() - count).1)
            }
        }
    }
}

/// Why speculative reads stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpeculationEnd {
    /// The pipe is empty.
    Empty,
    /// The stream has ended.
    Ended,
    /// Another task must run.
    Turn,
    /// Many bytes come, so that asking for their number is worth it, or the ring has no room for bytes that were not
    /// counted first.
    Ask,
}

/// Reads without asking how many bytes wait (FIONREAD), until the pipe is empty or `reads` times. Returns the number of
/// bytes.
///
/// If the child writes page by page, the kernel reuses each page that was read for the next write, as long as the reader keeps up.
/// A reader that asks first, or leaves the loop for a moment, falls behind, and then the kernel allocates every page anew.
fn read_speculatively(pipe: BorrowedFd<'_>, ring: &mut Ring, reads: usize) -> io::Result<(usize, SpeculationEnd)> {
    let mut total = 0;
    let mut all_full = true;
    for _ in 0..reads {
        let most = ring.speculative_room();
        if most == 0 {
            return Ok((total, SpeculationEnd::Ask));
        }
        let (first, second) = ring.spare(most);
        match pipe::read_vectored(pipe, first, second) {
            Ok(0) => return Ok((total, SpeculationEnd::Ended)),
            Ok(count) => {
                ring.commit(count);
                total += count;
                all_full &= count == most;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((total, SpeculationEnd::Empty)),
            Err(error) => return Err(error),
        }
    }
    Ok((
        total,
        if all_full {
            SpeculationEnd::Ask
        } else {
            SpeculationEnd::Turn
        },
    ))
}

/// An enlarged pipe, which is counted.
///
/// The kernel limits the pages that a user may have for pipes (64 MiB by default). When they are used up, every new
/// pipe of the user is tiny, in this program and in others. So the enlarged pipes of this program take at most a
/// quarter of that.
#[derive(Debug)]
struct Enlarged;

impl Enlarged {
    const MAX: usize = 32;

    /// None if the host has too many large pipes, or the kernel refuses: the pipe keeps its capacity.
    fn pipe(fd: BorrowedFd<'_>) -> Option<Self> {
        let free = |count| (count < Self::MAX).then_some(count + 1);
        ENLARGED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        let enlarged = Self;
        pipe::enlarge(fd, LARGE_PIPE).ok()?;
        Some(enlarged)
    }
}

impl Drop for Enlarged {
    fn drop(&mut self) {
        ENLARGED.fetch_sub(1, Ordering::Relaxed);
    }
}

static ENLARGED: AtomicUsize = AtomicUsize::new(0);
