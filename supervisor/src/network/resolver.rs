//! Looks up names by the system's resolver, which blocks a thread for as long as a name server does not answer.
//!
//! All networks of this process together use a bounded number of threads, and each network a part of them. So a tree that asks for
//! names whose servers are silent holds up no launch and no other owner.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::os::host_names;

/// The threads that look up names for all networks of this process.
const THREADS: usize = 32;
/// Those for one network.
const THREADS_OF_ONE: usize = 8;
/// How long the addresses of a name are used again: the connection after a query finds them.
const FRESH: Duration = Duration::from_secs(5);
/// How many names are remembered.
const REMEMBERED: usize = 512;

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS)));

/// The look-ups of one network.
#[derive(Debug)]
pub(super) struct Resolver {
    own: Arc<Semaphore>,
    found: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            own: Arc::new(Semaphore::new(THREADS_OF_ONE)),
            found: Mutex::default(),
        }
    }
}

impl Resolver {
    /// The addresses of a name, in the order in which they are to be tried; none if it does not exist. If the future is dropped, the
    /// look-up goes on, and keeps its thread until then.
    ///
    /// # Errors
    /// It could not be found out now. The next caller asks again.
    pub(super) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(found) = self.remembered(name) {
            return Ok(found);
        }
        let closed = |_| io::Error::other("the resolver is closed");
        let own = Arc::clone(&self.own).acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&ALL).acquire_owned().await.map_err(closed)?;
        // With a final dot, so that no search list of the host makes another name of it.
        let absolute = format!("{name}.");
        let looked_up = tokio::task::spawn_blocking(move || {
            let found = host_names::addresses(&absolute);
            // Given back by the thread, which outlives a caller that waits no longer.
            drop((own, all));
            found
        });
        let found = looked_up.await.map_err(io::Error::other)??;
        let mut remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(name.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }

    fn remembered(&self, name: &str) -> Option<Vec<IpAddr>> {
        let remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = remembered.get(name)?;
        (at.elapsed() < FRESH).then(|| found.clone())
    }
}
