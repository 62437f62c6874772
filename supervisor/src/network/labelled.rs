//! The trees of a network that have a label, and the port on which one of them listens.
//!
//! A published port may be that of a label. Only trees of this network are here, so the same label of another owner leads nowhere. The
//! port is looked for at each connection, because a server may begin to listen on another one, and another process may take its label.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;

use crate::os::usage::Meter;

/// The trees with a label, in the order in which they were started.
#[derive(Debug, Default)]
pub(super) struct LabelledTrees {
    trees: Mutex<Vec<(String, Weak<Meter>)>>,
    /// Held while a tree is looked at. A tree decides how long that takes, so only one thread does it for a network.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl LabelledTrees {
    /// Adds a tree, which is found for as long as its meter is kept.
    pub(super) fn add(&self, label: String, meter: &Arc<Meter>) {
        let mut trees = self.locked();
        trees.retain(|(_, meter)| meter.strong_count() > 0);
        trees.push((label, Arc::downgrade(meter)));
    }

    /// The lowest port on which a tree with this label listens: of those that listen, the one that was started first.
    ///
    /// # Errors
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): none listens.
    pub(super) async fn port(&self, label: &str, runtime: &Handle) -> io::Result<u16> {
        // The thread keeps it, also if the caller waits no longer.
        let looking = Arc::clone(&self.looking).lock_owned().await;
        let with_label = |tree: &(String, Weak<Meter>)| if tree.0 == label { tree.1.upgrade() } else { None };
        let meters: Vec<_> = self.locked().iter().filter_map(with_label).collect();
        let looked = runtime.spawn_blocking(move || {
            let port = meters.iter().find_map(|meter| meter.listening(None).ok()??.pop_first());
            drop(looking);
            port
        });
        looked
            .await
            .map_err(io::Error::other)?
            .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(String, Weak<Meter>)>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
