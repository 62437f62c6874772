//! The pipes by which fast streams are relayed, without a copy.
//!
//! The kernel bounds the pages in all pipes of a user, those of its commands among them (`/proc/sys/fs/pipe-user-pages-soft`):
//! beyond the bound a new pipe has two pages. So there are few pipes, which are used again. A direction that gets none copies.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::network::descriptors;
use crate::os::splice::SplicePipe;

/// The size of a pipe. An ordinary user cannot have a larger one.
const SIZE: usize = 1024 * 1024;
/// The most pipes of this process. Their pages are a quarter of those that the kernel allows an ordinary user.
const MOST: usize = 16;
/// The pipes that stay while none is in use. A fast stream takes and returns one for each burst, so it should find one.
const KEPT: usize = 4;
/// After a pipe could not be made, none is made for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Pipes that are used again.
#[derive(Debug)]
pub(super) struct Pipes {
    size: usize,
    /// A permit for the two descriptors of a pipe.
    pair: fn() -> Option<OwnedSemaphorePermit>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Empty ones.
    free: Vec<Pipe>,
    /// Those in use and the free ones.
    open: usize,
    /// When a pipe could not be made.
    failed: Option<Instant>,
}

/// An open pipe. The permit is returned after its descriptors are closed.
#[derive(Debug)]
struct Pipe {
    pipe: SplicePipe,
    _pair: OwnedSemaphorePermit,
}

/// A pipe in use. Dropping it returns it, or closes it if bytes are left in it, which must not reach another connection.
#[derive(Debug)]
pub(super) struct UsedPipe {
    pipe: Option<Pipe>,
    pipes: Arc<Pipes>,
}

impl Pipes {
    pub(super) fn new(size: usize, pair: fn() -> Option<OwnedSemaphorePermit>) -> Self {
        Self {
            size,
            pair,
            state: Mutex::default(),
        }
    }

    /// Those of this process.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Pipes>> = LazyLock::new(|| Arc::new(Pipes::new(SIZE, descriptors::pair)));
        Arc::clone(&SHARED)
    }

    /// An empty pipe, if there is one, or one may and can be made.
    pub(super) fn get(self: &Arc<Self>) -> Option<UsedPipe> {
        let mut state = self.state();
        let pipe = match state.free.pop() {
            Some(pipe) => pipe,
            None => self.make(&mut state)?,
        };
        drop(state);
        Some(UsedPipe {
            pipe: Some(pipe),
            pipes: Arc::clone(self),
        })
    }

    fn make(&self, state: &mut State) -> Option<Pipe> {
        if state.open == MOST || state.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return None;
        }
        let pair = (self.pair)()?;
        match SplicePipe::new(self.size) {
            Ok(pipe) => {
                state.open += 1;
                Some(Pipe { pipe, _pair: pair })
            }
            Err(error) => {
                tracing::debug!(%error, "no pipe for a relay, which copies instead");
                state.failed = Some(Instant::now());
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsedPipe {
    /// The bytes in it.
    pub(super) fn len(&self) -> usize {
        self.pipe.as_ref().map_or(0, |Pipe { pipe, .. }| pipe.len())
    }

    /// As [`SplicePipe::fill`].
    pub(super) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        self.open()?.fill(from, most)
    }

    /// As [`SplicePipe::drain`].
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        self.open()?.drain(to)
    }

    fn open(&mut self) -> io::Result<&mut SplicePipe> {
        let pipe = self.pipe.as_mut().map(|Pipe { pipe, .. }| pipe);
        pipe.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for UsedPipe {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut state = self.pipes.state();
        if pipe.pipe.len() == 0 && state.free.len() < KEPT {
            state.free.push(pipe);
        } else {
            state.open -= 1;
            drop(state);
            drop(pipe);
        }
    }
}

#[cfg(test)]
impl Pipes {
    /// How many are open, and how many of them are not in use.
    pub(super) fn open(&self) -> (usize, usize) {
        let state = self.state();
        (state.open, state.free.len())
    }

    pub(super) fn close_free(&self) {
        let mut state = self.state();
        state.open -= state.free.len();
        state.free.clear();
    }
}
