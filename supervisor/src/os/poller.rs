//! Waits with `poll` when the user has no epoll watch left (contract S5).
//!
//! The kernel counts epoll watches for a user, and a command that shares the host's user can take all of them. `poll` is not
//! counted for a user. Its cost grows with the number of descriptors, so the host uses it only as a fallback: when epoll refuses a
//! watch for the first time, one thread starts that waits for all descriptors which epoll refused.
#![expect(
    unsafe_code,
    reason = "a number is waited for that may be another descriptor's by then"
)]

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::pipe::set_nonblocking;

/// One poller for the whole program.
static POLLER: Mutex<Poller> = Mutex::new(Poller {
    wakes: None,
    waits: Vec::new(),
    next: 0,
});

struct Poller {
    /// The pipe that wakes the thread, once the thread exists.
    wakes: Option<PipeWriter>,
    waits: Vec<Wait>,
    next: u64,
}

struct Wait {
    id: u64,
    fd: RawFd,
    events: i16,
    waker: Waker,
}

fn lock() -> MutexGuard<'static, Poller> {
    POLLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread unless it runs.
pub(super) fn prepare() -> io::Result<()> {
    let mut poller = lock();
    if poller.wakes.is_none() {
        let (woken, wakes) = io::pipe()?;
        set_nonblocking(woken.as_fd())?;
        set_nonblocking(wakes.as_fd())?;
        std::thread::Builder::new()
            .name("capsule-poll".into())
            .spawn(move || run(woken))?;
        poller.wakes = Some(wakes);
    }
    Ok(())
}

impl Poller {
    fn wake(&self) {
        if let Some(mut wakes) = self.wakes.as_ref() {
            // A full pipe already contains a wake-up.
            drop(wakes.write(&[0]));
        }
    }
}

fn run(mut woken: PipeReader) {
    loop {
        let mut fds = vec![asked(woken.as_raw_fd(), libc::POLLIN)];
        let ids: Vec<_> = {
            let poller = lock();
            fds.extend(poller.waits.iter().map(|wait| asked(wait.fd, wait.events)));
            poller.waits.iter().map(|wait| wait.id).collect()
        };
        if poll(&mut fds, -1) < 0 {
            // Interrupted, or out of memory for a moment.
            std::thread::yield_now();
            continue;
        }
        // Each byte only means that the list has changed, and the list is read anew.
        while woken.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        let ready = ids.iter().zip(fds.iter().skip(1)).filter(|(_, fd)| fd.revents != 0);
        let ready: Vec<_> = ready.map(|(id, _)| *id).collect();
        let ended: Vec<_> = lock().waits.extract_if(.., |wait| ready.contains(&wait.id)).collect();
        // Outside of the lock: a waiter that is woken may call this again at once.
        for wait in ended {
            wait.waker.wake();
        }
    }
}

const fn asked(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// A number that is not an open descriptor is ready, with an error.
fn poll(fds: &mut [libc::pollfd], milliseconds: i32) -> i32 {
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or_default();
    // SAFETY: the slice has `count` entries, which can be read and written. The values of the descriptors do not matter to memory
    // safety.
    unsafe { libc::poll(fds.as_mut_ptr(), count, milliseconds) }
}

/// Completes when `io` can be read or written, as the `poll` flags in `events` say, or has ended. It keeps the
/// descriptor open.
pub(super) struct Readiness<'a, T> {
    io: &'a T,
    events: i16,
    id: Option<u64>,
}

impl<'a, T: AsRawFd> Readiness<'a, T> {
    pub(super) const fn new(io: &'a T, events: i16) -> Self {
        Self { io, events, id: None }
    }
}

impl<T> Readiness<'_, T> {
    /// If the thread did not know of it, the kernel would keep the descriptor open as long as the thread polls it.
    fn forget(&mut self) {
        if let Some(id) = self.id.take() {
            let mut poller = lock();
            poller.waits.retain(|wait| wait.id != id);
            poller.wake();
        }
    }
}

impl<T: AsRawFd> Future for Readiness<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let fd = this.io.as_raw_fd();
        if poll(&mut [asked(fd, this.events)], 0) > 0 {
            this.forget();
            return Poll::Ready(());
        }
        let mut poller = lock();
        let id = this.id.unwrap_or(poller.next);
        if this.id.is_none() {
            poller.next = poller.next.wrapping_add(1);
            this.id = Some(id);
        }
        let waker = context.waker().clone();
        match poller.waits.iter_mut().find(|wait| wait.id == id) {
            Some(wait) => wait.waker = waker,
            None => {
                let events = this.events;
                poller.waits.push(Wait { id, fd, events, waker });
                poller.wake();
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Readiness<'_, T> {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn soon<T>(wait: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("in time")
    }

    #[tokio::test]
    async fn s5_what_is_waited_for_by_poll_comes_and_ends() {
        prepare().expect("a thread");
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        set_nonblocking(reader.as_fd()).expect("it does not block");
        for _ in 0..3 {
            // A wait that is dropped leaves no entry behind.
            let mut given_up = Box::pin(Readiness::new(&reader, libc::POLLIN));
            let none = std::future::poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context))).await;
            assert!(none.is_pending());
            drop(given_up);
            {
                let ready = Readiness::new(&reader, libc::POLLIN);
                let written = async { writer.write_all(b"x").expect("there is room") };
                soon(async { tokio::join!(ready, written) }).await;
            }
            assert_eq!(reader.read(&mut [0; 8]).expect("a byte"), 1);
        }
        let ready = Readiness::new(&reader, libc::POLLIN);
        soon(async { tokio::join!(ready, async { drop(writer) }) }).await;
        assert!(lock().waits.is_empty());
    }
}
