//! Writing to a process.

use crate::{
    Error, ProcessId, Result,
    wit::process::{self, ProcessHandle},
};
use std::{fmt, io, rc::Weak};

/// What the interface takes in one call.
pub(crate) const MOST: usize = 1024 * 1024;

/// The standard input of a persistent process. Dropping it leaves the input open, for this or a
/// later instance; [`close`](Self::close) ends it.
///
/// As [`io::Write`] it takes up to 1 MiB at a time. The bytes of one `write` stay together; between
/// two of them another writer's may come.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Write;
///
/// let shell = capsule_sdk::Command::new("sh").keep_stdin_open(true).spawn_persistent()?;
/// writeln!(shell.stdin(), "echo hello")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Stdin {
    id: ProcessId,
}

impl Stdin {
    pub(crate) const fn new(id: ProcessId) -> Self {
        Self { id }
    }

    /// Ends the input once everything accepted before has been read. May be repeated.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if the process is gone.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let sort = capsule_sdk::Command::new("sort").keep_stdin_open(true).spawn_persistent()?;
    /// sort.write(b"b\na\n")?;
    /// sort.stdin().close()?;
    /// # Ok(()) }
    /// ```
    pub fn close(&self) -> Result<()> {
        Ok(process::close_stdin(self.id.expose())?)
    }
}

/// Waits while the process does not read.
impl io::Write for Stdin {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let data = data.get(..MOST).unwrap_or(data);
        process::write_stdin(self.id.expose(), data).map_err(Error::from)?;
        // The host takes all of it or fails, so its count is not needed.
        Ok(data.len())
    }

    /// Does nothing, because no bytes are buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The standard input of a [`Child`](crate::Child). Dropping it ends the input once everything
/// written before has been read, as in `std`.
///
/// As [`io::Write`] it takes up to 1 MiB at a time, and waits while the child does not read. Once
/// the child has exited, closed its end or been dropped, writing is [`Error::Closed`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Write;
///
/// let mut sort = capsule_sdk::Command::new("sort").keep_stdin_open(true).spawn()?;
/// let mut stdin = sort.stdin.take().expect("it was kept open");
/// writeln!(stdin, "b\na")?;
/// drop(stdin);
/// println!("{}", sort.wait_with_output()?.stdout_lossy());
/// # Ok(()) }
/// ```
pub struct ChildStdin {
    /// Weak: a child that was dropped must end, even if a handle could still write to it.
    handle: Weak<ProcessHandle>,
}

impl ChildStdin {
    pub(crate) const fn new(handle: Weak<ProcessHandle>) -> Self {
        Self { handle }
    }
}

impl io::Write for ChildStdin {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let data = data.get(..MOST).unwrap_or(data);
        let handle = self.handle.upgrade().ok_or(Error::Closed)?;
        handle.write_stdin(data).map_err(Error::from)?;
        Ok(data.len())
    }

    /// Does nothing, because no bytes are buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ChildStdin {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.upgrade() {
            // It can fail only because the capsule is being unloaded, which ends the child.
            drop(handle.close_stdin());
        }
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStdin").finish_non_exhaustive()
    }
}
