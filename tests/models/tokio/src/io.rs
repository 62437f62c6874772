//! Readiness of descriptors, as an edge-triggered epoll reports it and tokio remembers it.
//!
//! The descriptors are real pipes that never block, so they wait for nothing that the checker does not see. The code
//! that plays the other end reports each of its operations ([`event`]). An edge that was not reported does not come. An
//! edge that came while no task waited is kept until it is cleared, as tokio does it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Timespec, fstat};

pub mod unix {
    //! Watched descriptors.
    pub use super::{AsyncFd, AsyncFdReadyGuard};
}

/// The direction of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(PollFlags);

#[expect(missing_docs, reason = "tokio's own")]
impl Interest {
    pub const READABLE: Self = Self(PollFlags::IN);
    pub const WRITABLE: Self = Self(PollFlags::OUT);
}

/// A watched end of a pipe.
#[derive(Debug)]
pub struct AsyncFd<T>(Arc<Watched<T>>);

#[derive(Debug)]
struct Watched<T> {
    fd: T,
    interest: Interest,
    /// Never contended: all tasks are on one thread, and no code under this lock lets another task run.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ready: bool,
    /// Increases with every edge, so that a clear does not remove an edge that it has not seen.
    edges: u64,
    wakers: Vec<Waker>,
}

thread_local! {
    static WATCHED: RefCell<Vec<Weak<Watched<OwnedFd>>>> = RefCell::default();
}

impl AsyncFd<OwnedFd> {
    /// Watches `fd`.
    #[must_use]
    pub fn watch(fd: OwnedFd, interest: Interest) -> Self {
        let watched = Arc::new(Watched {
            fd,
            interest,
            seen: Mutex::default(),
        });
        WATCHED.with_borrow_mut(|all| all.push(Arc::downgrade(&watched)));
        // A descriptor that is ready when it is registered is reported.
        watched.look();
        Self(watched)
    }

    /// The descriptor.
    #[must_use]
    pub fn get_ref(&self) -> &OwnedFd {
        &self.0.fd
    }

    /// Completes when there are bytes to read.
    ///
    /// # Errors
    /// None.
    pub async fn readable(&self) -> std::io::Result<AsyncFdReadyGuard<'_>> {
        self.ready().await
    }

    /// Completes when there is room to write.
    ///
    /// # Errors
    /// None.
    pub async fn writable(&self) -> std::io::Result<AsyncFdReadyGuard<'_>> {
        self.ready().await
    }

    async fn ready(&self) -> std::io::Result<AsyncFdReadyGuard<'_>> {
        super::let_others_run();
        let edges = std::future::poll_fn(|context| {
            let mut seen = self.0.seen();
            if seen.ready {
                return std::task::Poll::Ready(seen.edges);
            }
            seen.wakers.push(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
        Ok(AsyncFdReadyGuard { fd: self, edges })
    }
}

impl Watched<OwnedFd> {
    /// Reports an edge if the descriptor is ready.
    fn look(&self) {
        let mut fds = [PollFd::new(&self.fd, self.interest.0)];
        let ready = poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
        if !ready {
            return;
        }
        let mut seen = self.seen();
        seen.ready = true;
        seen.edges += 1;
        let wakers = std::mem::take(&mut seen.wakers);
        drop(seen);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proof that it was ready at some moment.
#[derive(Debug)]
pub struct AsyncFdReadyGuard<'a> {
    fd: &'a AsyncFd<OwnedFd>,
    edges: u64,
}

impl AsyncFdReadyGuard<'_> {
    /// Waits for another edge than those already seen.
    pub fn clear_ready(&mut self) {
        super::let_others_run();
        let mut seen = self.fd.0.seen();
        if seen.edges == self.edges {
            seen.ready = false;
        }
    }
}

/// The identity of a pipe, which is the same for both ends.
///
/// # Panics
/// If it is not a descriptor.
#[must_use]
pub fn pipe_of(fd: BorrowedFd<'_>) -> u64 {
    fstat(fd).expect("a descriptor").st_ino
}

/// Reports an operation on the other end of this pipe. Other tasks may run between the operation and its report.
pub fn event(pipe: u64) {
    super::let_others_run();
    let watched: Vec<_> = WATCHED.with_borrow_mut(|all| {
        all.retain(|watched| watched.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    });
    for watched in watched {
        if pipe_of(watched.fd.as_fd()) == pipe {
            watched.look();
        }
    }
}

/// The beginning of an execution.
pub fn reset() {
    WATCHED.take();
}
