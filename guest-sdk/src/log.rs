//! Reading what a process writes: byte for byte, from any place, by any number of instances.

use crate::{
    Cursor, Error, LogStream, Pollable, ProcessId, Result,
    pending::{Gap, LONGEST_LINE, Pending},
    tail::{Reader, Tail, read_until, wait_for},
    text::lossy,
    waiting::Waiting,
    wit::process::{self, LogCursor},
};
use std::{io, rc::Rc, time::Duration};

/// Much less than the host would give, because it passes through the instance's memory twice.
const CHUNK: u32 = 64 * 1024;

/// In the middle of a long line. The more is here already, the more is asked for, so that a long line takes few calls.
const LARGEST_CHUNK: u32 = 1024 * 1024;

/// More than a host keeps of a stream, in reads of [`LARGEST_CHUNK`]. A process that writes as fast as it is read must not hold its reader.
const MOST_SKIPPED: u32 = 16;

/// Reads one stream of a persistent process. Dropping it costs nothing and changes nothing:
/// reading consumes no output, and [`cursor`](Self::cursor) tells a later instance where to go on.
///
/// It begins at the oldest byte that the host still keeps. Under [`Overflow::Backpressure`] reading
/// on also tells the host that what came before arrived, so one reader that goes on from its
/// cursors gets every byte.
///
/// Under drop-oldest the host keeps the newest output. A loss between two reads of one chain of cursors is told: by
/// [`Error::Lost`] from [`lines`](Self::lines) and [`read_until`](Self::read_until), and by [`dropped`](Self::dropped). What was
/// lost before the first read of a chain is unknown, and the first line may then be the rest of one. So begin to
/// read when the process has just been started, and go on from the cursor.
///
/// Only [`follow`](Self::follow), [`read_until`](Self::read_until) and [`wait_for_output`](Self::wait_for_output) wait.
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
    /// Where this number grew, bytes that did not follow each other meet in [`read_chunk`](Self::read_chunk) and
    /// [`io::Read`]. [`lines`](Self::lines) tells the place, and adds the parts of lines that it had to drop
    /// there.
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

    /// Whether the stream has ended and all of it was handed out. The host says so without a read of
    /// output.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if the process is gone or the cursor is not one of this stream.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// let bytes = log.read_chunk()?;
    /// println!("{} bytes, {}", bytes.len(), if log.at_end()? { "all" } else { "so far" });
    /// # Ok(()) }
    /// ```
    pub fn at_end(&mut self) -> Result<bool> {
        if self.pending.is_empty() && !self.over {
            self.fill_with(0)?;
        }
        Ok(self.over && self.pending.is_empty())
    }

    /// Skips the output that is available now, up to the beginning of the line that the process has not
    /// finished: only later lines are of interest. Under [`Overflow::Backpressure`](crate::Overflow::Backpressure) this makes
    /// room for what the process is waiting to write.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if the process is gone or the cursor is not one of this stream.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let shell = capsule_sdk::Process::find("shell")?.unwrap();
    /// let mut log = shell.stdout();
    /// log.skip_available()?;
    /// shell.write(b"date\n")?;
    /// println!("{}", log.read_text_until("\n", std::time::Duration::from_secs(1))?);
    /// # Ok(()) }
    /// ```
    pub fn skip_available(&mut self) -> Result<()> {
        self.skip().map(drop)
    }

    /// As [`skip_available`](Self::skip_available); how many bytes were read for that.
    pub(crate) fn skip(&mut self) -> Result<usize> {
        let mut all = 0;
        for _ in 0..MOST_SKIPPED {
            if self.over {
                break;
            }
            let read = self.fill_with(LARGEST_CHUNK)?;
            all += read;
            self.pending.skip_lines();
            if read < LARGEST_CHUNK as usize {
                break;
            }
        }
        self.pending.skip_lines();
        // Tells the host that this arrived, so that a process which waits for its reader goes on.
        self.fill_with(0)?;
        Ok(all)
    }

    /// The lines that are available now. A line that the process has not finished is not among them;
    /// the cursor is then at that line's beginning.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stderr();
    /// let text: Vec<String> = log.lines().take(100).collect::<capsule_sdk::Result<_>>()?;
    /// let next_time = log.cursor();
    /// # Ok(()) }
    /// ```
    pub const fn lines(&mut self) -> Lines<&mut Self> {
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
    pub const fn follow(&mut self) -> Follow<&mut Self> {
        Follow::of(self)
    }

    /// Waits until `pattern` appears, and takes everything from here up to its end. Reading goes on right
    /// behind it. After any error but [`Error::Lost`] nothing was taken, so that a further call or
    /// another way of reading gets all of it. To this end it is kept in memory, 16 MiB at most.
    ///
    /// The pattern is plain bytes, which may contain line ends. It is found in an unfinished line too, such as
    /// a prompt. Each byte is searched once in a call.
    ///
    /// # Errors
    /// * [`Error::WaitTimeout`]: it did not appear in time.
    /// * [`Error::Closed`]: the stream ended without it.
    /// * [`Error::TooLarge`]: 16 MiB came without it.
    /// * [`Error::Lost`]: output was lost before it appeared. What came before is dropped and counted, and
    ///   a further call goes on behind the loss.
    /// * [`Error::NoSuchProcess`]: the process is gone or the cursor is not one of this stream.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let python = capsule_sdk::Process::find("python")?.unwrap();
    /// use std::time::Duration;
    ///
    /// let mut log = python.stdout();
    /// log.read_until(">>> ", Duration::from_secs(10))?;
    /// python.write(b"6 * 7\n")?;
    /// assert_eq!(log.read_until("\n>>> ", Duration::from_secs(10))?, b"42\n>>> ");
    /// # Ok(()) }
    /// ```
    pub fn read_until(&mut self, pattern: impl AsRef<[u8]>, timeout: Duration) -> Result<Vec<u8>> {
        Ok(read_until(self, &[pattern.as_ref()], timeout)?.1)
    }

    /// As [`read_until`](Self::read_until), as text: bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// As [`read_until`](Self::read_until).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let banner = server.stdout().read_text_until("ready\n", std::time::Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    pub fn read_text_until(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        self.read_until(pattern, timeout).map(lossy)
    }

    /// As [`read_until`](Self::read_until), for the first of several patterns: the one whose end appears first, and of
    /// two that end at the same byte the first in the list. Returns its index, too.
    ///
    /// # Errors
    /// As [`read_until`](Self::read_until).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let python = capsule_sdk::Process::find("python")?.unwrap();
    /// let (which, text) = python.stderr().read_until_any(&["\n>>> ", "Error: "], std::time::Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    pub fn read_until_any(&mut self, patterns: &[impl AsRef<[u8]>], timeout: Duration) -> Result<(usize, Vec<u8>)> {
        let patterns: Vec<_> = patterns.iter().map(AsRef::as_ref).collect();
        read_until(self, &patterns, timeout)
    }

    /// Waits until `pattern` appears, and returns the line it is in, from that line's beginning
    /// (or the current place, if that is within the line) to the pattern's end. Reading goes on
    /// right behind it, so that a second call can take what follows.
    ///
    /// The pattern is a plain piece of text, not a regular expression; it may contain line ends,
    /// and it is found in an unfinished line too, such as a prompt. Bytes that are not UTF-8 are
    /// replaced in the text returned, not in the comparison. Only the
    /// last MiB of a line without an end is kept. What was lost in between is passed over: see [`dropped`](Self::dropped).
    /// [`read_until`](Self::read_until) returns what came before, too.
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

    /// Reads once. How many bytes came.
    fn fill_with(&mut self, max_bytes: u32) -> Result<usize> {
        if self.pending.token().is_none() {
            // Fixes the place to come back to: a read without a token begins at the oldest byte of its time.
            let start = self.read_since(0)?;
            self.pending.begin(start.next.token);
        }
        let chunk = self.read_since(max_bytes)?;
        self.over = chunk.drained_eof;
        self.pending.accept(&chunk.data, chunk.next.token, chunk.bytes_dropped);
        Ok(chunk.data.len())
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
        let here = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        Ok(self.fill_with(here.clamp(CHUNK, LARGEST_CHUNK))? > 0)
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
/// Every line is whole: none is split, shortened, or joined of two. Bytes that are not UTF-8 become U+FFFD. Two errors
/// stand for lines that cannot be given, and the lines go on behind them:
///
/// * [`Error::Lost`]: bytes are missing at this place. The parts of lines before and behind are dropped, and
///   counted with them.
/// * [`Error::LineTooLong`]: a line exceeds [`max_length`](Self::max_length), which bounds the memory. It comes as soon
///   as that is known, and the rest of the line is skipped. To read the line after all, resume at a cursor taken before it, with a
///   higher limit.
///
/// After any other error there are no more lines.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// use capsule_sdk::Error;
///
/// for line in server.stdout().lines() {
///     match line {
///         Ok(line) => println!("{line}"),
///         Err(Error::Lost { bytes }) => println!("({bytes} bytes are missing here)"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Lines<T> {
    log: T,
    waiting: Option<Waiting>,
    most: usize,
    failed: bool,
}

impl<T: Tail> Lines<T> {
    pub(crate) const fn of(log: T, waiting: Option<Waiting>) -> Self {
        Self {
            log,
            waiting,
            most: LONGEST_LINE,
            failed: false,
        }
    }

    /// The most bytes of a line, without its end; 1 MiB unless set. So much memory may be needed, and
    /// twice that for a moment.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// let longest = log.lines().max_length(16 << 20).map_while(Result::ok).map(|line| line.len()).max();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn max_length(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let over = self.log.is_over();
            let most = self.most;
            match self.log.pending(|pending| pending.take_line(most, over)) {
                Some(Ok(line)) => return Ok(Some(lossy(line))),
                Some(Err(Gap::Lost(bytes))) => return Err(Error::Lost { bytes }),
                Some(Err(Gap::TooLong)) => return Err(Error::LineTooLong { limit: most }),
                None => {}
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

impl Lines<&mut Log> {
    /// The place behind the last line that was handed out.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// let mut lines = log.lines();
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
    /// let mut log = server.stdout();
    /// let mut lines = log.lines();
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
        self.failed = line.as_ref().is_err_and(|error| !error.is_gap());
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
pub struct Follow<T> {
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
    /// output is available. The cursor stays valid. A process that never stops writing is read for 10 MiB
    /// more.
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
            most: LONGEST_LINE,
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

impl Follow<&mut Log> {
    /// The place behind everything that was handed out so far.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// # let build = capsule_sdk::Process::find("build")?.unwrap();
    /// let mut log = build.stdout();
    /// let mut follow = log.follow();
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
    /// let mut log = build.stdout();
    /// let mut follow = log.follow();
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
