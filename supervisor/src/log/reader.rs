//! Waits for one output stream of a process, as a part of the process's task.
//!
//! The wait ends with the stream: at end of file, or when the host closes its end. If a process outside of an ended tree
//! still holds the pipe, it ends when everything that the tree wrote was read and the drain time has passed (contract X3).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::output::{Flow, Output, Pumped};

/// Closes the stream if the reading task ends before the stream does. This includes a task that was dropped with its
/// runtime, after which a drain would wait for ever.
struct Close(Arc<Output>);

impl Drop for Close {
    fn drop(&mut self) {
        if self.0.flow() != Flow::Ended {
            self.0.close();
        }
    }
}

/// If the future is dropped at any time, even before its first poll, the stream is closed.
pub(crate) fn run(output: Arc<Output>, drain_time: Duration) -> impl Future<Output = ()> + Send + 'static {
    let reading = Close(output);
    async move { read(&reading.0, drain_time).await }
}

async fn read(output: &Output, drain_time: Duration) {
    let Some(pipe) = output.pipe() else { return };
    let mut closes_at: Option<Instant> = None;
    loop {
        if closes_at.is_none() && output.is_caught_up() {
            closes_at = Some(Instant::now() + drain_time);
        }
        if closes_at.is_some_and(|at| at <= Instant::now()) {
            return;
        }
        let closing = async {
            match closes_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        if output.flow() == Flow::Parked {
            // Consumers read the pipe now. A consumer that finds the pipe empty, or at its end, wakes this task; `Notify` keeps a
            // wake-up that comes before it waits.
            tokio::select! {
                () = output.reader.notified() => {}
                () = closing => {}
            }
            continue;
        }
        tokio::select! {
            // Even if there are always bytes, the task must see that the tree has ended.
            biased;
            () = output.reader.notified() => if output.pump() == Pumped::Ended { return },
            ready = pipe.readable() => {
                let Ok(mut ready) = ready else {
                    // The runtime is ending.
                    return;
                };
                match output.pump() {
                    // An event that arrived after the wait began is not cleared, so no event is lost.
                    Pumped::Empty => ready.clear_ready(),
                    Pumped::More | Pumped::Full => {}
                    Pumped::Ended => return,
                }
                // A child that never stops writing must share its thread with others.
                tokio::task::consume_budget().await;
            }
            () = closing => {}
        }
    }
}
