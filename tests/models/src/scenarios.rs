//! The scenarios that are run in every order. Each function is one run, and panics if a promise is broken.

pub mod life;
pub mod output;
pub mod stdin;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::io::{event, pipe_of};

use crate::os::pipe::set_nonblocking;

/// The state at the beginning of a run.
fn begin() {
    tokio::io::reset();
    tokio::time::reset();
}

/// A pipe of the smallest size that the kernel makes: a read end and a write end that do not block.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    for end in [&read, &write] {
        set_nonblocking(end.as_fd()).expect("a flag");
    }
    fcntl_setpipe_size(&write, 4096).expect("a page");
    (read, write)
}

/// The child's end of a pipe. The checker schedules its reads and writes.
#[derive(Debug)]
pub(crate) struct ChildEnd(Option<OwnedFd>);

impl ChildEnd {
    fn new(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }

    fn fd(&self) -> &OwnedFd {
        self.0.as_ref().expect("it was not closed")
    }

    /// Writes what fits, and returns the number of bytes.
    fn write(&self, bytes: &[u8]) -> usize {
        let written = match rustix::io::write(self.fd(), bytes) {
            Ok(written) => written,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => panic!("{error}"),
        };
        event(pipe_of(self.fd().as_fd()));
        written
    }

    /// Reads what is there. An empty result is the end of file.
    fn read(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; max];
        let read = rustix::io::read(self.fd(), &mut bytes)?;
        bytes.truncate(read);
        event(pipe_of(self.fd().as_fd()));
        Ok(bytes)
    }

    pub(crate) fn close(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        if let Some(fd) = self.0.take() {
            let pipe = pipe_of(fd.as_fd());
            drop(fd);
            event(pipe);
        }
    }
}

impl Drop for ChildEnd {
    fn drop(&mut self) {
        // Not in a teardown, where no task may be scheduled any more.
        if !std::thread::panicking() {
            self.shut();
        }
    }
}
