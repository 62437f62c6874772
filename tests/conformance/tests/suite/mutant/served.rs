//! The data of a store, and what the interfaces are served from.

use std::sync::Arc;

use capsule_host::{CapsuleCtx, CapsuleCtxView};
use wasmtime::component::{HasData, ResourceTable};

use super::hooks::Hooks;
use super::shared::Shared;

/// The data of a store.
pub(super) struct State {
    pub(super) capsule: CapsuleCtx,
    /// That of version 1.0.0 of `astrid:process`.
    pub(super) older: CapsuleCtx,
    pub(super) table: ResourceTable,
    pub(super) hooks: Hooks,
    pub(super) shared: Arc<Shared>,
}

impl State {
    pub(super) fn served(&mut self) -> Served<'_> {
        Served {
            host: CapsuleCtxView {
                ctx: &mut self.capsule,
                table: &mut self.table,
                hooks: &mut self.hooks,
            },
            shared: &self.shared,
        }
    }

    pub(super) fn older(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.older,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// What the interfaces are served from: the adapter, and what is changed of it.
pub(super) struct Served<'a> {
    pub(super) host: CapsuleCtxView<'a>,
    pub(super) shared: &'a Shared,
}

impl Served<'_> {
    pub(super) fn is(&self, change: &str) -> bool {
        self.shared.is(change)
    }
}

/// Names, for a linker, what is served.
pub(super) struct Changed;

impl HasData for Changed {
    type Data<'a> = Served<'a>;
}
