//! The runtime's one thread lives as long as the runtime. Alone in its binary: it counts threads by name.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::sync::Arc;

use capsule_host::runtime::{LoadOptions, Runtime};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Registry};

fn epoch_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim_end() == "capsule-epoch")
        .count()
}

/// A thread sets its name after it starts, and the kernel removes it from the list a moment after it was joined.
async fn until_there_are(count: usize) {
    let there = async {
        while epoch_threads() != count {
            tokio::task::yield_now().await;
        }
    };
    let there = tokio::time::timeout(std::time::Duration::from_secs(60), there).await;
    assert!(there.is_ok(), "{} threads, and not {count}", epoch_threads());
}

#[tokio::test]
async fn it_ends_with_the_last_that_needs_it() {
    assert_eq!(epoch_threads(), 0);
    let handle = tokio::runtime::Handle::current();
    let registry = Registry::new(handle, Arc::new(Unconfined::new()), Limits::default()).unwrap();
    let runtime = Runtime::builder(registry).max_instances(1).build().unwrap();
    until_there_are(1).await;
    let component = wat::parse_str("(component)").unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let options = LoadOptions::new("guest", Workspace::open(folder.path()).unwrap());
    let capsule = runtime.load(options, &component).await.unwrap();
    drop(runtime);
    assert_eq!(epoch_threads(), 1, "the capsule still needs it");
    drop(capsule);
    until_there_are(0).await;
}
