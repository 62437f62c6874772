//! How many descriptors the connections of all private networks take.
//!
//! Trees make connections as they like, so without a bound the host could open nothing else any more.

use std::sync::{Arc, LazyLock};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit for each pair of descriptors: the sockets of a connection, or the ends of a pipe. All together are half of those that
/// the process may open.
static PAIRS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(open_files() / 4)));

/// A permit for two descriptors, if there is one.
pub(super) fn pair() -> Option<OwnedSemaphorePermit> {
    Arc::clone(&PAIRS).try_acquire_owned().ok()
}

/// The pairs that one network may have, whatever its limits say, so that no owner takes those of all others.
pub(super) fn pairs_of_one() -> usize {
    open_files() / 8
}

/// How many files this process may have open.
fn open_files() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
