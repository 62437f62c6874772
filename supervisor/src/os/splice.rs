//! Moves bytes from a socket to a socket by a pipe, without a copy.
//!
//! A splice to a socket whose connection has ended raises SIGPIPE, and unlike a send it has no flag against that. A Rust program
//! ignores the signal, but an embedder may be another program, or may have set it back. So the signal is blocked while a socket
//! takes bytes, and taken from the thread before it is unblocked.
#![expect(unsafe_code, reason = "masks of signals, for which rustix has no call")]

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// An empty pipe, or one with bytes that a socket has yet to take.
#[derive(Debug)]
pub(crate) struct SplicePipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

impl SplicePipe {
    /// Makes a pipe that holds `size` bytes.
    ///
    /// # Errors
    /// The process or the system has too many open files, or the user has too many pages in pipes.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&writer, size)?;
        Ok(Self {
            reader,
            writer,
            bytes: 0,
        })
    }

    /// The bytes in it.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    /// Takes what waits in a TCP socket, at most `most` bytes. The pipe must be empty: a full one and an empty socket give the
    /// same error.
    ///
    /// Nothing is taken at the end of the stream, at an urgent byte, and where nothing waits. A `recv` tells these apart.
    pub(crate) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        let taken = retry_on_intr(|| splice(&from, None, &self.writer, None, most, SpliceFlags::NONBLOCK))?;
        self.bytes += taken;
        Ok(taken)
    }

    /// Hands bytes to a socket, as far as it takes them without waiting if it is non-blocking.
    pub(crate) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let blocked = SigpipeBlocked::new();
        let given = retry_on_intr(|| splice(&self.reader, None, &to, None, self.bytes, SpliceFlags::NONBLOCK));
        if given == Err(Errno::PIPE) {
            blocked.take();
        }
        drop(blocked);
        let given = given?;
        self.bytes -= given;
        Ok(given)
    }
}

/// Blocks SIGPIPE for this thread until it is dropped.
struct SigpipeBlocked {
    before: libc::sigset_t,
    /// The thread had one already, and keeps it.
    had_one: bool,
    /// The mask belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl SigpipeBlocked {
    fn new() -> Self {
        let sigpipe = sigpipe();
        let mut before = empty();
        // SAFETY: both are sets of signals, of which the second is written. The call cannot fail: its first argument is valid.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, &raw mut before) };
        // A thread that did not block it cannot have one.
        let had_one = contains(&before) && contains(&pending());
        Self {
            before,
            had_one,
            _not_send: PhantomData,
        }
    }

    /// Takes the signal that a splice has raised.
    fn take(&self) {
        if self.had_one {
            return;
        }
        let sigpipe = sigpipe();
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a set of signals and a time, which are only read; nothing is to be written about the signal.
        unsafe { libc::sigtimedwait(&raw const sigpipe, ptr::null_mut(), &raw const now) };
    }
}

impl Drop for SigpipeBlocked {
    fn drop(&mut self) {
        // SAFETY: a set of signals, which is only read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

fn sigpipe() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: an initialised set, and a signal that exists.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

fn pending() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: a set that may be written.
    unsafe { libc::sigpending(&raw mut set) };
    set
}

fn contains(set: &libc::sigset_t) -> bool {
    // SAFETY: an initialised set, and a signal that exists.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::process::Command;

    use super::*;

    /// Two connections of which the second one's peer has reset it.
    fn broken() -> (TcpStream, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, peer)
        };
        let ((from, sender), (to, _)) = (connect(), connect());
        // As after a reset: nothing more can be sent.
        to.shutdown(Shutdown::Both).unwrap();
        (from, sender, to)
    }

    #[test]
    fn network_a_splice_to_a_broken_connection_does_not_end_the_process() {
        const NAME: &str = "os::splice::tests::network_a_splice_to_a_broken_connection_does_not_end_the_process";
        const MASK: &str = "CAPSULE_TEST_SIGPIPE";
        let (mut pipe, (from, mut sender, to)) = (SplicePipe::new(1 << 16).unwrap(), broken());
        match std::env::var(MASK).as_deref() {
            Err(_) => {
                for mask in ["open", "blocked", "pending"] {
                    #[expect(clippy::disallowed_methods, reason = "the disposition of a signal is the process's")]
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    let ended = command.args(["--exact", NAME]).env(MASK, mask).output().unwrap();
                    assert!(ended.status.success(), "{mask}: {ended:?}");
                }
            }
            Ok(mask) => {
                let sigpipe = sigpipe();
                // SAFETY: this process has no handler to lose, and the set is initialised.
                unsafe {
                    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                    if mask != "open" {
                        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, ptr::null_mut());
                    }
                    if mask == "pending" {
                        libc::raise(libc::SIGPIPE);
                    }
                }
                sender.write_all(b"bytes").unwrap();
                assert_eq!(pipe.fill(&from, 5).unwrap(), 5);
                for _ in 0..3 {
                    assert_eq!(pipe.drain(&to).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
                    // Only one of before the call is left.
                    assert_eq!(contains(&pending()), mask == "pending");
                }
                let mut now = empty();
                // SAFETY: a set that may be written.
                unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut now) };
                assert_eq!(contains(&now), mask != "open");
                assert_eq!(pipe.len(), 5);
            }
        }
    }
}
