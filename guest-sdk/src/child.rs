//! Processes that belong to the instance.
//!
//! The host returns both streams at once, as text, and forgets what it returned. `std` has two
//! independent readers. So what a read returned for the other stream is kept here, in buffers that
//! both readers share with the child.

use crate::{
    ChildStdin, Error, ExitStatus, Follow, Killed, Lines, LogStream, Logs, Output, Pollable, Result, Signal,
    millis::millis,
    pending::Pending,
    tail::{Reader, Tail, read_until, wait_for},
    text::lossy,
    waiting::Waiting,
    wit::process::{ProcessHandle, ReadLogsResult},
};
use std::{
    cell::{Cell, RefCell},
    fmt, io,
    rc::{Rc, Weak},
    time::Duration,
};

/// How many bytes are kept for a reader that does not read while the other one does: the most that
/// the host itself would keep.
const MOST: usize = 8 * 1024 * 1024;

/// A process that belongs to this instance. Dropping it ends the process and everything that it
/// started, at once; the end of the instance does the same. (In `std` a dropped child runs on.)
///
/// [`Command::spawn`](crate::Command::spawn) returns it. A process that is to outlive the instance
/// is started with [`spawn_persistent`](crate::Command::spawn_persistent) instead.
///
/// The host keeps the newest output that was not read, 1 MiB for each stream unless the embedder
/// set another size, and drops older output silently. The process never waits for a reader.
///
/// Every method may answer [`Error::Cancelled`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Write;
///
/// let mut sort = capsule_sdk::Command::new("sort").keep_stdin_open(true).spawn()?;
/// if let Some(stdin) = &mut sort.stdin {
///     stdin.write_all(b"b\na\n")?;
/// }
/// println!("{}", sort.wait_with_output()?.stdout_lossy());
/// # Ok(()) }
/// ```
pub struct Child {
    /// Its standard input, if the command said [`keep_stdin_open`](crate::Command::keep_stdin_open).
    /// Take it to write in another place; dropping it ends the input.
    pub stdin: Option<ChildStdin>,
    /// Its standard output. Take it to read in another place; dropping it discards all further
    /// output.
    pub stdout: Option<ChildOutput>,
    /// Its standard error, likewise.
    pub stderr: Option<ChildOutput>,
    buffers: Rc<Buffers>,
    /// The only strong reference: all others are weak, and the process ends with this one.
    handle: Rc<ProcessHandle>,
}

impl Child {
    pub(crate) fn new(handle: ProcessHandle, stdin_open: bool) -> Self {
        let handle = Rc::new(handle);
        let buffers = Rc::new(Buffers::default());
        let output = |stream| {
            Some(ChildOutput {
                stream,
                buffers: Rc::clone(&buffers),
                handle: Rc::downgrade(&handle),
                patience: Patience::default(),
            })
        };
        Self {
            stdin: stdin_open.then(|| ChildStdin::new(Rc::downgrade(&handle))),
            stdout: output(LogStream::Stdout),
            stderr: output(LogStream::Stderr),
            buffers,
            handle,
        }
    }

    /// Its pid on the host; none once it has exited.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let child = capsule_sdk::Command::new("make").spawn()?;
    /// println!("{:?}", child.id());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.handle.os_pid().ok()
    }

    /// Ends its standard input, unless that was taken, and waits for its exit, for as long as that
    /// takes. Its output can be read afterwards.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let status = capsule_sdk::Command::new("make").spawn()?.wait()?;
    /// # Ok(()) }
    /// ```
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        Ok(self.handle.wait(None)?.into())
    }

    /// Like [`wait`](Self::wait), for at most this time.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if it runs on.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// match make.wait_timeout(std::time::Duration::from_secs(60)) {
    ///     Err(error) if error.is_timeout() => println!("gave up: {:?}", make.kill()?.exit),
    ///     other => println!("{}", other?),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.stdin = None;
        Ok(self.handle.wait(Some(millis(timeout)))?.into())
    }

    /// How it ended, or none if it runs on. Neither waits nor ends its input.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// let done = make.try_wait()?.is_some();
    /// # Ok(()) }
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        match self.handle.wait(Some(0)).map_err(Error::from) {
            Ok(exit) => Ok(Some(exit.into())),
            Err(error) if error.is_timeout() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends it and everything that it started, at once, and returns what was left of its output.
    /// If the reader of a stream was taken, that reader gets the rest of it.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`]. It is not an error if the process has exited.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut server = capsule_sdk::Command::new("python3").args(["-m", "http.server"]).spawn()?;
    /// print!("{}", server.kill()?.stderr_lossy());
    /// # Ok(()) }
    /// ```
    pub fn kill(&mut self) -> Result<Killed> {
        let left = Killed::from(self.handle.kill()?);
        self.buffers.accept(&left.stdout, &left.stderr, true, None);
        Ok(Killed {
            stdout: take_rest(&mut self.stdout),
            stderr: take_rest(&mut self.stderr),
            ..left
        })
    }

    /// Ends its standard input, reads its output until it exits, and returns the output that was
    /// not read before. If the reader of a stream was taken, that reader gets the rest of it.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let output = capsule_sdk::Command::new("make").spawn()?.wait_with_output()?;
    /// # Ok(()) }
    /// ```
    pub fn wait_with_output(mut self) -> Result<Output> {
        self.collect(Waiting::forever())
    }

    /// Like [`wait_with_output`](Self::wait_with_output), for at most this time. After
    /// [`Error::WaitTimeout`] no output is lost.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if it runs on; as [`wait_with_output`](Self::wait_with_output).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// use std::time::Duration;
    ///
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// match make.wait_with_output_timeout(Duration::from_secs(60)) {
    ///     Err(error) if error.is_timeout() => println!("{}", make.kill()?.stdout_lossy()),
    ///     other => println!("{}", other?.status),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_with_output_timeout(&mut self, timeout: Duration) -> Result<Output> {
        self.collect(Waiting::at_most(timeout))
    }

    fn collect(&mut self, mut waiting: Waiting) -> Result<Output> {
        self.stdin = None;
        // The host keeps the newest of a stream only, and its own `wait-with-output` no more than
        // that. What is read before a timeout stays in the buffers.
        self.buffers.collecting.set(true);
        let mut patience = Patience::default();
        loop {
            let read = self.handle.read_logs()?;
            self.buffers.take_in(&read, None);
            if let Some(exit) = read.exit {
                return Ok(Output {
                    status: exit.into(),
                    stdout: take_rest(&mut self.stdout),
                    stderr: take_rest(&mut self.stderr),
                });
            }
            patience.pause(&self.handle, &self.buffers, &mut waiting)?;
        }
    }

    /// Takes the output of both streams that is available now and was not read before. Does not wait.
    /// If the reader of a stream was taken, that reader gets it.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let make = capsule_sdk::Command::new("make").spawn()?;
    /// make.logs_ready().block()?;
    /// print!("{}", make.read_logs()?.stdout);
    /// # Ok(()) }
    /// ```
    pub fn read_logs(&self) -> Result<Logs> {
        let read = self.handle.read_logs()?;
        self.buffers.take_in(&read, None);
        let rest = |output: &Option<ChildOutput>| {
            let bytes = output
                .as_ref()
                .map(|output| self.buffers.with(output.stream, Pending::take_all));
            lossy(bytes.unwrap_or_default())
        };
        Ok(Logs {
            stdout: rest(&self.stdout),
            stderr: rest(&self.stderr),
            running: read.running,
            exit: read.exit.map(ExitStatus::from),
        })
    }

    /// Sends a signal to the command's process group. After its exit this does nothing.
    ///
    /// # Errors
    /// Only [`Error::Cancelled`].
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let make = capsule_sdk::Command::new("make").spawn()?;
    /// make.signal(capsule_sdk::Signal::Int)?;
    /// # Ok(()) }
    /// ```
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(self.handle.signal(signal.into())?)
    }

    /// Becomes ready with its exit, and stays so.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let make = capsule_sdk::Command::new("make").spawn()?;
    /// capsule_sdk::select(&[&make.exit_ready(), &make.logs_ready()])?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn exit_ready(&self) -> Pollable {
        Pollable::exit_of_child(&self.handle)
    }

    /// Is ready while the host holds output of either stream that was not read, and once it has
    /// exited. A read takes the output of both streams from the host, and output that waits in the
    /// SDK for the other reader does not count. With two readers, read both before waiting, or use
    /// [`read_logs`](Self::read_logs).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let make = capsule_sdk::Command::new("make").spawn()?;
    /// loop {
    ///     make.logs_ready().block()?;
    ///     let logs = make.read_logs()?;
    ///     print!("{}{}", logs.stdout, logs.stderr);
    ///     if !logs.running {
    ///         break;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn logs_ready(&self) -> Pollable {
        Pollable::logs_of_child(&self.handle)
    }
}

fn take_rest(output: &mut Option<ChildOutput>) -> Vec<u8> {
    output
        .as_mut()
        .map(|output| output.pending(Pending::take_all))
        .unwrap_or_default()
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Buffers {
    streams: RefCell<[Buffer; 2]>,
    /// How many bytes were received so far. It tells a waiting task whether new ones have come.
    received: Cell<u64>,
    /// Whether a caller collects all output, so that none may be dropped.
    collecting: Cell<bool>,
}

#[derive(Debug, Default)]
struct Buffer {
    pending: Pending,
    /// Its reader was dropped: later output is thrown away.
    unwanted: bool,
    over: bool,
}

impl Buffers {
    fn with<R>(&self, stream: LogStream, use_it: impl FnOnce(&mut Pending) -> R) -> R {
        self.buffer(stream, |buffer| use_it(&mut buffer.pending))
    }

    fn buffer<R>(&self, stream: LogStream, use_it: impl FnOnce(&mut Buffer) -> R) -> R {
        let [stdout, stderr] = &mut *self.streams.borrow_mut();
        use_it(match stream {
            LogStream::Stdout => stdout,
            LogStream::Stderr => stderr,
        })
    }

    fn take_in(&self, read: &ReadLogsResult, reader: Option<LogStream>) {
        self.accept(read.stdout.as_bytes(), read.stderr.as_bytes(), !read.running, reader);
    }

    /// The `reader` that asked bounds by itself what it keeps.
    fn accept(&self, stdout: &[u8], stderr: &[u8], over: bool, reader: Option<LogStream>) {
        let received = self.received.get() + (stdout.len() + stderr.len()) as u64;
        self.received.set(received);
        for (stream, bytes) in [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)] {
            self.buffer(stream, |buffer| {
                buffer.over |= over;
                if !buffer.unwanted {
                    buffer.pending.accept_plain(bytes);
                    if !self.collecting.get() && reader != Some(stream) {
                        buffer.pending.keep_newest(MOST.max(bytes.len()));
                    }
                }
            });
        }
    }
}

/// How to wait for output of a child.
#[derive(Debug, Default)]
struct Patience {
    /// How much had been received when it last waited without a deadline.
    blocked_at: Option<u64>,
}

impl Patience {
    fn pause(&mut self, handle: &Rc<ProcessHandle>, buffers: &Buffers, waiting: &mut Waiting) -> Result<()> {
        // A host whose pollables are ready without cause must not make this a busy loop.
        let received = Some(buffers.received.get());
        if waiting.is_forever() && self.blocked_at != received {
            self.blocked_at = received;
            return Pollable::logs_of_child(handle).block();
        }
        waiting.pause(|ms| handle.wait(Some(ms)))
    }
}

/// One of the two output streams of a [`Child`]. Dropping it discards all further output of this
/// stream; the child runs on.
///
/// Output comes as text: the host replaces bytes that are not UTF-8 by U+FFFD, and never cuts a
/// character. [`io::Read`], [`follow`](Self::follow) and [`wait_for_output`](Self::wait_for_output)
/// wait; the other methods return the output that is available.
///
/// Each read takes the output of both streams from the host. Output of the other stream waits for
/// its reader, at most 8 MiB; beyond that the oldest bytes are [`dropped`](Self::dropped).
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use std::time::Duration;
///
/// let mut server = capsule_sdk::Command::new("python3").args(["-um", "http.server"]).spawn()?;
/// let stdout = server.stdout.as_mut().expect("it was not taken");
/// stdout.wait_for_output("Serving HTTP", Duration::from_secs(10))?;
/// # Ok(()) }
/// ```
pub struct ChildOutput {
    stream: LogStream,
    buffers: Rc<Buffers>,
    handle: Weak<ProcessHandle>,
    patience: Patience,
}

impl ChildOutput {
    /// The output that is available now, as text, possibly empty. Does not wait.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the capsule is being unloaded.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// if let Some(stderr) = &mut make.stderr {
    ///     print!("{}", stderr.read_text()?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn read_text(&mut self) -> Result<String> {
        if !self.is_over() {
            self.fill()?;
        }
        Ok(lossy(self.pending(Pending::take_all)))
    }

    /// Whether the stream has ended and all of it was handed out. Asks the host for what is new, if need
    /// be, and keeps it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the capsule is being unloaded.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// if let Some(stdout) = &mut make.stdout {
    ///     let text = stdout.read_text()?;
    ///     println!("{} bytes, {}", text.len(), if stdout.at_end()? { "all" } else { "so far" });
    /// }
    /// # Ok(()) }
    /// ```
    pub fn at_end(&mut self) -> Result<bool> {
        if self.pending(|pending| pending.is_empty()) && !self.is_over() {
            self.fill()?;
        }
        Ok(self.is_over() && self.pending(|pending| pending.is_empty()))
    }

    /// Bytes that arrived while this reader did not read, and that the SDK dropped in favour of newer
    /// ones. How many bytes the host dropped is not known.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let make = capsule_sdk::Command::new("make").spawn()?;
    /// assert_eq!(make.stderr.as_ref().map(capsule_sdk::ChildOutput::dropped), Some(0));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.buffers.with(self.stream, |pending| pending.dropped())
    }

    /// The lines that are available now. A line that the process has not finished is not among them;
    /// it stays for the next reader.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// if let Some(stdout) = &mut make.stdout {
    ///     let lines: Vec<String> = stdout.lines().collect::<capsule_sdk::Result<_>>()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn lines(&mut self) -> Lines<&mut Self> {
        Lines::of(self, None)
    }

    /// The stream from here to its end, waiting for further output. Without a deadline, only output
    /// and the exit wake the capsule.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut make = capsule_sdk::Command::new("make").spawn()?;
    /// if let Some(stdout) = &mut make.stdout {
    ///     for line in stdout.follow().lines() {
    ///         println!("{}", line?);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn follow(&mut self) -> Follow<&mut Self> {
        Follow::of(self)
    }

    /// As [`Log::read_until`](crate::Log::read_until).
    ///
    /// # Errors
    /// As [`Log::read_until`](crate::Log::read_until).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut python = capsule_sdk::Command::new("python3").args(["-uiq"]).keep_stdin_open(true).spawn()?;
    /// if let Some(stderr) = &mut python.stderr {
    ///     let prompt = stderr.read_until(">>> ", std::time::Duration::from_secs(10))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn read_until(&mut self, pattern: impl AsRef<[u8]>, timeout: Duration) -> Result<Vec<u8>> {
        Ok(read_until(self, &[pattern.as_ref()], timeout)?.1)
    }

    /// As [`Log::read_text_until`](crate::Log::read_text_until).
    ///
    /// # Errors
    /// As [`Log::read_until`](crate::Log::read_until).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut server = capsule_sdk::Command::new("server").spawn()?;
    /// if let Some(stdout) = &mut server.stdout {
    ///     let banner = stdout.read_text_until("ready\n", std::time::Duration::from_secs(10))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn read_text_until(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        self.read_until(pattern, timeout).map(lossy)
    }

    /// As [`Log::read_until_any`](crate::Log::read_until_any).
    ///
    /// # Errors
    /// As [`Log::read_until`](crate::Log::read_until).
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut server = capsule_sdk::Command::new("server").spawn()?;
    /// if let Some(stdout) = &mut server.stdout {
    ///     let (which, text) = stdout.read_until_any(&["ready", "failed"], std::time::Duration::from_secs(10))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn read_until_any(&mut self, patterns: &[impl AsRef<[u8]>], timeout: Duration) -> Result<(usize, Vec<u8>)> {
        let patterns: Vec<_> = patterns.iter().map(AsRef::as_ref).collect();
        read_until(self, &patterns, timeout)
    }

    /// As [`Log::wait_for_output`](crate::Log::wait_for_output).
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if the text did not appear in time, [`Error::Closed`] if the stream
    /// ended without it.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let mut server = capsule_sdk::Command::new("server").spawn()?;
    /// if let Some(stdout) = &mut server.stdout {
    ///     stdout.wait_for_output("ready", std::time::Duration::from_secs(10))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_for_output(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        wait_for(self, pattern, timeout)
    }
}

impl Tail for ChildOutput {}

impl Reader for ChildOutput {
    fn pending<R>(&mut self, use_it: impl FnOnce(&mut Pending) -> R) -> R {
        self.buffers.with(self.stream, use_it)
    }

    fn is_over(&self) -> bool {
        self.buffers.buffer(self.stream, |buffer| buffer.over)
    }

    fn fill(&mut self) -> Result<bool> {
        let before = self.buffers.with(self.stream, |pending| pending.len());
        match self.handle.upgrade() {
            Some(handle) => self.buffers.take_in(&handle.read_logs()?, Some(self.stream)),
            // The child was dropped, and so ended.
            None => self.buffers.accept(b"", b"", true, None),
        }
        Ok(self.buffers.with(self.stream, |pending| pending.len()) > before)
    }

    fn pause(&mut self, waiting: &mut Waiting) -> Result<()> {
        let Some(handle) = self.handle.upgrade() else {
            return Ok(());
        };
        self.patience.pause(&handle, &self.buffers, waiting)
    }
}

/// Waits for at least one byte; 0 is the end of the stream.
impl io::Read for ChildOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.follow().read(buffer)
    }
}

impl Drop for ChildOutput {
    fn drop(&mut self) {
        self.buffers.buffer(self.stream, |buffer| {
            buffer.unwanted = true;
            buffer.pending = Pending::default();
        });
    }
}

impl fmt::Debug for ChildOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildOutput")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
