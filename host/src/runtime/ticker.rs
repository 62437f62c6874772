//! Advances the engine's epoch, at which running guests are looked at.
//!
//! A thread and not a task: on a runtime with one thread a spinning guest would keep the task that is to stop it from
//! running. It ticks only while calls are in flight, and ends with the runtime.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// How often: a guest gives way to other tasks, and is looked at for having used up its time, this often.
const TICK: Duration = Duration::from_millis(10);

/// The thread. Dropping it ends and joins it.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    calls: usize,
    end: bool,
}

/// Keeps the ticker ticking until dropped.
#[derive(Debug)]
pub(super) struct Ticking(Arc<Shared>);

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

    /// Ticks for one call.
    pub(super) fn for_call(&self) -> Ticking {
        self.shared.lock().calls += 1;
        self.shared.changed.notify_one();
        Ticking(Arc::clone(&self.shared))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &Engine) {
        let mut wanted = self.lock();
        while !wanted.end {
            if wanted.calls == 0 {
                wanted = self.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout_while(wanted, TICK, |wanted| !wanted.end);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
            engine.increment_epoch();
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.changed.notify_one();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            drop(panic);
        }
    }
}
