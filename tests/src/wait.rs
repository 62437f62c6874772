//! Ways to wait for facts. Nothing here waits for a time to pass: [`until`] asks again until a fact holds, and gives up after
//! two minutes, which no test comes near unless the fact never holds.

use std::time::Duration;

use capsule_host::supervisor::{ExitInfo, Scope};

/// Longer than anything here takes, and shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Fails the test where `future` is stuck.
pub async fn watchdog<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ended, instead of hanging")
}

/// Returns once `fact` holds. For facts that are not announced, such as those in `/proc`.
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

/// Leaves the processor to others between two looks at a fact.
pub async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The exit, however long it takes.
pub async fn exit(scope: &Scope, id: &str) -> ExitInfo {
    watchdog(scope.wait(id, PATIENCE)).await.expect("an exit")
}
