//! Reading what a process writes: byte for byte, from any place, by any number of instances.

use crate::{
    Cursor, Error, LogStream, Pollable, ProcessId, Result,
    pending::Pending,
    tail::{Reader, Tail},
    text::lossy,
    waiting::Waiting,
    wit::process::{self, LogCursor},
};
use std::{io, rc::Rc, time::Duration};

/// Much less than the host would give, because it passes through the instance's memory twice.
const CHUNK: u32 = 64 * 1024;

/// Reads one stream of a persistent process. Dropping it costs nothing and changes nothing:
/// reading consumes no output, and [`cursor`](Self::cursor) tells a later instance where to go on.
///
/// It begins at the oldest byte that the host still keeps. Under [`Overflow::Backpressure`] reading
/// on also tells the host that what came before arrived, so one reader that goes on from its
/// cursors gets every byte.
///
/// A `Log` never waits by itself; [`follow`](Self::follow) and
/// [`wait_for_output`](Self::wait_for_output) do.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// for line in server.stdout().lines() {
///     println!("{}", line?);
/// }
/// # Ok(()) }
/// ```
///
/// [`Overflow::Backpressure`]: crate::Overflow::Backpressure
#[derive(Debug)]
pub struct Log {
    id: ProcessId,
    stream: LogStream,
    pending: Pending,
    over: bool,
    /// Becomes ready with more output. `None` until a wait without a deadline asked for it,
    /// `Some(None)` where the process cannot be attached.
    more: Option<Option<Pollable>>,
}

impl Log {
    pub(crate) fn new(id: ProcessId, stream: LogStream) -> Self {
        Self {
            id,
            stream,
            pending: Pending::at(Cursor::default()),
            over: false,
            more: None,
        }
    }

    /// Continues where a cursor of this stream was taken, in this instance or an earlier one.
    ///
    /// A cursor of another process or stream makes the first read fail with
    /// [`Error::NoSuchProcess`].
    ///
    /// ```no_run
    /// # use capsule_sdk::{Cursor, Process};
    /// fn new_output(server: &Process, since: Cursor) -> capsule_sdk::Result<(Vec<u8>, Cursor)> {
    ///     let mut log = server.stdout().resume(since);
    ///     Ok((log.read_chunk()?, log.cursor()))
    /// }
    /// ```
    #[must_use]
    pub fn resume(mut self, cursor: Cursor) -> Self {
        self.pending = Pending::at(cursor);
        self.over = false;
        self
    }

    /// The place behind everything that was handed out so far.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// log.read_chunk()?;
    /// let later = serde_json::to_string(&log.cursor()).unwrap();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.pending.cursor()
    }

    /// Bytes that this chain of cursors missed, from its first read in any instance on: newer bytes
    /// replaced them, or [`Process::read_logs`](crate::Process::read_logs) consumed them.
    ///
    /// Where this number grew, the beginning of one line may be joined to the end of another.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// log.read_chunk()?;
    /// println!("{} bytes came too late", log.dropped());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.pending.dropped()
    }

    /// The output that is available now, at most 64 KiB, possibly empty. Does not wait.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if the process is gone or the cursor is not one of this stream.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let bytes = server.stderr().read_chunk()?;
    /// # Ok(()) }
    /// ```
    pub fn read_chunk(&mut self) -> Result<Vec<u8>> {
        let here = self.pending.take_all();
        if !here.is_empty() {
            return Ok(here);
        }
        self.fill()?;
        Ok(self.pending.take_all())
    }

    /// Whether the stream is over and its last byte was read (though lines of it may not have
    /// been handed out yet). Known after a read.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// let mut bytes = log.read_chunk()?;
    /// println!("{} bytes, {}", bytes.len(), if log.is_over() { "all" } else { "so far" });
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The lines that are available now. A line that the process has not finished is not among them;
    /// the cursor is then at that line's beginning.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut lines = server.stderr().lines();
    /// let text: Vec<String> = lines.by_ref().take(100).collect::<capsule_sdk::Result<_>>()?;
    /// let next_time = lines.cursor();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn lines(self) -> Lines {
        Lines::of(self, None)
    }

    /// The stream from here to its end, waiting for further output.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// for line in build.stdout().follow().lines() {
    ///     println!("{}", line?);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn follow(self) -> Follow {
        Follow::of(self)
    }

    /// Waits until `pattern` appears, and returns the line it is in, from that line's beginning
    /// (or the current place, if that is within the line) to the pattern's end. Reading goes on
    /// right behind it, so that a second call can take what follows.
    ///
    /// The pattern is a plain piece of text, not a regular expression; it may contain line ends,
    /// and it is found in an unfinished line too, such as a prompt. Bytes that are not UTF-8 are
    /// replaced in the text returned, not in the comparison. Only the
    /// last MiB of a line without an end is kept.
    ///
    /// # Errors
    /// * [`Error::WaitTimeout`]: it did not appear in time. Everything before the current line is
    ///   then skipped; a further call goes on from there.
    /// * [`Error::Closed`]: the stream ended without it.
    /// * [`Error::NoSuchProcess`]: the process is gone or the cursor is not one of this stream.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// use std::time::Duration;
    ///
    /// let mut log = server.stdout();
    /// log.wait_for_output("listening on port ", Duration::from_secs(10))?;
    /// let port: u16 = log.wait_for_output("\n", Duration::from_secs(1))?.trim().parse()?;
    /// # Ok(()) }
    /// ```
    pub fn wait_for_output(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        wait_for(self, pattern, timeout)
    }

    fn read_since(&self, max_bytes: u32) -> Result<process::LogChunk> {
        let stream = self.stream.into();
        let cursor = LogCursor {
            token: self.pending.token().map(str::to_owned),
        };
        Ok(process::read_since(self.id.expose(), stream, &cursor, max_bytes)?)
    }
}

impl Tail for Log {}

impl Reader for Log {
    fn pending<R>(&mut self, use_it: impl FnOnce(&mut Pending) -> R) -> R {
        use_it(&mut self.pending)
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn fill(&mut self) -> Result<bool> {
        if self.pending.token().is_none() {
            // Fixes the place to come back to: a read without a token begins at the oldest byte of its time.
            let start = self.read_since(0)?;
            self.pending.begin(start.next.token);
        }
        let chunk = self.read_since(CHUNK)?;
        self.over = chunk.drained_eof;
        self.pending.accept(&chunk.data, chunk.next.token, chunk.bytes_dropped);
        Ok(!chunk.data.is_empty())
    }

    fn pause(&mut self, waiting: &mut Waiting) -> Result<()> {
        if waiting.is_forever() {
            let attach = || {
                let handle = Rc::new(process::attach(self.id.expose()).ok()?);
                Some(Pollable::logs_of_process(&handle))
            };
            if let Some(more) = self.more.get_or_insert_with(attach)
                // The pollable covers both streams. While the other one holds unread output, it is
                // ready, and blocking on it would not wait.
                && !more.is_ready()
            {
                return more.block();
            }
        }
        waiting.pause(|ms| process::wait(self.id.expose(), ms))
    }
}

/// Lines as text, without their ends (`\n` or `\r\n`), from [`Log::lines`] (available output) or
/// [`Follow::lines`] (later output as well). Dropping it stops reading; an unfinished line can
/// still be read from its cursor, or from the [`ChildOutput`](crate::ChildOutput) that it reads.
///
/// Bytes that are not UTF-8 become U+FFFD; a character is never cut by a chunk's border. A line of
/// more than 1 MiB comes in pieces. After an error there are no more lines.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// let errors = server.stdout().lines().filter_map(Result::ok).filter(|line| line.contains("ERROR"));
/// println!("{} errors", errors.count());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Lines<T = Log> {
    log: T,
    waiting: Option<Waiting>,
    failed: bool,
}

impl<T: Tail> Lines<T> {
    pub(crate) const fn of(log: T, waiting: Option<Waiting>) -> Self {
        Self {
            log,
            waiting,
            failed: false,
        }
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let over = self.log.is_over();
            if let Some(line) = self.log.pending(|pending| pending.take_line(over)) {
                return Ok(Some(lossy(line)));
            }
            if over {
                return Ok(None);
            }
            let more = match &mut self.waiting {
                Some(waiting) => self.log.fill_waiting(waiting)?,
                None => self.log.fill()?,
            };
            if !more && !self.log.is_over() {
                return Ok(None);
            }
        }
    }
}

impl Lines {
    /// The place behind the last line that was handed out.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut lines = server.stdout().lines();
    /// let first = lines.next().transpose()?;
    /// let second = server.stdout().resume(lines.cursor()).lines().next().transpose()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.log.cursor()
    }

    /// See [`Log::dropped`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut lines = server.stdout().lines();
    /// let text: Vec<_> = lines.by_ref().collect();
    /// println!("{} lines, {} bytes before them are lost", text.len(), lines.dropped());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.log.dropped()
    }
}

impl<T: Tail> Iterator for Lines<T> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.next_line();
        self.failed = line.is_err();
        line.transpose()
    }
}

/// A stream to its end, as chunks of bytes, as [`lines`](Self::lines) or through [`io::Read`].
/// Dropping it stops reading and nothing else.
///
/// While there is no new output, the capsule waits at the host, and output or the exit wakes it. With
/// a deadline ([`at_most`](Self::at_most)), or while the process's other stream holds output that
/// this instance has not read, it waits for the exit instead, between 1 and 100 ms at a time, and
/// then checks for output: it notices an exit at once, and output within that time. Both ways of
/// waiting count as a touch, so a process that is followed never reaches its idle timeout, and
/// neither costs guest time.
///
/// An instance need not stay for the whole stream: take the [`cursor`](Self::cursor), and let a
/// later one [`resume`](Log::resume) and follow on.
///
/// It ends with the stream or with the first error, such as [`Error::NoSuchProcess`] when another
/// caller stops the process, or [`Error::WaitTimeout`] after the time of [`at_most`](Self::at_most).
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let build = capsule_sdk::Process::find("build")?.unwrap();
/// let mut all = Vec::new();
/// for chunk in build.stdout().follow() {
///     all.extend(chunk?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Follow<T = Log> {
    log: T,
    waiting: Waiting,
    failed: bool,
}

impl<T: Tail> Follow<T> {
    pub(crate) const fn of(log: T) -> Self {
        Self {
            log,
            waiting: Waiting::forever(),
            failed: false,
        }
    }

    /// Fails with [`Error::WaitTimeout`] once this time, counted from now, has passed and no more
    /// output is available. The cursor stays valid.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// use std::time::Duration;
    ///
    /// for line in server.stdout().follow().at_most(Duration::from_secs(5)).lines() {
    ///     match line {
    ///         Ok(line) => println!("{line}"),
    ///         Err(error) if error.is_timeout() => break,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn at_most(mut self, timeout: Duration) -> Self {
        self.waiting = Waiting::at_most(timeout);
        self
    }

    /// Follows the stream line by line; the last line need not have an end.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let count = build.stderr().follow().lines().count();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lines(self) -> Lines<T> {
        Lines {
            log: self.log,
            waiting: Some(self.waiting),
            failed: self.failed,
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let here = self.log.pending(Pending::take_all);
            if !here.is_empty() {
                return Ok(Some(here));
            }
            if !self.log.fill_waiting(&mut self.waiting)? {
                return Ok(None);
            }
        }
    }
}

impl Follow {
    /// The place behind everything that was handed out so far.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let mut follow = build.stdout().follow();
    /// let first = follow.next().transpose()?;
    /// let later = follow.cursor();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.log.cursor()
    }

    /// See [`Log::dropped`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let mut follow = build.stdout().follow();
    /// let received: usize = follow.by_ref().flatten().map(|chunk| chunk.len()).sum();
    /// println!("{received} bytes received, {} lost", follow.dropped());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.log.dropped()
    }
}

impl<T: Tail> Iterator for Follow<T> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let chunk = self.next_chunk();
        self.failed = chunk.is_err();
        chunk.transpose()
    }
}

/// Waits for at least one byte; 0 is the end of the stream.
impl<T: Tail> io::Read for Follow<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.log.pending(|pending| pending.take_into(buffer));
            if n > 0 || buffer.is_empty() || !self.log.fill_waiting(&mut self.waiting)? {
                return Ok(n);
            }
        }
    }
}

pub(crate) fn wait_for(log: &mut impl Reader, pattern: &str, timeout: Duration) -> Result<String> {
    let mut waiting = Waiting::at_most(timeout);
    loop {
        if let Some(text) = log.take_through(pattern) {
            return Ok(text);
        }
        if !log.fill_waiting(&mut waiting)? {
            return Err(Error::Closed);
        }
    }
}
