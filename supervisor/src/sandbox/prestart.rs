//! Starts init's program before there is a policy, for a host whose first command is waited for.
//!
//! The start of the program and of a first init takes more than a millisecond, and depends on nothing but on the
//! kind of network that commands have. So a host can have it done while it reads its settings, opens a workspace and makes a [`Confined`].
//!
//! [`Confined`]: super::Confined

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use capsule_init::NetworkMode;

use crate::network::Network;
use crate::os::init::Init;

/// Init's program, being started on a thread of its own. [`Confined::prestarted`](super::Confined::prestarted) takes it over.
///
/// Dropping it waits for the start, which takes some milliseconds, and ends the program.
#[derive(Debug)]
pub struct Prestart {
    init: Arc<Init>,
    thread: Option<JoinHandle<()>>,
}

impl Prestart {
    /// Begins the start, and returns at once. `network` is as of [`Policy::network`](super::Policy::network). An error is found, and
    /// reported, by the first command.
    ///
    /// Commands inherit the attributes that this thread has now (resource limits, priority, umask, namespaces).
    #[must_use]
    pub fn begin(network: &Network) -> Self {
        Self::of(Arc::new(Init::embedded()), network.mode())
    }

    pub(super) fn of(init: Arc<Init>, network: NetworkMode) -> Self {
        let begin = {
            let init = Arc::clone(&init);
            move || init.begin(network)
        };
        // If there is no thread, the program is started when a command needs it.
        let thread = thread::Builder::new().name("capsule-prestart".into()).spawn(begin).ok();
        Self { init, thread }
    }

    pub(super) fn init(&self) -> &Arc<Init> {
        &self.init
    }
}

impl Drop for Prestart {
    fn drop(&mut self) {
        // It returns nothing, and what failed is tried again.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
