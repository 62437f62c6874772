//! What a store holds for our interfaces, and how the embedder has its say.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;

use crate::audit::Record;
use crate::bus::{Messaging, Pattern, Reach, Topic};
use crate::sandbox::Workspace;
use crate::supervisor::{Ask, Gate, Owner, Registry, Scope};

/// What one instance of a capsule is to our interfaces: on whose behalf it runs, where, and with what knowledge.
///
/// It owns no process. Dropping it ends no persistent one; a call in flight is dropped with its store.
pub struct ProcessCtx {
    pub(super) scope: Scope,
    pub(super) workspace: Workspace,
    pub(super) unload: CancellationToken,
    pub(super) capabilities: Vec<String>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) source_id: String,
    pub(super) called_at: SystemTime,
    pub(super) ready: bool,
    pub(super) on_ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    pub(super) bus: Option<Messaging>,
    pub(super) depth: u8,
    pub(super) interceptors: Vec<(Pattern, String)>,
}

impl ProcessCtx {
    /// Same as [`ProcessCtxBuilder::new`].
    #[must_use]
    pub fn builder(registry: &Registry, owner: Owner, workspace: Workspace) -> ProcessCtxBuilder {
        ProcessCtxBuilder::new(registry, owner, workspace)
    }

    /// Whether the guest has called `signal-ready`.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Runs a call that waits until it ends or the capsule is unloaded, whichever is first; `None` is the latter, also
    /// for a call that comes later.
    pub(super) async fn until_unload<F: Future>(&self, call: F) -> Option<F::Output> {
        self.unload.run_until_cancelled(call).await
    }
}

impl fmt::Debug for ProcessCtx {
    /// Names the owner only: the configuration may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCtx")
            .field("capsule", &self.scope.owner().capsule)
            .finish_non_exhaustive()
    }
}

/// Makes a [`ProcessCtx`].
pub struct ProcessCtxBuilder(ProcessCtx);

impl ProcessCtxBuilder {
    /// A context in which `owner` acts on its own processes in `registry` and spawns in `workspace`. Until told
    /// otherwise:
    ///
    /// - nothing unloads it,
    /// - it claims no capabilities,
    /// - its configuration is empty,
    /// - there is no bus, so `astrid:ipc` answers `unknown("no-bus: …")`,
    /// - what caused the call is `"host"`, and no message,
    /// - the call was made now.
    ///
    /// What it may do is not said here but by the [`ProcessHooks`] of the view.
    #[must_use]
    pub fn new(registry: &Registry, owner: Owner, workspace: Workspace) -> Self {
        Self(ProcessCtx {
            scope: registry.scope(owner),
            workspace,
            unload: CancellationToken::new(),
            capabilities: Vec::new(),
            config: BTreeMap::new(),
            source_id: "host".into(),
            called_at: SystemTime::now(),
            ready: false,
            on_ready: None,
            bus: None,
            depth: 0,
            interceptors: Vec::new(),
        })
    }

    /// Once `token` is cancelled, every call that waits answers `cancelled`, those in flight and those to come.
    #[must_use]
    pub fn unload(mut self, token: CancellationToken) -> Self {
        self.0.unload = token;
        self
    }

    /// What `enumerate-capabilities` answers, in this order. It only informs: what is allowed is what the
    /// [`ProcessHooks`] allow, and keeping the two in step is the embedder's part. The names in use here are
    /// `process`, `process:cmd:<exact spelling>`, `process:persistent` and `process:network`.
    #[must_use]
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// What `get-config` answers from. Keys that begin with `_` are the host's own; a guest that asks for one is told
    /// `config-key-reserved`.
    #[must_use]
    pub fn config(mut self, config: BTreeMap<String, String>) -> Self {
        self.0.config = config;
        self
    }

    /// What `get-caller` says caused the call.
    #[must_use]
    pub fn source_id(mut self, id: impl Into<String>) -> Self {
        self.0.source_id = id.into();
        self
    }

    /// What `astrid:ipc` works on.
    #[must_use]
    pub fn bus(mut self, bus: Messaging) -> Self {
        self.0.bus = Some(bus);
        self
    }

    /// How many messages led to this call, each by starting an interceptor that published the next. What is published
    /// in it counts as led to by as many; see [`BusLimits::depth_max`](crate::bus::BusLimits::depth_max).
    #[must_use]
    pub const fn depth(mut self, depth: u8) -> Self {
        self.0.depth = depth;
        self
    }

    /// What `get-interceptor-bindings` answers: the pattern and the action of each, numbered from 1.
    #[must_use]
    pub fn interceptors(mut self, bindings: impl IntoIterator<Item = (Pattern, String)>) -> Self {
        self.0.interceptors = bindings.into_iter().collect();
        self
    }

    /// Called once, when the guest first calls `signal-ready`. Must not block.
    #[must_use]
    pub fn on_ready(mut self, tell: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.0.on_ready = Some(Box::new(tell));
        self
    }

    /// When the call was made, for `get-caller`.
    #[must_use]
    pub const fn called_at(mut self, time: SystemTime) -> Self {
        self.0.called_at = time;
        self
    }

    /// The finished context.
    #[must_use]
    pub fn build(self) -> ProcessCtx {
        self.0
    }
}

impl fmt::Debug for ProcessCtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessCtxBuilder").field(&self.0).finish()
    }
}

/// What a capsule wants to do with a topic.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TopicAsk<'a> {
    /// Publish there, on behalf of its own principal.
    Publish(&'a Topic),
    /// Publish there on behalf of this principal, which it claims.
    PublishAs(&'a Topic, &'a str),
    /// Hear what is published on topics that match.
    Subscribe(&'a Pattern),
}

/// The embedder's say in what a capsule may do, and its ear. Every method has a default, and the defaults refuse.
pub trait ProcessHooks: Send {
    /// Whether `owner` may do what is asked. Called during a spawn, in the order of contract S4, and again for every
    /// spawn; never told env values or stdin. Must not block.
    ///
    /// The default refuses, which the guest sees as `capability-denied`.
    fn authorize(&mut self, _owner: &Owner, _ask: Ask<'_>) -> bool {
        false
    }

    /// Whether `owner` may do this with a topic. Never asked about publishing below `astrid.process`, which no owner may.
    /// Subscribing to nothing but lifecycle topics is also allowed where [`Ask::Process`] is, and then tells of the owner's
    /// own processes only: they are what it may ask `status` about, and it chose to watch them. Must not block.
    ///
    /// The default refuses, which the guest sees as `capability-denied`.
    fn authorize_topic(&mut self, _owner: &Owner, _ask: TopicAsk<'_>) -> bool {
        false
    }

    /// How far a subscription of `owner` that [`Self::authorize_topic`] allowed hears beyond what is meant for the owner.
    /// Must not block.
    ///
    /// The default is not at all.
    fn reach(&mut self, _owner: &Owner, _pattern: &Pattern) -> Reach {
        Reach::Own
    }

    /// Whether the capsule named `capsule` holds `capability`; `None` when this embedder keeps no such knowledge. Asked
    /// by `check-capsule-capability` about capsules other than the calling one. Must not block.
    ///
    /// The default is `None`, which the guest sees as `registry-unavailable`.
    fn capsule_holds(&mut self, _capsule: &str, _capability: &str) -> Option<bool> {
        None
    }

    /// Whether [`Self::audit`] is to be called: making a record costs some 0.3 µs, more than many a call does. Asked at the
    /// beginning of each call. Must not block.
    ///
    /// The default is yes, so that records which a hook takes are not lost by leaving this out.
    fn wants_audit(&self) -> bool {
        true
    }

    /// Takes the record of a call: one for each call of `astrid:process`, `astrid:ipc` and their resources, and for those of `astrid:sys` that
    /// ask for the configuration or about others, or say something (contract U1). Called when the call has its answer, or
    /// when it is given up with its instance. Must not block; a [`ChainSink`](crate::audit::ChainSink) does not.
    ///
    /// The default does nothing.
    fn audit(&mut self, _record: &Record) {}
}

/// What our interfaces work on, borrowed from the store's data for one call.
pub struct ProcessCtxView<'a> {
    /// The state of this instance.
    pub ctx: &'a mut ProcessCtx,
    /// The store's table of resources, shared with WASI and whatever else the embedder serves.
    pub table: &'a mut ResourceTable,
    /// The embedder's say.
    pub hooks: &'a mut dyn ProcessHooks,
}

impl fmt::Debug for ProcessCtxView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCtxView")
            .field("ctx", self.ctx)
            .finish_non_exhaustive()
    }
}

/// To be implemented by the data of a store whose guests use our interfaces.
pub trait ProcessView: Send {
    /// Lends what a call needs.
    fn process(&mut self) -> ProcessCtxView<'_>;
}

impl<T: ProcessView + ?Sized> ProcessView for &mut T {
    fn process(&mut self) -> ProcessCtxView<'_> {
        T::process(self)
    }
}

impl<T: ProcessView + ?Sized> ProcessView for Box<T> {
    fn process(&mut self) -> ProcessCtxView<'_> {
        T::process(self)
    }
}

impl Gate for &mut dyn ProcessHooks {
    fn allows(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        self.authorize(owner, ask)
    }
}
