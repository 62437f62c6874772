//! The launcher without confinement.

use super::environment::Environment;
use super::launcher::{Launch, LaunchError, Launched, Launcher};
use super::program;
use crate::os::spawn::{Program, StartError, start};

/// Starts commands with all rights of the host, each as the leader of its own process group.
///
/// An embedder has to choose this by name: it stands for no protection at all, apart from the environment, which holds
/// only what contract S2 lists. Ending a process ends its group; what left the group lives on.
#[derive(Clone, Debug)]
pub struct Unconfined {
    environment: Environment,
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
            persistent: false,
        }
    }

    /// Also starts processes that no instance holds. Said apart because nothing contains what those leave behind.
    #[must_use]
    pub fn allow_persistent(mut self) -> Self {
        self.persistent = true;
        self
    }
}

impl Launcher for Unconfined {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let Launch {
            cmd,
            args,
            env,
            workspace,
            cwd,
            stdin,
        } = launch;
        let path = program::find(&cmd, self.environment.path(), workspace.path())?;
        let env = self.environment.for_child(env);
        let program = Program {
            path,
            arg0: cmd.clone(),
            args,
            env,
            cwd,
            stdin,
        };
        match start(program) {
            Ok(started) => Ok(started.into()),
            Err(StartError::Host(error)) => Err(LaunchError::Host(error)),
            Err(StartError::Exec(error)) => Err(program::exec_error(&cmd, &error)),
        }
    }

    fn supports_persistent(&self) -> bool {
        self.persistent
    }
}
