//! The data of a store of the runtime: the host's state for one instance.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::hooks::Hooks;
use super::memory_limiter::MemoryLimiter;
use super::output::Output;
use super::ticker::Ticking;
use super::time_budget::TimeBudget;
use crate::wit::{CapsuleCtx, CapsuleCtxView, CapsuleView};

/// The host's state for one instance.
pub(super) struct State {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) capsule: CapsuleCtx,
    pub(super) hooks: Hooks,
    pub(super) memory: MemoryLimiter,
    pub(super) time: TimeBudget,
    pub(super) ticking: Ticking,
    pub(super) stderr: Output,
}

/// The guest's time is used up.
#[derive(Debug, thiserror::Error)]
#[error("guest time is used up")]
pub(super) struct TimeUp(pub(super) std::time::Duration);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl CapsuleView for State {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.capsule,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}
