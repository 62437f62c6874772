//! Advances the engine's epoch, at which running guests are checked.
//!
//! The ticker is a thread and not a task: on a runtime with one thread, a spinning guest would keep a task from running that has
//! to stop it. It ticks only while guest code runs, so that waiting guests cost nothing, and ends with the runtime.
//!
//! Guest code stops and starts with every host call, so the notice of this must be cheap: it changes a number, and takes the lock
//! only if the thread sleeps. The thread announces its sleep before it reads the number for the last time, and a guest reads
//! the announcement after it has changed the number. So one of the two always sees the other.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// The interval at which a guest yields to other tasks, and at which its computing time is checked.
const TICK: Duration = Duration::from_millis(10);

/// The handle of the thread. Dropping it ends and joins the thread.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The number of instances that run guest code.
    running: AtomicUsize,
    /// Whether the thread sleeps or is about to sleep.
    asleep: AtomicBool,
    end: Mutex<bool>,
    changed: Condvar,
}

/// Keeps the ticker running while one instance runs guest code. Dropping it removes the instance from the count.
#[derive(Debug)]
pub(super) struct Ticking {
    shared: Arc<Shared>,
    running: bool,
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("capsule-epoch".into())
            .spawn(move || seen.tick(&engine))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// A counter for an instance that does not run yet.
    pub(super) fn for_instance(&self) -> Ticking {
        Ticking {
            shared: Arc::clone(&self.shared),
            running: false,
        }
    }
}

impl Ticking {
    /// Records that guest code begins or continues. A second call changes nothing.
    pub(super) fn run(&mut self) {
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        let shared = &*self.shared;
        shared.running.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) {
            drop(shared.lock());
            shared.changed.notify_one();
        }
    }

    /// Records that the host has control. A second call changes nothing.
    pub(super) fn pause(&mut self) {
        if std::mem::replace(&mut self.running, false) {
            self.shared.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &Engine) {
        let mut end = self.lock();
        let mut idle = true;
        while !*end {
            if idle {
                self.asleep.store(true, Ordering::SeqCst);
                if self.running.load(Ordering::SeqCst) == 0 {
                    end = self.changed.wait(end).unwrap_or_else(PoisonError::into_inner);
                }
                self.asleep.store(false, Ordering::SeqCst);
            }
            let waited = self.changed.wait_timeout_while(end, TICK, |end| !*end);
            end = waited.unwrap_or_else(PoisonError::into_inner).0;
            // Read before the tick, so that a guest that yields because of the tick does not count as waiting.
            idle = self.running.load(Ordering::SeqCst) == 0;
            engine.increment_epoch();
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.lock() = true;
        self.shared.changed.notify_one();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            drop(panic);
        }
    }
}
