//! Waits for descriptors without a thread for each.
#![expect(
    unsafe_code,
    reason = "tokio cannot know that a descriptor stays the same and open; here it is plain"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::poller::{self, Readiness};

/// A value that is the same open descriptor until it is dropped.
///
/// # Safety
/// `as_raw_fd` gives that descriptor at every call, and nothing closes it before.
pub(crate) unsafe trait Steady: AsRawFd {}

// SAFETY: an `OwnedFd` has one open descriptor and closes it only when dropped.
unsafe impl Steady for OwnedFd {}

/// A descriptor for which a task can wait.
#[derive(Debug)]
pub(crate) enum Watched<T: Steady> {
    ByEpoll(AsyncFd<T>),
    /// The poller waits, because epoll has no watch left for this user.
    ByPoll(T),
}

/// Proof that the descriptor was ready.
pub(crate) enum Ready<'a, T: Steady> {
    ByEpoll(AsyncFdReadyGuard<'a, T>),
    /// Checked anew each time.
    ByPoll,
}

/// Registers `io` with the runtime that this is called in, for reading or for writing. If a command that shares this user has taken
/// all watches, the poller waits for `io` instead.
///
/// # Errors
/// The error of epoll, or of the start of a thread. `io` is closed then.
pub(crate) fn watch<T: Steady>(io: T, interest: Interest) -> io::Result<Watched<T>> {
    // SAFETY: the descriptor stays the same and open, as the trait says, and nothing takes it out of the `AsyncFd`, which
    // deregisters it before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(io, interest) };
    let (io, error) = match watched {
        Ok(watched) => return Ok(Watched::ByEpoll(watched)),
        Err(error) => error.into_parts(),
    };
    if Errno::from_io_error(&error) != Some(Errno::NOSPC) {
        return Err(error);
    }
    poller::prepare()?;
    Ok(Watched::ByPoll(io))
}

impl<T: Steady> Watched<T> {
    pub(crate) fn get_ref(&self) -> &T {
        match self {
            Self::ByEpoll(io) => io.get_ref(),
            Self::ByPoll(io) => io,
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<Ready<'_, T>> {
        match self {
            Self::ByEpoll(io) => io.readable().await.map(Ready::ByEpoll),
            Self::ByPoll(io) => {
                Readiness::new(io, libc::POLLIN).await;
                Ok(Ready::ByPoll)
            }
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<Ready<'_, T>> {
        match self {
            Self::ByEpoll(io) => io.writable().await.map(Ready::ByEpoll),
            Self::ByPoll(io) => {
                Readiness::new(io, libc::POLLOUT).await;
                Ok(Ready::ByPoll)
            }
        }
    }
}

impl<T: Steady> Ready<'_, T> {
    /// Records that the descriptor was not ready any more.
    pub(crate) fn clear_ready(&mut self) {
        match self {
            Self::ByEpoll(ready) => ready.clear_ready(),
            Self::ByPoll => {}
        }
    }
}
