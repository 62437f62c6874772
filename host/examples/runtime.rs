//! Loads a capsule and calls its actions, with the engine that the feature `runtime` brings.
//!
//! Run this in the folder that is to be the workspace:
//! `cargo run -p capsule-host --example runtime -- dev_server.wasm start get stop`.
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;

use capsule_host::runtime::{Grants, LoadOptions, Runtime};
use capsule_host::sandbox::{Confined, Policy, Workspace};
use capsule_host::supervisor::{Limits, Principal, Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let component = std::fs::read(arguments.next().ok_or("name a component, then its actions")?)?;

    // Owns the processes: they belong to the registry, and not to the instances that started them.
    let launcher = Confined::new(Policy::new())?;
    let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default())?;

    // Runs the calls. A command that is not granted is refused.
    let runtime = Runtime::builder(registry.clone()).build()?;
    let grants = Grants {
        commands: vec!["python3".into()],
        persistent: true,
        ..Grants::default()
    };
    let options = LoadOptions {
        grants,
        ..LoadOptions::new("dev-server", Workspace::open(".")?)
    };
    let capsule = runtime.load(options, &component).await?;

    // Each call has an instance of its own.
    for action in arguments {
        let alice = Principal::Named("alice".into());
        let result = capsule.call(alice, &action, Vec::new()).await?;
        println!("{action}: {} {}", result.action, result.data.unwrap_or_default());
    }

    // Ends every process that the calls started.
    registry.shutdown().await;
    Ok(())
}
