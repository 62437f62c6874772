//! A capsule's `run`: started once, in an instance of its own, and not again when it ends.
//!
//! It may wait in host calls for as long as it likes. Of computing it has as much as a call has, and gets back a quarter of
//! the time that it waits: so a fifth of a processor for ever, and bursts of a whole call's time in between. One that takes
//! more is ended, as a call is.
//!
//! One that fails is not started again: a fault that comes every time would only come faster. The embedder is told, and
//! may reload.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::call;
use super::capsule::{Loaded, NOTICE};
use super::error::CallError;
use super::load::Code;
use super::state::{Cause, State};
use crate::supervisor::Principal;

/// Of how much waiting a guest regains as much computing time.
const REGAIN: u32 = 4;

/// How a capsule's `run` fares.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Background {
    /// The capsule was loaded without one.
    NotDeclared,
    /// It runs, and has not said that it is ready.
    Starting,
    /// It runs, and has said that it is ready.
    Ready,
    /// It returned: there is nothing more to do, or never was.
    Returned,
    /// It failed, and is not started again.
    Failed(CallError),
    /// The capsule was unloaded or dropped.
    Ended,
}

/// A running `run`. Dropping it ends that at once.
#[derive(Debug)]
pub(super) struct Daemon {
    end: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Daemon {
    pub(super) fn start(loaded: &Arc<Loaded>, code: Arc<Code>, principal: Principal) -> Self {
        let end = loaded.services.child_token();
        // Before the task runs: who asks right after the load is told of this one.
        loaded.background.send_replace(Background::Starting);
        let outcome = Outcome {
            background: loaded.background.clone(),
            settled: false,
        };
        let task = run(Arc::clone(loaded), code, principal, end.clone(), outcome);
        let task = AbortOnDropHandle::new(loaded.tasks.spawn(task));
        Self { end, task }
    }

    /// Tells it to end, ends it if it has not a little later, and waits for that.
    pub(super) async fn end(self) {
        self.end.cancel();
        // What became of it is told by the task itself.
        drop(self.task.await);
    }
}

/// Sees to it that an end is told, whatever it is.
struct Outcome {
    background: watch::Sender<Background>,
    settled: bool,
}

impl Outcome {
    fn settle(&mut self, outcome: Background) {
        self.settled = true;
        self.background.send_replace(outcome);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.settled {
            let fault = CallError::Host("it was ended by a fault of the host".into());
            self.background.send_replace(Background::Failed(fault));
        }
    }
}

async fn run(loaded: Arc<Loaded>, code: Arc<Code>, principal: Principal, end: CancellationToken, mut outcome: Outcome) {
    let runtime = &*loaded.runtime.0;
    let background = loaded.background.clone();
    let cause = Cause {
        principal,
        source: None,
        depth: 0,
        unload: end.clone(),
        on_ready: Some(Box::new(move || drop(background.send_replace(Background::Ready)))),
        regain: Some(REGAIN),
    };
    let store = State::new(runtime, &loaded.options, cause).into_store(runtime);
    let interrupt = async {
        end.cancelled().await;
        tokio::time::sleep(NOTICE).await;
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
            tracing::error!(capsule = loaded.options.capsule_id, %error, "what ran in the background has failed");
            Background::Failed(error)
        }
    });
}
