//! Yielding and spawning.

/// Lets other tasks run.
pub async fn consume_budget() {
    super::let_others_run();
}

/// The same.
pub async fn yield_now() {
    super::let_others_run();
}

/// A task of its own.
pub fn spawn<F>(task: F) -> shuttle::future::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    shuttle::future::spawn(task)
}
