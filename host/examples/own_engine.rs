//! Serves `astrid:process` to components in an engine, a linker and a store of the embedder's own, beside WASI.
//!
//! `cargo run -p capsule-host --example own_engine -- dev_server.wasm start get stop`, in the folder that is to be the
//! workspace. The feature `component` is enough for all of this; the feature `runtime` is asked for because it has wasmtime's
//! compiler and WASI.
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;

use capsule_host::sandbox::{Confined, Policy, Workspace};
use capsule_host::supervisor::{Ask, Limits, Owner, Principal, Registry};
use capsule_host::{CapsuleCtx, CapsuleCtxView, CapsuleHooks, CapsuleView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What the component exports. A crate elsewhere has a copy of the folder `wit`.
mod entry {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "capsule:worlds/entry",
        exports: { default: async },
    });
}

/// Lets guests run `python3`, also beyond the end of the instance, and nothing else.
struct Hooks;

impl CapsuleHooks for Hooks {
    fn authorize(&mut self, _owner: &Owner, ask: Ask<'_>) -> bool {
        match ask {
            Ask::Process | Ask::Persistent => true,
            Ask::Command(command) => command.cmd == "python3",
            _ => false,
        }
    }
}

/// What a store holds.
struct Instance {
    capsule: CapsuleCtx,
    hooks: Hooks,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl CapsuleView for Instance {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.capsule,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

impl WasiView for Instance {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("name a component, then its actions")?;

    // Once: the registry owns all processes, the linker knows all interfaces.
    let launcher = Confined::new(Policy::new())?;
    let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default())?;
    let workspace = Workspace::open(".")?;
    let engine = Engine::default();
    let mut linker = Linker::<Instance>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    capsule_host::add_to_linker_async(&mut linker)?;
    let entry = entry::EntryPre::new(linker.instantiate_pre(&Component::from_file(&engine, file)?)?)?;

    // For every call a fresh instance: on whose behalf, of which capsule, in which folder.
    for action in arguments {
        let owner = Owner {
            principal: Principal::Named("alice".into()),
            capsule: "dev-server".into(),
        };
        let instance = Instance {
            capsule: CapsuleCtx::builder(&registry, owner, workspace.clone()).build(),
            hooks: Hooks,
            wasi: WasiCtx::default(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&engine, instance);
        let guest = entry.instantiate_async(&mut store).await?;
        let result = guest.call_astrid_hook_trigger(&mut store, &action, &[]).await?;
        println!("{action}: {} {}", result.action, result.data.unwrap_or_default());
    }

    // Nothing that was started is left running.
    registry.shutdown().await;
    Ok(())
}
