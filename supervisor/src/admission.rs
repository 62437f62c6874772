//! From a request to a running command: the checks in the order of contract S4, then the quotas, then the launch.

use std::sync::Arc;
use std::time::Instant;

use super::gate::{Ask, Gate};
use super::generation::Member;
use super::life::supervise::LaunchedProcess;
use super::metrics;
use super::quota::Reservation;
use super::request::SpawnRequest;
use super::shared::Core;
use super::{Error, Owner, Principal, Tier};
use crate::sandbox::{CwdError, Launch, ResourceLimits, UNCONFINED, Workspace};

impl Core {
    /// All checks that can refuse a request without leaving a trace. Returns the resource limits of the process.
    pub(crate) fn admit(
        &self,
        request: &SpawnRequest,
        owner: &Owner,
        workspace: &Workspace,
        gate: &mut dyn Gate,
        tier: Tier,
    ) -> Result<ResourceLimits, Error> {
        if !gate.allows(owner, Ask::Process) {
            return Err(Error::CapabilityDenied);
        }
        request.check(tier, workspace.path(), &self.limits)?;
        if !gate.allows(owner, Ask::Command(request.view())) {
            return Err(Error::CapabilityDenied);
        }
        // Only for the answer: the launch resolves it again, where the command starts.
        workspace.resolve(request.cwd.as_deref()).map_err(|error| match error {
            CwdError::Escape => Error::BoundaryEscape,
            CwdError::Missing => Error::InvalidInput("cwd is not a directory in the workspace".into()),
            CwdError::Host(errno) => Error::Host(format!("could not resolve cwd: {errno}")),
        })?;
        if tier == Tier::Persistent {
            if !gate.allows(owner, Ask::Persistent) {
                return Err(Error::CapabilityDenied);
            }
            if owner.principal == Principal::Anonymous || !self.launcher.supports_persistent() {
                return Err(Error::PersistUnsupported);
            }
        }
        if !request.file_injections.is_empty() && !self.launcher.injects() {
            return Err(Error::InjectionUnsupported(UNCONFINED.into()));
        }
        self.limits.resources(request.limits, self.launcher.enforcements())
    }

    /// Starts the command. If it is dropped half-way, it ends the processes that it has started.
    pub(crate) async fn launch(
        &self,
        launch: Launch,
        reservation: Reservation,
        member: Member,
    ) -> Result<LaunchedProcess, Error> {
        let token = self.tasks.tracker.token();
        // After the token is taken: either the shutdown waits for this launch, or this launch sees the shutdown.
        if member.closing.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let begun = Instant::now();
        let launcher = Arc::clone(&self.launcher);
        let (prewarmer, runtime, closing) = (
            self.prewarmer.clone(),
            self.tasks.runtime.clone(),
            self.tasks.closing.clone(),
        );
        // Looking for a program and making a process take a millisecond, and more on a busy disk.
        let launching = self.tasks.runtime.spawn_blocking(move || {
            let launched = launcher.launch(launch);
            // Called here, because a launch uses up the prepared init even if it fails or its caller has dropped it.
            prewarmer.launched(&runtime, &launcher, &closing);
            launched.map(|launched| LaunchedProcess {
                launched,
                reservation,
                member,
                token,
            })
        });
        match launching.await {
            Ok(launched) => {
                let launched = launched?;
                metrics::launched(begun.elapsed());
                Ok(launched)
            }
            Err(error) if error.is_cancelled() => Err(Error::Cancelled),
            Err(_) => Err(Error::Host("the launcher panicked".into())),
        }
    }
}
