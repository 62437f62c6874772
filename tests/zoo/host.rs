//! A host in a process of its own, for the containment tests: the test kills it, or it is in a state that would disturb
//! other tests.
//!
//! `zoo-host MARKER WORKSPACE MODE CMD ARG…`, in a session of its own. MODE is `run` (run the command to its end, then
//! print its output and its exit) or `hold` (print `spawning` and `spawned`, shut down when it reads `shutdown`, and
//! run on otherwise). These variables configure it: `ZOO_PIDS` limits the processes of the tree, `ZOO_DESCRIPTORS`
//! opens 3 to 40 for all programs to inherit, `ZOO_BALLAST` holds so many MiB, `ZOO_CGROUP` names the control group in
//! which it makes groups, `ZOO_VISIBLE` names what is visible besides the system, `ZOO_USERS` is the first of 64 users
//! to lend, `ZOO_NETWORK` shares the host's network, and `ZOO_MACHINE` gives the command a virtual machine.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::Arc;

use capsule_host::sandbox::{Confined, Launcher, Network, Policy, ResourceLimits, Workspace};
use capsule_host::supervisor::{FileInjection, Limits, Owner, Placement, Principal, Registry, SpawnRequest};
use capsule_tests::AllowAll;
use capsule_tests::machine::Machine;

fn say(line: &str) {
    // The test that reads this may be gone. Then no reader needs it.
    drop(io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}

fn main() -> Result<(), Box<dyn Error>> {
    rustix::process::setsid()?;
    let mut args = std::env::args().skip(2);
    let mut next = || args.next().ok_or("an argument is missing");
    let (workspace, mode, cmd) = (Workspace::open(next()?)?, next()?, next()?);
    // A host that will be killed also has an injected file.
    let machine = std::env::var_os("ZOO_MACHINE").is_some();
    let file_injections = if mode == "hold" && !machine {
        injections()
    } else {
        Vec::new()
    };
    let request = SpawnRequest {
        file_injections,
        limits: pids()?,
        cmd,
        args: args.collect(),
        ..SpawnRequest::default()
    };
    if std::env::var_os("ZOO_DESCRIPTORS").is_some() {
        open_descriptors()?;
    }
    let ballast = std::env::var("ZOO_BALLAST").map_or(Ok(0), |mib| mib.parse::<usize>())?;
    let ballast = vec![1_u8; ballast << 20];

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut policy = match std::env::var_os("ZOO_CGROUP") {
        Some(group) => Policy::new().cgroup(group),
        None => Policy::new(),
    };
    if std::env::var_os("ZOO_NETWORK").is_some() {
        policy = policy.network(Network::Host);
    }
    if let Ok(visible) = std::env::var("ZOO_VISIBLE") {
        policy = policy.show(&visible.parse()?);
    }
    let policy = match std::env::var("ZOO_USERS") {
        Ok(first) => policy.users(first.parse()?, 64),
        Err(_) => policy,
    };
    let launcher: Arc<dyn Launcher> = if machine {
        Arc::new(Machine::new()?.ok_or("CAPSULE_MACHINE names no machine")?)
    } else {
        Arc::new(Confined::new(policy)?)
    };
    let limits = Limits::default();
    let registry = Registry::new(runtime.handle().clone(), launcher, limits)?;
    let scope = registry.scope(Owner {
        principal: Principal::Named("alice".into()),
        capsule: "zoo".into(),
    });
    if mode == "run" {
        return runtime.block_on(async {
            let id = scope.spawn_persistent(request, &workspace, &mut AllowAll).await?;
            let id = id.expose();
            let exit = scope.wait(id, limits_wait()).await?;
            let info = scope.status(id)?;
            let logs = scope.read_logs(id)?;
            say(&format!("peak {}", info.mem_bytes_peak.unwrap_or_default()));
            say(&format!("exit {:?} {:?}", exit.exit_code, exit.signal));
            say(&logs.stdout);
            drop(io::stderr().lock().write_all(logs.stderr.as_bytes()));
            drop(ballast);
            Ok(())
        });
    }
    say("spawning");
    runtime.block_on(async {
        scope
            .spawn_persistent(request, &workspace, &mut AllowAll)
            .await
            .map_err(|error| {
                say(&format!("not spawned: {error}"));
                error
            })
    })?;
    say("spawned");
    for line in io::stdin().lock().lines() {
        if line? == "shutdown" {
            say("shutting down");
            runtime.block_on(registry.shutdown());
            say("down");
        }
    }
    Ok(())
}

fn pids() -> Result<Option<ResourceLimits>, Box<dyn Error>> {
    let Some(pids) = std::env::var_os("ZOO_PIDS") else {
        return Ok(None);
    };
    let pids = pids.to_string_lossy().parse()?;
    Ok(Some(ResourceLimits {
        max_pids: Some(pids),
        ..ResourceLimits::default()
    }))
}

fn injections() -> Vec<FileInjection> {
    let pointer = Placement::EnvPointer("ZOO_INJECTED".into());
    let path = Placement::FixedPath("/tmp/.zoo/injected".into());
    [pointer, path]
        .map(|placement| FileInjection::new(vec![1; 4096], placement))
        .into()
}

fn limits_wait() -> std::time::Duration {
    Limits::default().wait_max
}

/// Opens 3 to 40, so that programs inherit them.
fn open_descriptors() -> Result<(), Box<dyn Error>> {
    let null = std::fs::File::open("/dev/null")?;
    loop {
        let copy = rustix::io::dup(&null)?;
        rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty())?;
        if copy.as_raw_fd() > 40 {
            return Ok(());
        }
        // Open as long as this process runs.
        let _: i32 = copy.into_raw_fd();
    }
}
