//! Lets a launcher prepare for the next command while no command is being started.
//!
//! The preparation would take a processor from a command that was just started, so the prewarmer first waits a few milliseconds.
//! Each further start only moves that moment: no task is woken for it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sandbox::Launcher;
use crate::sync::Mutex;

/// The time without a start after which the next init is prepared.
const QUIET: Duration = Duration::from_millis(5);

/// Clones share the same state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prewarmer {
    /// The time of the last start, while the quiet time after it runs.
    last: Arc<Mutex<Option<Instant>>>,
    waits: TaskTracker,
}

impl Prewarmer {
    /// Records a start. After the quiet time `launcher` prepares, unless the registry is `closing` by then.
    pub(crate) fn launched(&self, runtime: &Handle, launcher: &Arc<dyn Launcher>, closing: &CancellationToken) {
        if lock(&self.last).replace(Instant::now()).is_some() {
            return;
        }
        let (last, launcher, closing) = (Arc::clone(&self.last), Arc::clone(launcher), closing.clone());
        let waiting = async move {
            while let Some(at) = next(&last) {
                if closing
                    .run_until_cancelled(tokio::time::sleep_until(at))
                    .await
                    .is_none()
                {
                    return;
                }
            }
            if closing.is_cancelled() {
                return;
            }
            // It fails if the runtime is ending.
            drop(tokio::task::spawn_blocking(move || launcher.prepare()).await);
        };
        drop(self.waits.spawn_on(waiting, runtime));
    }

    /// Completes when no preparation runs or waits, after the registry began to close.
    pub(crate) async fn ended(&self) {
        self.waits.close();
        self.waits.wait().await;
    }
}

/// The time of the next check; none if the quiet time is over, and then the wait ends.
fn next(last: &Mutex<Option<Instant>>) -> Option<Instant> {
    let mut last = lock(last);
    let at = (*last)? + QUIET;
    if at > Instant::now() {
        return Some(at);
    }
    *last = None;
    None
}

fn lock(last: &Mutex<Option<Instant>>) -> crate::sync::MutexGuard<'_, Option<Instant>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::sandbox::{Launch, LaunchError, Launched};

    const MS: Duration = Duration::from_millis(1);

    #[derive(Debug)]
    struct Prepares(UnboundedSender<Instant>);

    impl Launcher for Prepares {
        fn launch(&self, _: Launch) -> Result<Launched, LaunchError> {
            Err(LaunchError::Host(std::io::Error::other("it only prepares")))
        }

        fn prepare(&self) {
            self.0.send(Instant::now()).expect("the test listens");
        }

        fn supports_persistent(&self) -> bool {
            false
        }
    }

    fn launcher() -> (Arc<dyn Launcher>, UnboundedReceiver<Instant>) {
        let (prepares, prepared) = unbounded_channel();
        (Arc::new(Prepares(prepares)), prepared)
    }

    #[tokio::test(start_paused = true)]
    async fn a_launcher_prepares_once_nothing_was_started_for_a_while() {
        let (launcher, mut prepared) = launcher();
        let (prewarmer, closing) = (Prewarmer::default(), CancellationToken::new());
        for _ in 0..2 {
            let mut last = Instant::now();
            for _ in 0..5 {
                last = Instant::now();
                prewarmer.launched(&Handle::current(), &launcher, &closing);
                tokio::time::sleep(QUIET - MS).await;
                assert_eq!(prepared.try_recv(), Err(TryRecvError::Empty));
            }
            let at = prepared.recv().await.expect("it prepares");
            assert!(at >= last + QUIET, "{:?}", at - last);
            tokio::time::sleep(10 * QUIET).await;
            assert_eq!(prepared.try_recv(), Err(TryRecvError::Empty), "once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_launcher_is_let_go_of_when_all_is_closing() {
        let (launcher, mut prepared) = launcher();
        let (prewarmer, closing) = (Prewarmer::default(), CancellationToken::new());
        prewarmer.launched(&Handle::current(), &launcher, &closing);
        drop(launcher);
        closing.cancel();
        prewarmer.ended().await;
        assert_eq!(prepared.try_recv(), Err(TryRecvError::Disconnected));
    }
}
