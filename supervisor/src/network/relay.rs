//! Copies between two connected stream sockets, both ways, until both ways have ended.
//!
//! One socket leads to a guest, the other to a peer outside. Both peers may be hostile: they need not read, write or close.
//! These constraints shape the file:
//!
//! - **Back-pressure.** A direction holds one buffer or one pipe with bytes at most, and reads nothing while bytes are left. So a
//!   peer that does not read stops the other one, as it would without a relay.
//! - **A stream that was cut never looks like a finished one.** Both TCP sockets are set to reset the connection when they are
//!   closed, and only a relay that has passed on both ends of file takes that back. So the kernel resets what an error, the idle
//!   time, a cut, a dropped future or the death of the host leaves unfinished. A Unix socket has no reset: its peer reads an end
//!   of file (or `ECONNRESET`, if it wrote bytes that were not read any more).
//! - **An idle relay holds no buffer and no pipe.** A direction takes one when its socket is readable, and returns it when there
//!   is nothing to read.
//! - **A stream is spliced, a message is copied.** A read that fills its buffer begins a stream, whose bytes then go by a pipe, so
//!   that the relay does not copy them. For less, a copy takes fewer calls. Where no pipe can be had, a stream is copied too.
//! - **A reset is noticed at any time**, also while a direction waits for the other socket, or has ended.
//! - **One task for both directions**, which ends its turn after a bounded number of bytes: a fast stream does not keep a
//!   worker of the runtime from its other tasks.

mod pipes;

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{set_socket_linger, set_socket_oobinline, set_tcp_nodelay};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::pipes::{Pipes, UsedPipe};

/// A copy of this size costs little beside its system calls, and the buffer fits into the cache of a processor.
const LARGE: usize = 256 * 1024;
/// What a direction gets while all large buffers are in use.
const SMALL: usize = 16 * 1024;
/// A read of so many bytes begins a stream.
const STREAM: usize = 64 * 1024;
/// The number of large buffers and pipes that one [`Relays`] hands out at once.
const LARGE_MAX: usize = 64;
/// How many of these are pipes. Connections whose peers do not read can hold all, and the process has few.
const PIPES_MAX: usize = 4;
/// The number of large buffers that stay allocated while none is in use. A fast stream takes and returns one for each burst, so
/// it should find one.
const KEPT: usize = 4;
/// A direction ends its turn after so many bytes.
const TURN: usize = 4 * LARGE;
/// What a direction copies after one of its sockets has failed: more than a receive buffer holds. The other direction may have no
/// end.
const FLUSH: usize = 8 * 1024 * 1024;
/// The kernel copies three times as fast (AMD Zen) to memory that begins on a cache line.
const LINE: usize = 64;

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// A connection of IPv4 or IPv6.
    Tcp(TcpStream),
    /// A connection to a path, or one end of a pair.
    Unix(UnixStream),
}

/// What the relays of one owner share: the idle time, the large buffers, and a part of the process's pipes. Connections whose peers
/// do not read can hold all of it, so each owner has its own.
#[derive(Debug)]
pub struct Relays {
    idle: Duration,
    pool: Mutex<Pool>,
    pipes: Arc<Pipes>,
}

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Box<[u8]>>,
    /// Large buffers and pipes that directions hold.
    large: usize,
    /// Those of them that are pipes.
    pipes: usize,
}

/// How a relay ended, and what it copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Bytes of the first socket that the second one took.
    pub up: u64,
    /// Bytes of the second socket that the first one took.
    pub down: u64,
    /// The reason.
    pub why: End,
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both peers ended their direction, and each was told of the other's end.
    Finished,
    /// One peer reset its connection, or closed it before it had taken all bytes.
    Reset,
    /// No byte was copied for the idle time.
    Idle,
    /// The token was cancelled.
    Cut,
}

/// Copies what `a` sends to `b` (*up*) and what `b` sends to `a` (*down*), until both have ended, one of them fails, no byte was
/// copied for the idle time, or `cut` is cancelled.
///
/// An end of file of one socket shuts down the other one for writing, and the other direction goes on. When one socket fails,
/// the other one gets what the failed one had sent before, as far as it takes that at once, and is reset. The idle time, a cut
/// and a drop of the future reset both.
pub async fn relay(a: Stream, b: Stream, relays: &Relays, cut: &CancellationToken) -> Ended {
    a.begin();
    b.begin();
    let mut both = Both {
        up: Direction::new(relays),
        down: Direction::new(relays),
    };
    let why = loop {
        let left = relays.idle.saturating_sub(both.idle());
        // The order matters. Directions that are always ready must not hide a cut, and what a socket sent before it failed is to
        // be read before its failure is seen.
        tokio::select! {
            biased;
            () = cut.cancelled() => break End::Cut,
            turn = poll_fn(|context| both.poll(context, &a, &b)) => match turn {
                Ok(Turn::Ended) => break End::Finished,
                Ok(Turn::Over) => tokio::task::yield_now().await,
                Err(Failed) => break End::Reset,
            },
            () = a.failed() => break End::Reset,
            () = b.failed() => break End::Reset,
            () = sleep(left) => if both.idle() >= relays.idle {
                break End::Idle;
            }
        }
    };
    match why {
        End::Finished => {
            a.finish();
            b.finish();
        }
        End::Reset => both.flush(&a, &b),
        End::Idle | End::Cut => {}
    }
    Ended {
        up: both.up.copied,
        down: both.down.copied,
        why,
    }
}

struct Both<'a> {
    up: Direction<'a>,
    down: Direction<'a>,
}

/// What was read from one socket, until the other one has taken it.
struct Direction<'a> {
    relays: &'a Relays,
    /// At most one of the buffer and the pipe has bytes.
    held: Option<Buffer<'a>>,
    pipe: Option<Pipe<'a>>,
    /// The last read suggests that many bytes are to come.
    streams: bool,
    ended: bool,
    copied: u64,
    /// When a byte was last copied.
    last: Instant,
}

/// How far a direction came without waiting.
enum Step {
    /// It passed on the end of file.
    Ended,
    /// It read the end of file.
    EndOfFile,
    /// It has copied enough for one turn.
    Over,
    Unreadable,
    Unwritable,
}

/// What a turn that waits for nothing ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Ended,
    Over,
}

/// One of the sockets does not work any more.
#[derive(Debug)]
struct Failed;

impl Both<'_> {
    fn poll(&mut self, context: &mut Context<'_>, a: &Stream, b: &Stream) -> Poll<Result<Turn, Failed>> {
        // Both are polled each time, so that both wait for what they need.
        let up = self.up.poll(context, a, b)?;
        let down = self.down.poll(context, b, a)?;
        match (up, down) {
            (Poll::Ready(Turn::Ended), Poll::Ready(Turn::Ended)) => Poll::Ready(Ok(Turn::Ended)),
            (Poll::Ready(Turn::Over), _) | (_, Poll::Ready(Turn::Over)) => Poll::Ready(Ok(Turn::Over)),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }

    fn idle(&self) -> Duration {
        self.up.last.max(self.down.last).elapsed()
    }

    /// Copies once more what can be copied without waiting. A direction may not have read yet when the other one found that a
    /// socket failed: the last bytes of a server that answers and closes, for example. An end of file is not passed on: a failed
    /// socket reads as ended once its error has been reported.
    fn flush(&mut self, a: &Stream, b: &Stream) {
        for (direction, from, to) in [(&mut self.up, a, b), (&mut self.down, b, a)] {
            direction.flush(from, to);
        }
    }
}

impl<'a> Direction<'a> {
    fn new(relays: &'a Relays) -> Self {
        Self {
            relays,
            held: None,
            pipe: None,
            streams: false,
            ended: false,
            copied: 0,
            last: Instant::now(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, from: &Stream, to: &Stream) -> Poll<Result<Turn, Failed>> {
        let mut budget = TURN;
        loop {
            let ready = match self.advance(from, to, &mut budget)? {
                Step::EndOfFile => {
                    to.shutdown().map_err(|_| Failed)?;
                    self.ended = true;
                    return Poll::Ready(Ok(Turn::Ended));
                }
                Step::Ended => return Poll::Ready(Ok(Turn::Ended)),
                Step::Over => return Poll::Ready(Ok(Turn::Over)),
                Step::Unreadable => from.poll_readable(context),
                Step::Unwritable => to.poll_writable(context),
            };
            ready!(ready).map_err(|_| Failed)?;
        }
    }

    /// Asks the kernel, because tokio may not have seen yet that the sockets are ready. Stops at any error, or the end of file.
    fn flush(&mut self, from: &Stream, to: &Stream) {
        if self.ended {
            return;
        }
        let mut left = FLUSH;
        loop {
            while self.has_bytes() {
                if self.give(to).is_err() {
                    return;
                }
            }
            let held = self.held.get_or_insert_with(|| self.relays.buffer());
            let Ok(read @ 1..) = held.fill(from, LARGE) else { return };
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }

    /// Copies until a socket would block, or the budget of bytes is spent.
    fn advance(&mut self, from: &Stream, to: &Stream, budget: &mut usize) -> Result<Step, Failed> {
        if self.ended {
            return Ok(Step::Ended);
        }
        loop {
            while self.has_bytes() {
                match to.try_write(|| self.give(to)) {
                    Ok(written) => {
                        *budget = budget.saturating_sub(written);
                        self.last = Instant::now();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Unwritable),
                    Err(_) => return Err(Failed),
                }
            }
            if *budget == 0 {
                self.release();
                return Ok(Step::Over);
            }
            // Tokio calls this only for a socket that it has seen readable.
            match from.try_read(|| self.take(from, to, *budget)) {
                Ok(0) => {
                    self.release();
                    return Ok(Step::EndOfFile);
                }
                Ok(read) => self.streams = read >= STREAM,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.release();
                    return Ok(Step::Unreadable);
                }
                Err(_) => return Err(Failed),
            }
        }
    }

    fn has_bytes(&self) -> bool {
        let held = self.held.as_ref().is_some_and(|held| !held.rest().is_empty());
        held || self.pipe.as_ref().is_some_and(|pipe| pipe.pipe.len() > 0)
    }

    /// Reads what waits in a socket, if all that was read before is written. At most `most` bytes go by a pipe.
    fn take(&mut self, from: &Stream, to: &Stream, most: usize) -> io::Result<usize> {
        if self.streams
            && let (Stream::Tcp(_), Stream::Tcp(_)) = (from, to)
        {
            // The buffer goes first, because the two count as one.
            self.held = None;
            self.pipe = self.pipe.take().or_else(|| self.relays.pipe());
            if let Some(pipe) = &mut self.pipe
                && let Ok(taken @ 1..) = pipe.pipe.fill(from, most)
            {
                return Ok(taken);
            }
            // Why there is nothing, the read tells.
            self.pipe = None;
        }
        let held = self.held.get_or_insert_with(|| self.relays.buffer());
        held.fill(from, if self.streams { LARGE } else { STREAM })
    }

    /// Writes what was read, as far as the socket takes it at once.
    fn give(&mut self, to: &Stream) -> io::Result<usize> {
        let written = match (&mut self.held, &mut self.pipe) {
            (Some(held), _) if !held.rest().is_empty() => {
                let written = to.write(held.rest())?;
                held.consume(written);
                written
            }
            (_, Some(pipe)) => pipe.pipe.drain(to)?,
            (_, None) => 0,
        };
        self.copied += written as u64;
        Ok(written)
    }

    /// Returns what holds no bytes any more.
    fn release(&mut self) {
        self.held = None;
        self.pipe = None;
    }
}

impl Relays {
    /// A relay that copies nothing for `idle` ends.
    #[must_use]
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            pool: Mutex::default(),
            pipes: Pipes::shared(),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self) -> Buffer<'_> {
        let mut pool = self.pool();
        let is_large = pool.large < LARGE_MAX;
        let free = if is_large {
            pool.large += 1;
            pool.free.pop()
        } else {
            None
        };
        drop(pool);
        let size = if is_large { LARGE } else { SMALL };
        let memory = free.unwrap_or_else(|| vec![0; size + LINE].into_boxed_slice());
        let begin = memory.as_ptr().align_offset(LINE).min(LINE);
        Buffer {
            memory,
            room: begin..begin + size,
            rest: begin..begin,
            large_of: is_large.then_some(self),
        }
    }

    /// An empty pipe, in place of a large buffer.
    fn pipe(&self) -> Option<Pipe<'_>> {
        let mut pool = self.pool();
        if pool.large == LARGE_MAX || pool.pipes == PIPES_MAX {
            return None;
        }
        pool.large += 1;
        pool.pipes += 1;
        drop(pool);
        let place = PipePlace(self);
        let pipe = self.pipes.get()?;
        Some(Pipe { pipe, _place: place })
    }
}

/// Memory for one direction. Dropping it returns it.
struct Buffer<'a> {
    memory: Box<[u8]>,
    room: Range<usize>,
    /// The bytes that were read and not yet written.
    rest: Range<usize>,
    large_of: Option<&'a Relays>,
}

impl Buffer<'_> {
    /// Reads at most `most` bytes.
    fn fill(&mut self, from: &Stream, most: usize) -> io::Result<usize> {
        let room = self.memory.get_mut(self.room.clone()).unwrap_or_default();
        let most = most.min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let (_, read) = retry_on_intr(|| recv(from, &mut *room, RecvFlags::empty()))?;
        self.rest = self.room.start..self.room.start + read;
        Ok(read)
    }

    fn rest(&self) -> &[u8] {
        self.memory.get(self.rest.clone()).unwrap_or_default()
    }

    fn consume(&mut self, written: usize) {
        self.rest.start += written;
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let Some(relays) = self.large_of else { return };
        let memory = std::mem::take(&mut self.memory);
        let mut pool = relays.pool();
        pool.large -= 1;
        if pool.free.len() < KEPT {
            pool.free.push(memory);
        }
    }
}

/// A pipe for one direction. Dropping it returns it.
struct Pipe<'a> {
    pipe: UsedPipe,
    _place: PipePlace<'a>,
}

/// One of the pipes that an owner may have.
struct PipePlace<'a>(&'a Relays);

impl Drop for PipePlace<'_> {
    fn drop(&mut self) {
        let mut pool = self.0.pool();
        pool.large -= 1;
        pool.pipes -= 1;
    }
}

impl Stream {
    /// Sets the options of a relayed socket. None of them fails on a connected one, and a socket that failed meanwhile is found
    /// by the first read.
    fn begin(&self) {
        let _linger = set_socket_linger(self, Some(Duration::ZERO));
        // An urgent byte is passed on in its place, and not left out. It is not urgent any more.
        let _urgent = set_socket_oobinline(self, true);
        if let Self::Tcp(stream) = self {
            // What was read together is written together, so waiting for more gains nothing.
            let _nodelay = set_tcp_nodelay(stream, true);
        }
    }

    /// Closing the socket leaves the kernel to send what the peer has not taken yet.
    fn finish(&self) {
        let _linger = set_socket_linger(self, None);
    }

    fn shutdown(&self) -> io::Result<()> {
        Ok(shutdown(self, Shutdown::Write)?)
    }

    /// Returns when the connection was reset.
    async fn failed(&self) {
        let _error = match self {
            Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
            Self::Unix(stream) => stream.ready(Interest::ERROR).await,
        };
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    /// Calls `read` if the socket was seen readable. The kernel is asked until it says that there is nothing more: a read also
    /// ends early at an urgent byte or a passed descriptor, so fewer bytes than room do not mean that.
    fn try_read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| send(self, bytes, SendFlags::NOSIGNAL))?)
    }

    /// Calls `write` if the socket was seen writable.
    fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, write),
            Self::Unix(stream) => stream.try_io(Interest::WRITABLE, write),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

#[cfg(test)]
mod tests;
