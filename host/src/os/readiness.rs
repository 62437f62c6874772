//! Waiting for descriptors without a thread each.
#![expect(
    unsafe_code,
    reason = "tokio cannot know that a descriptor stays the same and open; here it is plain"
)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` with the runtime that this is called in, for reading or for writing.
///
/// # Errors
/// What epoll answers, above all that its watches are used up. `fd` is closed then.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives the same descriptor at every call and keeps it open until it is dropped, and nothing
    // takes it out of the `AsyncFd`, which deregisters it before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(watched?)
}
