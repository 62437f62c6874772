//! A launcher that gives each command a virtual machine of its own. It shows what a crate outside of the host's can do
//! with `Launcher`, and what it cannot do (docs/launchers.md).
//!
//! It lets another launcher start a script in place of the command. The script starts QEMU, which boots a kernel, which
//! starts the command (`tests/vm/machine`). So the machine is confined and ended as the command would be, without
//! further code here. `tests/vm/launcher` makes the files that it needs, and runs the tests.

use std::path::PathBuf;

use capsule_host::sandbox::{Confined, Launch, LaunchError, Launched, Launcher, Policy};

/// Starts each command in a virtual machine of its own.
#[derive(Debug)]
pub struct Machine {
    confined: Confined,
    folder: PathBuf,
    acceleration: String,
}

impl Machine {
    /// `folder` contains a kernel, its initial file system, and `start`. None if `CAPSULE_MACHINE` does not name a
    /// folder.
    ///
    /// # Errors
    /// As for [`Confined::new`].
    pub fn new() -> Result<Option<Self>, LaunchError> {
        let Some(folder) = std::env::var_os("CAPSULE_MACHINE").map(PathBuf::from) else {
            return Ok(None);
        };
        let acceleration = std::env::var("CAPSULE_VM_ACCELERATION").unwrap_or_else(|_| "tcg,thread=single".into());
        let mut policy = Policy::new().visible(&folder);
        if acceleration == "kvm" {
            policy = policy.writable("/dev/kvm");
        }
        Ok(Some(Self {
            confined: Confined::new(policy)?,
            folder,
            acceleration,
        }))
    }
}

impl Launcher for Machine {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let command = hexadecimal(&command(&launch));
        let folder = self.folder.display().to_string();
        let workspace = launch.workspace().path().display().to_string();
        let start = format!("{folder}/start");
        let args = vec![folder, workspace, self.acceleration.clone()];
        let env = vec![("CAPSULE_MACHINE_COMMAND".into(), command)];
        self.confined.launch(launch.run_by(start, args, env))
    }

    fn prepare(&self) {
        self.confined.prepare();
    }

    fn supports_persistent(&self) -> bool {
        true
    }
}

/// Encodes the command as `run-command` reads it. No part contains a NUL, because the host would have refused the
/// request.
fn command(launch: &Launch) -> Vec<u8> {
    let variables = launch.env();
    let mut parts = vec![launch.cwd().to_owned(), variables.len().to_string()];
    parts.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    parts.push(launch.cmd().to_owned());
    parts.extend(launch.args().iter().cloned());
    parts
        .into_iter()
        .flat_map(|part| [part.as_bytes(), b"\0"].concat())
        .collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
