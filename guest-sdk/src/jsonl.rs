//! JSON lines over standard input and output: one message a line, as MCP and other protocols have it.
//!
//! A reader goes on from a [`Cursor`](crate::Cursor), so every instance sees every message. A message of up to 1 MiB is one
//! write, which the host keeps together (N2), so several instances may write to one process.

use crate::{Error, Lines, Log, Result, Tail, pending::Gap, stdin::MOST, text::lossy, waiting::Waiting};
use serde::Serialize;
use serde_json::Value;
use std::{io, time::Duration};

/// The longest message unless another limit is set.
const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// A line of a stream of JSON lines.
///
/// ```
/// use capsule_sdk::jsonl::Frame;
///
/// assert_eq!(Frame::of_line("{\"id\":1}".to_owned()), Frame::Json(serde_json::json!({ "id": 1 })));
/// assert_eq!(Frame::of_line("npm notice".to_owned()), Frame::Text("npm notice".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A JSON object or array.
    Json(Value),
    /// Another line: what a program prints besides its protocol.
    Text(String),
}

impl Frame {
    /// Reads a line without its end.
    ///
    /// ```
    /// # use capsule_sdk::jsonl::Frame;
    /// assert_eq!(Frame::of_line("42".to_owned()), Frame::Text("42".to_owned()));
    /// ```
    #[must_use]
    pub fn of_line(line: String) -> Self {
        match serde_json::from_str(&line) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::Json(value),
            Ok(_) | Err(_) => Self::Text(line),
        }
    }
}

/// Reads JSON lines from a [`Log`] or a [`ChildOutput`](crate::ChildOutput), or from a borrowed one. Dropping it stops reading.
///
/// Empty lines are skipped. A message is whole or an error: [`Error::Lost`] where output is missing,
/// [`Error::LineTooLong`] for one above the limit. Reading goes on behind both. The output of a `Child` that its host dropped is
/// not told; a persistent process under [`Overflow::Backpressure`](crate::Overflow::Backpressure) loses none.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// use capsule_sdk::jsonl::{Frame, Reader};
/// use std::time::Duration;
///
/// let mut reader = Reader::new(server.stdout());
/// while let Some(frame) = reader.read(Duration::from_secs(10))? {
///     match frame {
///         Frame::Json(message) => println!("{message}"),
///         Frame::Text(line) => println!("not of the protocol: {line}"),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reader<T> {
    log: T,
    most: usize,
}

impl<T: Tail> Reader<T> {
    /// Reads on from where `log` stands. A message has 16 MiB at most.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut log = server.stdout();
    /// let reader = capsule_sdk::jsonl::Reader::new(&mut log);
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub const fn new(log: T) -> Self {
        Self {
            log,
            most: LONGEST_MESSAGE,
        }
    }

    /// The most bytes of a message.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let reader = capsule_sdk::jsonl::Reader::new(server.stdout()).max_length(1 << 20);
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    #[must_use]
    pub const fn max_length(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Waits for the next line; none at the end of the stream.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] if none came in time: what has come of it is kept. [`Error::Lost`] and
    /// [`Error::LineTooLong`] in place of what cannot be read; the errors of the stream.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let first = capsule_sdk::jsonl::Reader::new(server.stdout()).read(std::time::Duration::from_secs(1))?;
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub fn read(&mut self, timeout: Duration) -> Result<Option<Frame>> {
        self.next(Some(Waiting::at_most(timeout)))
    }

    /// The next line if it is here already. Does not wait.
    ///
    /// # Errors
    /// As [`read`](Self::read), but for the timeout.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let here = capsule_sdk::jsonl::Reader::new(server.stdout()).try_read()?;
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub fn try_read(&mut self) -> Result<Option<Frame>> {
        self.next(None)
    }

    fn next(&mut self, waiting: Option<Waiting>) -> Result<Option<Frame>> {
        let lines = Lines::of(&mut self.log, waiting).max_length(self.most);
        for line in lines {
            let line = line?;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Frame::of_line(line)));
            }
        }
        Ok(None)
    }

    /// The next line of what was read already. Reads nothing, so it ends, however fast the process writes.
    pub(crate) fn take_read(&mut self) -> Result<Option<Frame>> {
        let (over, most) = (self.log.is_over(), self.most);
        loop {
            match self.log.pending(|pending| pending.take_line(most, over)) {
                Some(Ok(line)) => {
                    let line = lossy(line);
                    if !line.trim_ascii().is_empty() {
                        return Ok(Some(Frame::of_line(line)));
                    }
                }
                Some(Err(Gap::Lost(bytes))) => return Err(Error::Lost { bytes }),
                Some(Err(Gap::TooLong)) => return Err(Error::LineTooLong { limit: most }),
                None => return Ok(None),
            }
        }
    }

    /// Reads once, for [`take_read`](Self::take_read). Returns whether there was output.
    pub(crate) fn read_once(&mut self) -> Result<bool> {
        self.log.fill()
    }

    /// Whether the stream is over and its last byte was read.
    pub(crate) fn is_over(&self) -> bool {
        self.log.is_over()
    }

    /// The stream, at the place behind the last line read.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut reader = capsule_sdk::jsonl::Reader::new(server.stdout());
    /// reader.try_read()?;
    /// let cursor = reader.into_inner().cursor();
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        self.log
    }
}

impl Reader<Log> {
    /// The place behind the last line read, for a later instance.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let mut reader = capsule_sdk::jsonl::Reader::new(server.stdout());
    /// reader.try_read()?;
    /// let later = reader.cursor();
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    #[must_use]
    pub fn cursor(&self) -> crate::Cursor {
        self.log.cursor()
    }
}

/// Writes JSON lines to a [`Stdin`](crate::Stdin) or a [`ChildStdin`](crate::ChildStdin). Dropping it drops that.
///
/// A message of up to 1 MiB is one write. The host keeps it together, so that the messages of several instances do not
/// mix. A longer one takes several writes, between which another instance's may come; it is refused unless this is the
/// [`sole_writer`](Self::sole_writer).
///
/// A write waits while the process does not read its input, and the interface has no deadline for that. It ends when the
/// process reads, closes its input or ends. So read the process's output in between: one that waits for its reader under
/// [`Overflow::Backpressure`](crate::Overflow::Backpressure) does not read its input.
///
/// ```no_run
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// let mut writer = capsule_sdk::jsonl::Writer::new(server.stdin());
/// writer.write(&serde_json::json!({ "jsonrpc": "2.0", "method": "ping", "id": 1 }))?;
/// # Ok::<(), capsule_sdk::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    input: W,
    sole: bool,
}

impl<W: io::Write> Writer<W> {
    /// Writes to `input`, to which other instances may write as well.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let writer = capsule_sdk::jsonl::Writer::new(server.stdin());
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub const fn new(input: W) -> Self {
        Self { input, sole: false }
    }

    /// Whether nothing else writes to the process at the same time: it belongs to this instance, or this instance holds
    /// a lock that all writers take. Messages may then have more than 1 MiB.
    ///
    /// ```no_run
    /// let mut child = capsule_sdk::Command::new("server").keep_stdin_open(true).spawn()?;
    /// let writer = child.stdin.take().map(|stdin| capsule_sdk::jsonl::Writer::new(stdin).sole_writer(true));
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    #[must_use]
    pub const fn sole_writer(mut self, sole: bool) -> Self {
        self.sole = sole;
        self
    }

    /// Writes a message and its line end. Waits while the process does not read.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a message of more than 1 MiB that another instance's could split; nothing is written then.
    /// [`Error::InvalidInput`] for a value that has no JSON. The errors of the input.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// capsule_sdk::jsonl::Writer::new(server.stdin()).write(&serde_json::json!({ "done": true }))?;
    /// # Ok::<(), capsule_sdk::Error>(())
    /// ```
    pub fn write(&mut self, message: &impl Serialize) -> Result<()> {
        self.write_line(&line_of(message)?)
    }

    /// Writes what [`line_of`] made.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> Result<()> {
        if line.len() > MOST && !self.sole {
            return Err(Error::TooLarge);
        }
        Ok(self.input.write_all(line)?)
    }
}

/// A message with its line end.
pub(crate) fn line_of(message: &impl Serialize) -> Result<Vec<u8>> {
    // JSON has no line end but in its layout, which this has none of.
    let mut line = serde_json::to_vec(message).map_err(|_| Error::InvalidInput)?;
    line.push(b'\n');
    Ok(line)
}
