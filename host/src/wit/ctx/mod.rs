//! The data in a store for this crate's interfaces.
//!
//! The state with which a guest can act (its scope in the registry, the bus, its configuration) is private to this module and to
//! [`call`], below it. The files that implement the interfaces can reach it only through a [`call::Call`], which leaves a record.
//! The other fields and the methods of [`CapsuleCtx`] can be used without leaving a record.

pub(super) mod call;

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;
use tracing::Level;
use wasmtime::component::ResourceTable;

use super::error::Unloaded;
use super::hooks::CapsuleHooks;
use crate::bus::{Messaging, Pattern};
use crate::keyvalue::Store;
use crate::locks::Locks;
use capsule_supervisor::sandbox::Workspace;
use capsule_supervisor::{Owner, Principal, Registry, Scope};

/// The state of one instance of a capsule for this crate's interfaces: its owner, its workspace, its configuration.
///
/// It owns no process. Dropping it ends no persistent process. A call in flight is dropped with its store.
pub struct CapsuleCtx {
    state: State,
    unload: CancellationToken,
    pub(super) capabilities: Vec<String>,
    pub(super) source_id: String,
    pub(super) called_at: SystemTime,
}

/// The state that a recorded call uses.
pub(super) struct State {
    pub(super) scope: Scope,
    pub(super) workspace: Workspace,
    pub(super) config: BTreeMap<String, String>,
    pub(super) ready: bool,
    pub(super) on_ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    pub(super) bus: Option<Messaging>,
    pub(super) store: Option<Store>,
    pub(super) locks: Option<Locks>,
    pub(super) depth: u8,
    pub(super) interceptors: Vec<(Pattern, String)>,
}

impl CapsuleCtx {
    /// Same as [`CapsuleCtxBuilder::new`].
    #[must_use]
    pub fn builder(registry: &Registry, owner: Owner, workspace: Workspace) -> CapsuleCtxBuilder {
        CapsuleCtxBuilder::new(registry, owner, workspace)
    }

    /// Whether the guest has called `signal-ready`.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.state.ready
    }

    /// Waits until `wait` ends or the capsule is unloaded, whichever is first. After an unload, `wait` is not polled.
    pub(super) async fn until_unload<F: Future>(&self, wait: F) -> Result<F::Output, Unloaded> {
        self.unload.run_until_cancelled(wait).await.ok_or(Unloaded)
    }

    /// The owner on whose behalf the instance runs.
    pub(super) fn principal(&self) -> &Principal {
        &self.state.scope.owner().principal
    }

    /// Writes to the log of guests, which limits the owner's rate.
    pub(super) fn log(&self, level: Level, message: &str) {
        let scope = &self.state.scope;
        scope.guest_log().line(scope.owner(), level, None, message);
    }
}

impl fmt::Debug for CapsuleCtx {
    /// Shows the owner only, because the configuration may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapsuleCtx")
            .field("capsule", &self.state.scope.owner().capsule)
            .finish_non_exhaustive()
    }
}

/// Makes a [`CapsuleCtx`].
pub struct CapsuleCtxBuilder(CapsuleCtx);

impl CapsuleCtxBuilder {
    /// A context in which `owner` acts on its own processes in `registry` and spawns in `workspace`. The defaults are:
    ///
    /// - it cannot be unloaded,
    /// - it claims no capabilities,
    /// - its configuration is empty,
    /// - it has no bus, so `astrid:ipc` returns `unknown("no-bus: …")`,
    /// - it has no store and no locks, so `capsule:store` and `capsule:sync` return `unavailable`,
    /// - the source of the call is `"host"`, and no message caused it,
    /// - the call is made now.
    ///
    /// The [`CapsuleHooks`] of the view, and not this context, decide what the capsule may do.
    #[must_use]
    pub fn new(registry: &Registry, owner: Owner, workspace: Workspace) -> Self {
        Self(CapsuleCtx {
            state: State {
                scope: registry.scope(owner),
                workspace,
                config: BTreeMap::new(),
                ready: false,
                on_ready: None,
                bus: None,
                store: None,
                locks: None,
                depth: 0,
                interceptors: Vec::new(),
            },
            unload: CancellationToken::new(),
            capabilities: Vec::new(),
            source_id: "host".into(),
            called_at: SystemTime::now(),
        })
    }

    /// The token that unloads the capsule. When it is cancelled, every call that waits returns `cancelled`, and so does
    /// every later call that would wait.
    #[must_use]
    pub fn unload(mut self, token: CancellationToken) -> Self {
        self.0.unload = token;
        self
    }

    /// What `enumerate-capabilities` returns, in this order. It informs only: the [`CapsuleHooks`] decide what is
    /// allowed, and the embedder must keep the two consistent. The names in use are `process`, `process:cmd:<exact
    /// spelling>`, `process:persistent` and `process:network`.
    #[must_use]
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// The values that `get-config` returns. Keys that begin with `_` are the host's own. A guest that asks for one
    /// gets `config-key-reserved`.
    #[must_use]
    pub fn config(mut self, config: BTreeMap<String, String>) -> Self {
        self.0.state.config = config;
        self
    }

    /// The source of the call, as `get-caller` reports it.
    #[must_use]
    pub fn source_id(mut self, id: impl Into<String>) -> Self {
        self.0.source_id = id.into();
        self
    }

    /// The bus for `astrid:ipc`.
    #[must_use]
    pub fn bus(mut self, bus: Messaging) -> Self {
        self.0.state.bus = Some(bus);
        self
    }

    /// The store for `capsule:store`, in which the owner has entries of its own.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.0.state.store = Some(store);
        self
    }

    /// The locks for `capsule:sync`. Instances exclude each other if they have the same ones.
    #[must_use]
    pub fn locks(mut self, locks: Locks) -> Self {
        self.0.state.locks = Some(locks);
        self
    }

    /// The number of messages that led to this call, each by starting an interceptor that published the next one.
    /// Messages that the call publishes have that number; see
    /// [`BusLimits::depth_max`](crate::bus::BusLimits::depth_max).
    #[must_use]
    pub const fn depth(mut self, depth: u8) -> Self {
        self.0.state.depth = depth;
        self
    }

    /// What `get-interceptor-bindings` returns: the pattern and the action of each interceptor, numbered from 1.
    #[must_use]
    pub fn interceptors(mut self, bindings: impl IntoIterator<Item = (Pattern, String)>) -> Self {
        self.0.state.interceptors = bindings.into_iter().collect();
        self
    }

    /// A function that is called once, when the guest first calls `signal-ready`. Must not block.
    #[must_use]
    pub fn on_ready(mut self, tell: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.0.state.on_ready = Some(Box::new(tell));
        self
    }

    /// The time of the call, as `get-caller` reports it.
    #[must_use]
    pub const fn called_at(mut self, time: SystemTime) -> Self {
        self.0.called_at = time;
        self
    }

    /// Makes the context.
    #[must_use]
    pub fn build(self) -> CapsuleCtx {
        self.0
    }
}

impl fmt::Debug for CapsuleCtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapsuleCtxBuilder").field(&self.0).finish()
    }
}

/// The values that this crate's interfaces use, borrowed from the store's data for one call.
pub struct CapsuleCtxView<'a> {
    /// The state of this instance.
    pub ctx: &'a mut CapsuleCtx,
    /// The store's table of resources, which WASI and other interfaces of the embedder share.
    pub table: &'a mut ResourceTable,
    /// The embedder's decisions and its audit.
    pub hooks: &'a mut dyn CapsuleHooks,
}

impl fmt::Debug for CapsuleCtxView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapsuleCtxView")
            .field("ctx", self.ctx)
            .finish_non_exhaustive()
    }
}

/// A trait for the data of a store whose guests use this crate's interfaces. Its method has another name than
/// `WasiView::ctx`, which the same data mostly implements too.
pub trait CapsuleView: Send {
    /// Borrows the values that a call needs.
    fn capsule(&mut self) -> CapsuleCtxView<'_>;
}

impl<T: CapsuleView + ?Sized> CapsuleView for &mut T {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        T::capsule(self)
    }
}

impl<T: CapsuleView + ?Sized> CapsuleView for Box<T> {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        T::capsule(self)
    }
}
