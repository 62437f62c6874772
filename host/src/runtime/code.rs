//! Compiles a component once, and links it once.

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::bindings::EntryIndices;
use super::builder::Shared;
use super::error::{LoadError, describe};
use super::state::State;

/// The eight bytes with which every core module begins. No component begins with them.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The export that a capsule with a background function has.
const RUN: &str = "run";

/// A component, compiled and linked.
pub(super) struct Code {
    pub(super) component: InstancePre<State>,
    /// The entry point for actions, or the reason why there is none.
    pub(super) entry: Result<EntryIndices, String>,
    /// The export of `run`.
    pub(super) run: Option<ComponentExportIndex>,
}

impl Code {
    /// Compiles `component`, unless the cache has it, and links it. Compiling takes place on a thread for blocking
    /// work. If the future is dropped, the compilation continues there, and its result is discarded.
    pub(super) async fn compile(runtime: &Shared, component: &[u8]) -> Result<Self, LoadError> {
        if component.starts_with(CORE_MODULE) {
            return Err(LoadError::CoreModule);
        }
        let engine = runtime.engine.clone();
        let bytes = component.to_owned();
        let component = tokio::task::spawn_blocking(move || Component::new(&engine, bytes))
            .await
            .map_err(|error| LoadError::Host(error.to_string()))?
            .map_err(|error| LoadError::Compile(describe(&error)))?;
        let run = component.get_export_index(None, RUN);
        let component = runtime
            .linker
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Link(describe(&error)))?;
        let entry = EntryIndices::new(&component).map_err(|error| describe(&error));
        Ok(Self { component, entry, run })
    }
}
