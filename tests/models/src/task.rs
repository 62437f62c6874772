//! Tasks that are the checker's.

use shuttle::future::{JoinHandle, spawn};
use tokio::runtime::Handle;

#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTracker;

impl TaskTracker {
    pub(crate) fn spawn_on<F>(&self, task: F, _: &Handle) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn(task)
    }
}
