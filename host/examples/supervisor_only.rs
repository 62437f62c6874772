//! Runs a command confined, without components: shows its output as it comes, and exits as the command did.
//!
//! `cargo run -p capsule-host --no-default-features --example supervisor_only -- sh -c 'echo one; sleep 1; echo two'`, in the
//! folder that is to be the workspace.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows its results")]

use std::process::ExitCode;
use std::sync::Arc;

use capsule_host::sandbox::{Confined, Policy, Workspace};
use capsule_host::supervisor::{Ask, Gate, Limits, Owner, Principal, Registry, SpawnRequest};

/// The person who typed the command allows it.
struct Allow;

impl Gate for Allow {
    fn allows(&mut self, _ask: Ask<'_>) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let request = SpawnRequest {
        cmd: arguments.next().ok_or("name a command")?,
        args: arguments.collect(),
        ..SpawnRequest::default()
    };

    let launcher = Confined::new(Policy::new())?;
    let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default())?;
    let owner = Owner {
        principal: Principal::Named("alice".into()),
        capsule: "terminal".into(),
    };
    let scope = registry.scope(owner);
    // Dropping the handle, as an early return does, ends the command and everything that it started.
    let handle = scope
        .spawn_background(request, &Workspace::open(".")?, &mut Allow)
        .await?;

    let changed = handle.logs_ready();
    let exit = loop {
        // Ready at the exit too, which is visible only once all output can be read.
        changed.ready().await;
        let logs = handle.read_logs()?;
        print!("{}", logs.stdout);
        eprint!("{}", logs.stderr);
        if let Some(exit) = logs.exit {
            break exit;
        }
    };

    registry.shutdown().await;
    // 128 and the number of the signal, as shells have it.
    let code = exit.exit_code.unwrap_or_else(|| 128 + exit.signal.unwrap_or_default());
    Ok(u8::try_from(code)?.into())
}
