//! The launcher without confinement.

use std::path::Path;
use std::sync::Arc;

use super::cgroup;
use super::environment::Environment;
use super::launcher::{Launch, LaunchError, Launched, Launcher};
use super::limits::{Enforcement, Enforcements};
use super::start::{self, Constraints};
use crate::os::cgroup::Groups;
use crate::os::init::Init;

/// Starts commands with all rights of the host.
///
/// An embedder has to choose this by name: it stands for no protection at all, apart from the environment, which holds
/// only what contract S2 lists. A process is still its whole tree: an init ends what a command leaves behind, and ends
/// everything when the host dies. Memory and processes are limited where there are control groups for that (as for
/// [`Policy::cgroup`](super::Policy::cgroup)), and refused otherwise; a command that has all rights may also leave its group.
///
/// Commands are started by a small process, as [`Confined`](super::Confined) says.
#[derive(Debug)]
pub struct Unconfined {
    environment: Environment,
    init: Init,
    persistent: bool,
    groups: Option<Arc<Groups>>,
}

impl Unconfined {
    /// Takes the passthrough variables (`PATH`, `LANG`, `LC_*`, `TZ`) from this process, now.
    #[expect(
        clippy::new_without_default,
        reason = "running without confinement is never a default"
    )]
    #[must_use]
    pub fn new() -> Self {
        Self {
            environment: Environment::of_host(),
            init: Init::embedded(),
            persistent: false,
            groups: cgroup::groups(None).ok().map(Arc::new),
        }
    }

    /// Names a control group for groups to be made in; see [`Policy::cgroup`](super::Policy::cgroup).
    ///
    /// # Errors
    /// [`LaunchError::Confinement`]: no groups can be made in there, and why.
    pub fn cgroup(mut self, path: impl AsRef<Path>) -> Result<Self, LaunchError> {
        let groups = cgroup::groups(Some(path.as_ref())).map_err(LaunchError::Confinement)?;
        self.groups = Some(Arc::new(groups));
        Ok(self)
    }

    /// Also starts processes that no instance holds. Said apart because nothing keeps those from the rest of the system.
    #[must_use]
    pub fn allow_persistent(mut self) -> Self {
        self.persistent = true;
        self
    }
}

impl Launcher for Unconfined {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let limits = launch.limits.for_each_process(false);
        // Init stays outside.
        let group = self.groups.as_ref().map(|groups| {
            let controllers = groups.controllers();
            let memory = launch.limits.max_memory_bytes.filter(|_| controllers.memory);
            let pids = launch.limits.max_pids.map(u64::from).filter(|_| controllers.pids);
            groups.group(memory, pids)
        });
        let constraints = Constraints {
            confinement: None,
            landlock: None,
            seccomp: Vec::new(),
            limits,
            lease: None,
            epolls: None,
            network: None,
            group: group.transpose().map_err(LaunchError::Host)?,
            visibility: None,
        };
        start::start(&self.init, &self.environment, launch, constraints)
    }

    fn prepare(&self) {
        self.init.prepare(false);
    }

    fn supports_persistent(&self) -> bool {
        self.persistent
    }

    fn enforcements(&self) -> Enforcements {
        let controllers = self
            .groups
            .as_ref()
            .map(|groups| groups.controllers())
            .unwrap_or_default();
        let by_group = |has: bool| has.then_some(Enforcement::Kernel);
        Enforcements {
            // Without a group, data in a tmpfs or a memfd belongs to no process that could be sampled.
            memory: by_group(controllers.memory),
            cpu: Some(Enforcement::Sampled),
            // Otherwise the kernel counts a user's processes, and the user here is the host's own.
            pids: by_group(controllers.pids),
            open_files: Some(Enforcement::PerProcess),
        }
    }
}
