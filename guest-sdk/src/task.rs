//! Running `async` code on one thread, over the host's `poll`.
//!
//! A future that waits leaves its source here, with its waker; [`block_on`] waits for the first
//! source that is ready and wakes its future. So each future in a `join`, a `select` or a set of tasks
//! costs one entry, and one wait serves all of them.

use crate::{Error, Pollable, Result, Timer, pollable::first_of};
use std::{
    cell::RefCell,
    fmt,
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

thread_local! {
    static REACTOR: RefCell<Reactor> = const { RefCell::new(Reactor { next_key: 0, entries: Vec::new() }) };
}

struct Reactor {
    next_key: u64,
    entries: Vec<Entry>,
}

struct Entry {
    key: u64,
    what: Awaited,
    waker: Waker,
}

#[derive(Clone)]
enum Awaited {
    Pollable(Pollable),
    Timer(Timer),
}

impl Awaited {
    fn is_ready(&self) -> bool {
        match self {
            Self::Pollable(pollable) => pollable.is_ready(),
            Self::Timer(timer) => timer.is_over(),
        }
    }
}

fn reactor<R>(use_it: impl FnOnce(&mut Reactor) -> R) -> R {
    REACTOR.with_borrow_mut(use_it)
}

/// Runs a future to its end. While all that it waits for is a [`Pollable`], the capsule waits at
/// the host and is woken once; a [`Timer`] beside pollables costs what it costs in
/// [`select`](crate::select).
///
/// There is one thread and no reactor but this one: a future that waits for another library's
/// timer or socket is never woken.
///
/// # Errors
/// [`Error::Cancelled`] when the capsule is being unloaded, [`Error::TooLarge`] when the future
/// waits for more than 256 pollables at once, and [`Error::Unknown`] when it waits for nothing
/// that could ever wake it. It is then dropped.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use capsule_sdk::{Command, Timer, block_on};
/// use std::time::Duration;
///
/// let mut child = Command::new("make").spawn()?;
/// let status = block_on(async {
///     Timer::after(Duration::from_millis(100)).await;
///     child.exit_ready().await;
///     child.wait()
/// })??;
/// # Ok(()) }
/// ```
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
        }
        wait_for_any()?;
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for the first of all entries, takes out those that are ready and wakes their futures.
fn wait_for_any() -> Result<()> {
    let entries: Vec<_> = reactor(|reactor| reactor.entries.iter().map(|e| (e.key, e.what.clone())).collect());
    if entries.is_empty() {
        return Err(Error::Unknown(
            "stuck: the future waits for nothing that could wake it".to_owned(),
        ));
    }
    let (mut pollables, mut timers) = (Vec::new(), Vec::new());
    for (key, what) in &entries {
        match what {
            Awaited::Pollable(pollable) => pollables.push((*key, pollable)),
            Awaited::Timer(timer) => timers.push((*key, *timer)),
        }
    }
    let ready = first_of(&pollables, &timers)?;
    let is_ready = |entry: &mut Entry| ready.binary_search(&entry.key).is_ok();
    let done: Vec<_> = reactor(|reactor| reactor.entries.extract_if(.., is_ready).collect());
    // Outside of the reactor: a woken future may use it.
    for entry in done {
        entry.waker.wake();
    }
    Ok(())
}

/// The future of a [`Pollable`] or a [`Timer`]. Dropping it stops waiting.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # use std::{future::IntoFuture, time::Duration};
/// let pause = capsule_sdk::Timer::after(Duration::from_secs(1)).into_future();
/// capsule_sdk::block_on(pause)?;
/// # Ok(()) }
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ready {
    what: Awaited,
    /// Its entry, while it waits.
    key: Option<u64>,
}

impl Ready {
    const fn new(what: Awaited) -> Self {
        Self { what, key: None }
    }

    fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            // Dropped outside of the reactor: a waker's drop may use it.
            let entry = reactor(|reactor| {
                let at = reactor.entries.iter().position(|entry| entry.key == key)?;
                Some(reactor.entries.swap_remove(at))
            });
            drop(entry);
        }
    }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.leave();
        if self.what.is_ready() {
            return Poll::Ready(());
        }
        let (what, waker) = (self.what.clone(), context.waker().clone());
        let key = reactor(|reactor| {
            let key = reactor.next_key;
            reactor.next_key += 1;
            reactor.entries.push(Entry { key, what, waker });
            key
        });
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits under [`block_on`]; a task that waits elsewhere is never woken.
impl IntoFuture for Pollable {
    type Output = ();
    type IntoFuture = Ready;

    fn into_future(self) -> Ready {
        Ready::new(Awaited::Pollable(self))
    }
}

/// Waits under [`block_on`], and can be waited for again.
impl IntoFuture for &Pollable {
    type Output = ();
    type IntoFuture = Ready;

    fn into_future(self) -> Ready {
        Ready::new(Awaited::Pollable(self.clone()))
    }
}

/// Waits under [`block_on`].
impl IntoFuture for Timer {
    type Output = ();
    type IntoFuture = Ready;

    fn into_future(self) -> Ready {
        Ready::new(Awaited::Timer(self))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}
