//! The checker's tasks, counted by the real tracker.

use real_tokio_util::task::TaskTracker as Counted;
use shuttle::future::{JoinHandle, spawn};
use tokio::runtime::Handle;

pub(crate) mod task_tracker {
    pub(crate) use real_tokio_util::task::task_tracker::TaskTrackerToken;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTracker(Counted);

impl TaskTracker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn spawn_on<F>(&self, task: F, _: &Handle) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn(self.0.track_future(task))
    }

    pub(crate) fn token(&self) -> task_tracker::TaskTrackerToken {
        self.0.token()
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) async fn wait(&self) {
        self.0.wait().await;
    }
}
