//! The launcher without confinement.

use super::environment::Environment;
use super::launcher::{Launch, LaunchError, Launched, Launcher};
use super::limits::{Enforcement, Enforcements};
use super::start::{self, Hold};
use crate::os::init::Init;

/// Starts commands with all rights of the host.
///
/// An embedder has to choose this by name: it stands for no protection at all, apart from the environment, which holds
/// only what contract S2 lists. A process is still its whole tree: an init ends what a command leaves behind, and ends
/// everything when the host dies.
#[derive(Debug)]
pub struct Unconfined {
    environment: Environment,
    init: Init,
    persistent: bool,
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
        }
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
        let limits = launch.limits.for_each_process();
        let hold = Hold {
            confinement: None,
            landlock: None,
            seccomp: Vec::new(),
            limits,
        };
        start::start(&self.init, &self.environment, launch, hold)
    }

    fn supports_persistent(&self) -> bool {
        self.persistent
    }

    fn enforcements(&self) -> Enforcements {
        Enforcements {
            // What is written to a tmpfs or a memfd belongs to nobody whom one could look at.
            memory: None,
            cpu: Some(Enforcement::Sampled),
            // The kernel counts a user's processes, and the user here is the host's own.
            pids: None,
            open_files: Some(Enforcement::PerProcess),
        }
    }
}
