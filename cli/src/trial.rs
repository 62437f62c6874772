//! The trial of the confinement: whether this machine can confine the capsule's processes, found before any code of the capsule runs.
//!
//! It takes some milliseconds of a processor, as long as the load of a capsule. So a trial that succeeded is kept
//! ([`TrialsKept`]) and not repeated while nothing changes that its result depends on ([`Confined::fingerprint`]). A kept trial
//! confines nothing: every process is confined when it starts, or does not start, and then the trial is made after all
//! ([`LateTrial`]).

use std::future::pending;
use std::sync::Arc;

use capsule_host::sandbox::{Confined, LaunchError, Launcher, Workspace};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::late_trial::LateTrial;
use crate::trials_kept::TrialsKept;

/// Why a trial did not succeed.
#[derive(Debug, Error)]
pub(crate) enum TrialError {
    /// The machine, the user or the workspace does not allow the confinement.
    #[error(transparent)]
    Confinement(LaunchError),
    /// A bug.
    #[error(transparent)]
    Panic(JoinError),
}

/// A trial under way, or one that is over.
#[derive(Debug)]
pub(crate) struct Trial(State);

#[derive(Debug)]
enum State {
    /// It succeeded, or there is no confinement.
    Over,
    Running(JoinHandle<Result<(), LaunchError>>),
    /// It succeeded in an earlier run. The error of a late trial comes from here.
    LeftOut(oneshot::Receiver<LaunchError>),
}

impl Trial {
    /// For a launcher that does not confine.
    pub(crate) const fn none() -> Self {
        Self(State::Over)
    }

    /// Begins the trial on a thread that may block, unless the same trial is kept and `may_be_left_out`. Also returns the launcher
    /// for the capsule's processes. Must be called inside a tokio runtime.
    pub(crate) fn begin(
        launcher: Arc<Confined>,
        workspace: Workspace,
        may_be_left_out: bool,
    ) -> (Self, Arc<dyn Launcher>) {
        let kept = TrialsKept::of_user();
        // Without a fingerprint, nothing is kept.
        let fingerprint = launcher.fingerprint(&workspace).ok();
        let kept = kept.zip(fingerprint);
        match kept {
            Some((kept, fingerprint)) if may_be_left_out && kept.contain(&fingerprint) => {
                tracing::debug!(fingerprint, "the confinement was tried before");
                let (launcher, failed) = LateTrial::new(launcher, workspace, kept);
                (Self(State::LeftOut(failed)), Arc::new(launcher))
            }
            kept => {
                let fingerprint = kept.as_ref().map(|(_, fingerprint)| fingerprint);
                tracing::debug!(fingerprint, "the confinement is tried");
                let tried = Arc::clone(&launcher);
                let running = spawn_blocking(move || {
                    let result = tried.verify(&workspace);
                    match (kept, &result) {
                        (Some((kept, fingerprint)), Ok(())) => kept.add(&fingerprint),
                        (Some((kept, _)), Err(_)) => kept.remove(),
                        (None, _) => {}
                    }
                    result
                });
                (Self(State::Running(running)), launcher)
            }
        }
    }

    /// Waits for the trial to succeed; returns at once if it has, now or in an earlier run. Dropping the future loses nothing.
    pub(crate) async fn succeeded(&mut self) -> Result<(), TrialError> {
        let State::Running(running) = &mut self.0 else {
            return Ok(());
        };
        let ended = running.await;
        self.0 = State::Over;
        ended.map_err(TrialError::Panic)?.map_err(TrialError::Confinement)
    }

    /// Completes with the error of a late trial, and never if there is none. It has it before the capsule hears that its process did
    /// not start. Dropping the future loses nothing.
    pub(crate) async fn failed_late(&mut self) -> TrialError {
        if let State::LeftOut(failed) = &mut self.0 {
            let failed = failed.await;
            self.0 = State::Over;
            if let Ok(error) = failed {
                return TrialError::Confinement(error);
            }
        }
        pending().await
    }
}
