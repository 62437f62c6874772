//! From a request to a running command: the checks in the order of contract S4, then the quotas, then the launch.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::life::process::{Keep, Process, Tasks, Tenure};
use super::metrics;
use super::quota::Permit;
use super::registry::{Ask, Gate, Inner};
use super::request::{SpawnRequest, Tier};
use super::table::Member;
use super::{Error, Principal};
use crate::sandbox::{CwdError, Launch, Launched, ResourceLimits, UNCONFINED, Workspace};

/// A command that runs and is not supervised yet. Dropping it ends the command, then gives the permits back.
pub(crate) struct Fresh<P> {
    launched: Launched,
    permits: P,
    member: Member,
    /// A shutdown waits for it.
    token: TaskTrackerToken,
}

impl<P> Fresh<P> {
    /// Takes it into supervision. `split` says which permit is given back when the command has ended; what is left of them
    /// belongs into the tenure.
    pub(crate) fn supervise<T>(
        self,
        keep: Keep,
        tasks: &Tasks,
        split: impl FnOnce(P) -> (Permit, T),
    ) -> Result<Arc<Process>, Error>
    where
        T: FnOnce(&Arc<Process>) -> Tenure,
    {
        let (slot, tenure) = split(self.permits);
        let process = Process::supervise(self.launched, keep, slot, self.member, tasks, tenure);
        // Only now: until here nothing else said that there is a process.
        drop(self.token);
        process
    }
}

impl Inner {
    /// Everything that can refuse a request without any trace of it. Returns the limits of what may be started.
    pub(crate) fn admit(
        &self,
        request: &SpawnRequest,
        principal: &Principal,
        workspace: &Workspace,
        gate: &mut dyn Gate,
        tier: Tier,
    ) -> Result<ResourceLimits, Error> {
        if !gate.allows(Ask::Process) {
            return Err(Error::CapabilityDenied);
        }
        request.check(tier, workspace.path(), &self.limits)?;
        if !gate.allows(Ask::Command(request.view())) {
            return Err(Error::CapabilityDenied);
        }
        // Only for the answer: the launch resolves it again, where the command starts.
        workspace.resolve(request.cwd.as_deref()).map_err(|error| match error {
            CwdError::Escape => Error::BoundaryEscape,
            CwdError::Missing => Error::InvalidInput("cwd is no directory in the workspace".into()),
            CwdError::Host(errno) => Error::Host(format!("could not look for cwd: {errno}")),
        })?;
        if tier == Tier::Persistent {
            if !gate.allows(Ask::Persistent) {
                return Err(Error::CapabilityDenied);
            }
            if *principal == Principal::Anonymous || !self.launcher.supports_persistent() {
                return Err(Error::PersistUnsupported);
            }
        }
        if !request.file_injections.is_empty() && !self.launcher.injects() {
            return Err(Error::InjectionUnsupported(UNCONFINED.into()));
        }
        self.limits.resources(request.limits, self.launcher.enforcements())
    }

    /// Starts the command. Dropped half-way, it ends what was started.
    pub(crate) async fn launch<P: Send + 'static>(
        &self,
        launch: Launch,
        permits: P,
        member: Member,
    ) -> Result<Fresh<P>, Error> {
        let token = self.tasks.tracker.token();
        // After the token is taken: either the shutdown waits for this launch, or this launch sees the shutdown.
        if member.closing.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let begun = Instant::now();
        let launcher = Arc::clone(&self.launcher);
        let (lulls, runtime, closing) = (
            self.lulls.clone(),
            self.tasks.runtime.clone(),
            self.tasks.closing.clone(),
        );
        // Looking for a program and making a process take a millisecond, and more on a busy disk.
        let launching = self.tasks.runtime.spawn_blocking(move || {
            let launched = launcher.launch(launch);
            // Here, because what was prepared is used up also where nothing comes of it, or nothing waits for it any more.
            lulls.expect(&runtime, &launcher, &closing);
            launched.map(|launched| Fresh {
                launched,
                permits,
                member,
                token,
            })
        });
        match launching.await {
            Ok(fresh) => {
                let fresh = fresh?;
                metrics::launched(begun.elapsed());
                Ok(fresh)
            }
            Err(error) if error.is_cancelled() => Err(Error::Cancelled),
            Err(_) => Err(Error::Host("the launcher panicked".into())),
        }
    }
}
