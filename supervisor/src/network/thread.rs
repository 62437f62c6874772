//! The thread that runs the tasks of a launcher's private networks.
//!
//! Trees decide how much work these tasks have, and a hostile one makes as much as its limits allow. On the embedder's own runtime
//! that would take the embedder's workers, one after the other. Here it takes one thread. A relay is also cheaper on one thread:
//! while a worker of a runtime with several copies, every segment that arrives wakes another one, which waits for events.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder as Thread;

use tokio::runtime::{Builder as Runtime, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A thread with a runtime, which starts when a network first needs it. It ends when the launcher and its networks are gone. What its
/// tasks still wait for is dropped then.
#[derive(Debug, Default)]
pub(crate) struct NetworkThread(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    runtime: Handle,
    /// Ends the thread. Nothing waits for that, because the last holder may be a task on it.
    _end: DropGuard,
}

impl NetworkThread {
    /// The runtime of the thread, which is started if it does not run yet; the caller's runtime if it cannot be started, because the
    /// process has too many open files or its user has too many epoll watches (contract S5). A later network tries again.
    ///
    /// # Errors
    /// It cannot be started, and the caller is in no runtime.
    pub(super) fn runtime(&self) -> io::Result<Handle> {
        let mut running = self.locked();
        if let Some(running) = &*running {
            return Ok(running.runtime.clone());
        }
        match Self::start() {
            Ok(started) => Ok(running.insert(started).runtime.clone()),
            Err(error) => {
                tracing::debug!(%error, "the tasks of a network run on the embedder's runtime");
                Handle::try_current().map_err(|_| error)
            }
        }
    }

    fn start() -> io::Result<Running> {
        let runtime = Runtime::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone();
        Thread::new()
            .name("capsule-network".into())
            .spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Running {
            runtime: handle,
            _end: end.drop_guard(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn network_tasks_of_a_launcher_run_on_one_thread_that_ends_with_it() {
        let launcher = NetworkThread::default();
        let name = |runtime: Handle| {
            let (tell, told) = mpsc::channel();
            runtime.spawn(async move { tell.send(std::thread::current().name().map(str::to_owned)) });
            told.recv_timeout(Duration::from_secs(20)).unwrap()
        };
        for _ in 0..2 {
            assert_eq!(name(launcher.runtime().unwrap()).as_deref(), Some("capsule-network"));
        }
        let (first, second) = (launcher.runtime().unwrap(), launcher.runtime().unwrap());
        assert_eq!(first.id(), second.id());
        // A task that waits for ever is dropped with the runtime, at the end of the thread.
        let (dropped, told) = mpsc::channel::<()>();
        first.spawn(async move {
            std::future::pending::<()>().await;
            drop(dropped);
        });
        // The last holder may be a task of the thread itself.
        second.spawn(async move { drop(launcher) });
        let ended = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
