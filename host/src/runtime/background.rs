//! A capsule's `run`: called once, in an instance of its own, and not called again when it ends.
//!
//! It may wait in host calls for any time. It has as much computing time as a call, and regains a quarter of the time that it
//! waits. So it can use a fifth of a processor for ever, with bursts of a whole call's time. If it uses more, it is ended, as a
//! call is.
//!
//! A `run` that fails is not called again: a fault that always occurs would only occur more often. The embedder is told, and may
//! reload the capsule.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::call;
use super::code::Code;
use super::error::{CallError, LoadError};
use super::loaded::{Loaded, UNLOAD_GRACE};
use super::store::{CallContext, store};
use capsule_supervisor::Principal;

/// The divisor of the waiting time that a guest regains as computing time.
const REGAIN: u32 = 4;

/// The state of a capsule's `run`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Background {
    /// The options name no principal for `run`.
    NotDeclared,
    /// `run` was called, and has not called `signal-ready`.
    Starting,
    /// `run` was called, and has called `signal-ready`.
    Ready,
    /// `run` has returned, or the capsule has no `run`.
    Returned,
    /// `run` has failed, and is not called again.
    Failed(CallError),
    /// The capsule was unloaded or dropped.
    Ended,
}

/// The `run` of a capsule, across reloads. A running `run` holds a reference to this, so dropping such a reference ends
/// nothing.
pub(super) struct Daemon {
    loaded: Arc<Loaded>,
    status: watch::Sender<Background>,
    /// Held while the task is replaced, so that there are never two tasks.
    task: Mutex<Option<DaemonTask>>,
}

/// A `run` that was started. Dropping this ends it at once.
#[derive(Debug)]
struct DaemonTask {
    end: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Daemon {
    /// Starts `run`, if the options ask for it.
    pub(super) fn start(loaded: &Arc<Loaded>) -> Arc<Self> {
        let daemon = Arc::new(Self {
            loaded: Arc::clone(loaded),
            status: watch::Sender::new(Background::NotDeclared),
            task: Mutex::new(None),
        });
        if let (Some(principal), Ok(mut task)) = (loaded.options.background.clone(), daemon.task.try_lock()) {
            *task = Some(DaemonTask::start(&daemon, principal));
        }
        daemon
    }

    pub(super) fn status(&self) -> watch::Receiver<Background> {
        self.status.subscribe()
    }

    /// Replaces the capsule's code, then its `run`. The future must be polled to its end; if it is dropped, the capsule
    /// may have no `run`.
    pub(super) async fn reload(self: Arc<Self>, code: Code) -> Result<(), LoadError> {
        let mut task = self.task.lock().await;
        if self.loaded.services.is_cancelled() {
            return Err(LoadError::Unloaded);
        }
        self.loaded.replace_code(code);
        let Some(principal) = self.loaded.options.background.clone() else {
            return Ok(());
        };
        if let Some(old) = task.take() {
            old.end().await;
        }
        if !self.loaded.services.is_cancelled() {
            *task = Some(DaemonTask::start(&self, principal));
        }
        Ok(())
    }

    /// Waits for a reload in progress, which may be about to start a `run`.
    pub(super) async fn reloaded(&self) {
        drop(self.task.lock().await);
    }
}

impl DaemonTask {
    fn start(daemon: &Arc<Daemon>, principal: Principal) -> Self {
        let loaded = &daemon.loaded;
        let end = loaded.services.child_token();
        // Set before the task runs, so that a query right after the load sees this task.
        daemon.status.send_replace(Background::Starting);
        let outcome = Outcome {
            status: daemon.status.clone(),
            settled: false,
        };
        let task = run(Arc::clone(daemon), loaded.code(), principal, end.clone(), outcome);
        let task = AbortOnDropHandle::new(loaded.tasks.spawn(task));
        Self { end, task }
    }

    /// Asks `run` to end, ends it if it still runs a little later, and waits for its end.
    async fn end(self) {
        self.end.cancel();
        // The task itself publishes its result.
        drop(self.task.await);
    }
}

/// Reports the end of `run`, however it ends.
struct Outcome {
    status: watch::Sender<Background>,
    settled: bool,
}

impl Outcome {
    fn settle(&mut self, outcome: Background) {
        self.settled = true;
        self.status.send_replace(outcome);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.settled {
            let fault = CallError::Host("it was ended by a bug in the host".into());
            self.status.send_replace(Background::Failed(fault));
        }
    }
}

async fn run(daemon: Arc<Daemon>, code: Arc<Code>, principal: Principal, end: CancellationToken, mut outcome: Outcome) {
    let loaded = &*daemon.loaded;
    let runtime = &*loaded.runtime.0;
    let status = daemon.status.clone();
    let context = CallContext {
        principal,
        source: None,
        depth: 0,
        unload: end.clone(),
        on_ready: Some(Box::new(move || drop(status.send_replace(Background::Ready)))),
        regain: Some(REGAIN),
    };
    let store = store(runtime, &loaded.options, context);
    let interrupt = async {
        end.cancelled().await;
        tokio::time::sleep(UNLOAD_GRACE).await;
    };
    let result = tokio::select! {
        biased;
        () = interrupt => Err(CallError::Cancelled),
        result = call::run_in_background(store, &code) => result,
    };
    if end.is_cancelled() {
        return outcome.settle(Background::Ended);
    }
    outcome.settle(match result {
        Ok(()) => Background::Returned,
        Err(error) => {
            tracing::error!(capsule = loaded.options.capsule_id, %error, "the background function `run` has failed");
            Background::Failed(error)
        }
    });
}
