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

#[tokio::test]
async fn it_ends_with_the_last_that_needs_it() {
    assert_eq!(epoch_threads(), 0);
    let handle = tokio::runtime::Handle::current();
    let registry = Registry::new(handle, Arc::new(Unconfined::new()), Limits::default()).unwrap();
    let runtime = Runtime::builder(registry).max_instances(1).build().unwrap();
    let component = wat::parse_str("(component)").unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let options = LoadOptions::new("guest", Workspace::open(folder.path()).unwrap());
    let capsule = runtime.load(options, &component).await.unwrap();
    drop(runtime);
    assert_eq!(epoch_threads(), 1, "the capsule still needs it");
    drop(capsule);
    // It is joined by now, but the kernel takes it off the list a moment after.
    let gone = async {
        while epoch_threads() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap();
}
