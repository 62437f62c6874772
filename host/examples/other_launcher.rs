//! A launcher of one's own: has another launcher start every command at a lower priority, through `nice`.
//!
//! `cargo run -p capsule-host --no-default-features --example other_launcher -- COMMAND …`, in the folder that is to be the
//! workspace.
//!
//! A launcher that puts each command into a virtual machine or a container is written in the same way: it reads what is to be
//! started from the [`Launch`], and has the inner launcher start what starts that. The inner launcher confines and ends both;
//! `docs/launchers.md` describes such a one, and what this interface lacks. One thing shows here: a command that does not
//! exist is an exit code of `nice` (127), and not the `not-found` that the inner launcher alone would answer.
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;

use capsule_host::sandbox::{Confined, Enforcements, Launch, LaunchError, Launched, Launcher, Policy, Workspace};
use capsule_host::supervisor::{Ask, Gate, Limits, Owner, Principal, Registry, SpawnRequest};

/// Starts commands as `L` does, less favoured by the scheduler.
#[derive(Debug)]
struct Nice<L> {
    inner: L,
    /// From 1 to 19; 19 is the lowest priority.
    adjustment: u8,
}

impl<L: Launcher> Launcher for Nice<L> {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        // `nice` executes the command in its own place: the pid, the signals and the exit are the command's.
        let mut args = vec!["-n".into(), self.adjustment.to_string(), launch.cmd().into()];
        args.extend_from_slice(launch.args());
        let env = launch.env().to_vec();
        self.inner.launch(launch.run_by("nice".into(), args, env))
    }

    // The rest is the inner launcher's: `nice` changes nothing about it.

    fn prepare(&self) {
        self.inner.prepare();
    }

    fn supports_persistent(&self) -> bool {
        self.inner.supports_persistent()
    }

    fn injects(&self) -> bool {
        self.inner.injects()
    }

    fn enforcements(&self) -> Enforcements {
        self.inner.enforcements()
    }
}

/// The person who typed the command allows it.
struct Allow;

impl Gate for Allow {
    fn allows(&mut self, _ask: Ask<'_>) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let request = SpawnRequest {
        cmd: arguments.next().ok_or("name a command")?,
        args: arguments.collect(),
        ..SpawnRequest::default()
    };

    let launcher = Nice {
        inner: Confined::new(Policy::new())?,
        adjustment: 5,
    };
    let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default())?;
    let owner = Owner {
        principal: Principal::Named("alice".into()),
        capsule: "terminal".into(),
    };
    let scope = registry.scope(owner);
    let output = scope.spawn(request, &Workspace::open(".")?, &mut Allow).await?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{:?}", output.exit);

    registry.shutdown().await;
    Ok(())
}
