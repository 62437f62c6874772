//! A launcher for a machine on which the trial of the confinement succeeded before, so that it was left out now.
//!
//! The first command decides whether the machine still confines. If it starts, it was confined: a start makes every layer. If it is
//! refused, the trial that was left out is made, before the capsule hears of the refusal. A trial that fails as well says what the
//! machine lacks, and the command ends with it as it would have at its start. After a trial or a start that succeeded, a refusal is
//! the request's or has a passing cause, such as too many processes of the capsule's own, and only the capsule hears of it.

use std::sync::{Arc, Mutex, PoisonError};

use capsule_host::sandbox::{
    BoxFuture, Confined, Enforcements, Launch, LaunchError, Launched, Launcher, OwnerNetwork, Workspace,
};
use capsule_host::supervisor::Owner;
use tokio::sync::oneshot;

use crate::trials_kept::TrialsKept;

/// See the file. The error of a late trial is received from the second result of [`LateTrial::new`].
#[derive(Debug)]
pub(crate) struct LateTrial {
    launcher: Arc<Confined>,
    /// None after a start or a trial. Locked while the trial is made, so that no other refusal is heard before its result.
    left_out: Mutex<Option<LeftOut>>,
}

/// The trial that was left out.
#[derive(Debug)]
struct LeftOut {
    workspace: Workspace,
    kept: TrialsKept,
    failed: oneshot::Sender<LaunchError>,
}

impl LateTrial {
    pub(crate) fn new(
        launcher: Arc<Confined>,
        workspace: Workspace,
        kept: TrialsKept,
    ) -> (Self, oneshot::Receiver<LaunchError>) {
        let (failed, received) = oneshot::channel();
        let left_out = LeftOut {
            workspace,
            kept,
            failed,
        };
        let late = Self {
            launcher,
            left_out: Mutex::new(Some(left_out)),
        };
        (late, received)
    }
}

impl LeftOut {
    fn make(self, launcher: &Confined) {
        tracing::debug!("a process could not be started: the trial that was left out is made");
        if let Err(error) = launcher.verify(&self.workspace) {
            self.kept.remove();
            // The receiver is gone when the command already ends.
            drop(self.failed.send(error));
        }
    }
}

impl Launcher for LateTrial {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let launched = self.launcher.launch(launch);
        match &launched {
            Ok(_) => drop(self.left_out.lock().unwrap_or_else(PoisonError::into_inner).take()),
            Err(LaunchError::Confinement(_) | LaunchError::Host(_)) => {
                let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(left_out) = left_out.take() {
                    left_out.make(&self.launcher);
                }
            }
            // The request's fault.
            Err(_) => {}
        }
        launched
    }

    fn prepare(&self) {
        self.launcher.prepare();
    }

    fn supports_persistent(&self) -> bool {
        self.launcher.supports_persistent()
    }

    fn injects(&self) -> bool {
        self.launcher.injects()
    }

    fn quiesced(&self) -> BoxFuture<'_, ()> {
        self.launcher.quiesced()
    }

    fn network(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        self.launcher.network(owner)
    }

    fn enforcements(&self) -> Enforcements {
        self.launcher.enforcements()
    }
}
