//! Waiting for descriptors without a thread each.
#![expect(
    unsafe_code,
    reason = "tokio cannot know that a descriptor stays the same and open; here it is plain"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is one and the same open descriptor until it is dropped.
///
/// # Safety
/// `as_raw_fd` gives that descriptor at every call, and nothing closes it before.
pub(crate) unsafe trait Steady: AsRawFd {}

// SAFETY: that is what an `OwnedFd` is.
unsafe impl Steady for OwnedFd {}

/// Registers `io` with the runtime that this is called in, for reading or for writing.
///
/// # Errors
/// What epoll answers, above all that its watches are used up. `io` is closed then.
pub(crate) fn watch<T: Steady>(io: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor stays the same and open, as the trait says, and nothing takes it out of the `AsyncFd`, which
    // deregisters it before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(io, interest) };
    Ok(watched?)
}
