//! Waits for facts. Nothing here waits for a time to pass: [`until`] checks a fact repeatedly until it holds, and gives
//! up after two minutes, which a test reaches only if the fact never holds.

use std::time::Duration;

use capsule_host::supervisor::{ExitInfo, Scope};

/// Longer than any step of a test takes, and short enough to wait for at a terminal.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Fails the test if `future` does not complete in that time.
pub async fn watchdog<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ended, instead of hanging")
}

/// Returns when `fact` holds. It is for facts without a notification, such as those in `/proc`.
pub async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let asking = async {
        while !fact() {
            breathe().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, asking).await.is_ok(),
        "never happened: {what}"
    );
}

/// Yields the processor between two checks of a fact.
pub async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Waits for the exit, however long it takes.
pub async fn exit(scope: &Scope, id: &str) -> ExitInfo {
    watchdog(scope.wait(id, PATIENCE)).await.expect("an exit")
}
