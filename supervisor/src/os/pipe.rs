//! The host's ends of a child's standard streams.
//!
//! Only the host's end is non-blocking. The flag belongs to the open file description, and each end of a pipe has its own, so the
//! child keeps the blocking end that every program expects.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, Timespec, fcntl_getfl, fcntl_setfl};

/// The state of a pipe that the host has no room to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// At least one byte waits.
    Bytes,
    /// The pipe is empty, and a process still holds the other end.
    Nothing,
    /// The pipe is empty, and no process holds the other end.
    EndOfFile,
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// The number of bytes that wait in the pipe.
pub(crate) fn bytes_waiting(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::try_from(rustix::io::ioctl_fionread(fd)?).unwrap_or(usize::MAX))
}

/// Sets the capacity of the pipe to `size` bytes.
pub(crate) fn enlarge(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    rustix::pipe::fcntl_setpipe_size(fd, size)?;
    Ok(())
}

/// Distinguishes end of file from an empty pipe without reading.
pub(crate) fn peek(fd: BorrowedFd<'_>) -> io::Result<Waiting> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    retry(|| poll(&mut fds, Some(&Timespec::default())))?;
    let [polled] = &fds;
    let revents = polled.revents();
    Ok(if revents.contains(PollFlags::IN) {
        Waiting::Bytes
    } else if revents.intersects(PollFlags::HUP | PollFlags::ERR) {
        Waiting::EndOfFile
    } else {
        Waiting::Nothing
    })
}

/// Reads into two slices in turn, which are the free space of a ring that wraps round.
pub(crate) fn read_vectored(fd: BorrowedFd<'_>, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
    if second.is_empty() {
        // With one slice, `read` is faster.
        return Ok(retry(|| rustix::io::read(fd, &mut *first))?);
    }
    let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
    Ok(retry(|| rustix::io::readv(fd, &mut slices))?)
}

pub(crate) fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry(|| rustix::io::write(fd.as_fd(), bytes))?)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}
