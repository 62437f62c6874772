//! A guest that calls the host in a loop does not fill the disk with its records, and each call is in a record or in a
//! count (U1, U3).

use std::fs::{self, File};
use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::audit::{AuditSink, ChainSink, verify};
use capsule_host::supervisor::Principal;
use tempfile::TempDir;

use super::{builder, options, talkers};

const PATIENCE: Duration = Duration::from_secs(60);
/// The number of the guest's calls.
const CALLS: u64 = 20_000;

#[tokio::test]
async fn u3_a_guest_that_calls_in_a_loop_has_each_call_recorded_or_counted_and_fills_no_disk() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(ChainSink::open(&path).unwrap());
    let sink: Arc<dyn AuditSink> = log.clone();
    let workspace = TempDir::new().unwrap();
    let runtime = builder().audit(Some(sink)).build().unwrap();
    let capsule = runtime.load(options(&workspace), &talkers::floods()).await.unwrap();

    let start = Instant::now();
    let ada = Principal::Named("ada".into());
    // The capsule has no grant, so each call is a refusal.
    capsule.call(ada, "notes.v1.saved", b"{}".to_vec()).await.unwrap();
    capsule.unload().await;
    let head = log.finish(PATIENCE).unwrap();
    let seconds = start.elapsed().as_secs() + 1;

    let seen = verify(BufReader::new(File::open(&path).unwrap()), Some(&head)).unwrap();
    assert_eq!((seen.calls + seen.lost, seen.over_rate), (CALLS, seen.lost), "{seen:?}");
    // The burst and the rate of refusals, and of all records.
    let most = 2 * (512 + 128 * seconds);
    assert!((1024..=most).contains(&seen.calls), "{seen:?}");
    assert!(seen.lines <= seen.calls + seconds + 3, "{seen:?}");
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes <= (most + seconds) * 1024, "{bytes} bytes");
}
