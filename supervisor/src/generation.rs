//! The processes of an owner that end together when its capsule ends: all that were started so far, by id or by handle.

use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::sync::{Mutex, MutexGuard};

/// The generations of one owner. All but the last are ending or have ended.
#[derive(Debug)]
pub(crate) struct Generations(Mutex<Arc<Generation>>);

/// The processes that an owner starts between two ends of its capsule.
#[derive(Debug)]
struct Generation {
    closing: CancellationToken,
    members: TaskTracker,
}

/// Membership in a generation, from before the command is started until no process of its tree is left.
pub(crate) struct Member {
    /// Cancelled when the whole generation must end.
    pub(crate) closing: CancellationToken,
    _counted: TaskTrackerToken,
    _keeps: Arc<dyn Send + Sync>,
}

impl Generations {
    /// Makes the first generation, which ends when everything is `closing`.
    pub(crate) fn new(closing: &CancellationToken) -> Self {
        Self(Mutex::new(Generation::new(closing)))
    }

    /// Joins the present generation. A caller that joins before it starts a command is waited for by [`Self::end`], or
    /// sees the end. The member keeps `keeps` until it is dropped.
    pub(crate) fn join(&self, keeps: Arc<dyn Send + Sync>) -> Member {
        let generation = self.lock();
        Member {
            closing: generation.closing.clone(),
            _counted: generation.members.token(),
            _keeps: keeps,
        }
    }

    /// Ends every process that was started so far, whether a handle or an id holds it, and waits until no process of
    /// their trees is left. If the future is dropped, the end still completes.
    pub(crate) fn end(&self, closing: &CancellationToken) -> impl Future<Output = ()> + use<> {
        let ended = std::mem::replace(&mut *self.lock(), Generation::new(closing));
        ended.closing.cancel();
        ended.members.close();
        async move { ended.members.wait().await }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn new(closing: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            closing: closing.child_token(),
            members: TaskTracker::new(),
        })
    }
}
