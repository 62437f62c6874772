//! The engine and its limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::denials::Denials;
use super::error::{BuildError, describe};
use super::shares::Shares;
use super::state::State;
use super::ticker::Ticker;
use crate::audit::AuditSink;
use crate::bus::Messaging;
use crate::keyvalue::Store;
use crate::locks::{LockLimits, Locks};
use crate::wit::{self, Denial};
use capsule_supervisor::{Owner, Registry};

/// The most core modules, linear memories and tables of one component. A component built with the SDK has four, one and
/// two. The rest is for composed components and for language runtimes that link many modules. Only memories have a
/// cost, which is address space.
const CORE_INSTANCES: u32 = 64;
const MEMORIES: u32 = 4;
const TABLES: u32 = 16;

/// How many bytes of a table are cleared by writing zeros for the next instance. The rest is returned to the system,
/// which then has to provide it again page by page. This is as much as a small capsule touches.
///
/// No part of a memory is kept. Only its beginning could be kept, and most guests have the far end of a stack there,
/// which they never touch. `pagemap_scan` is not used, although an instance would cost a quarter less. By its source,
/// wasmtime 48 takes a page that was swapped out for a page that was never touched, so the next guest could read the
/// data of another principal's guest.
const KEPT_TABLE: usize = 16 << 10;

/// An engine with limits, from which capsules are loaded. Cloning is cheap and shares it.
///
/// Dropping the last clone, and the last [`Capsule`](super::Capsule) loaded from it, ends its one thread. It owns no
/// process; the registry does.
#[derive(Clone)]
pub struct Runtime(pub(super) Arc<Shared>);

/// The state that all clones share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    pub(super) registry: Registry,
    pub(super) audit: Option<Arc<dyn AuditSink>>,
    pub(super) denials: Option<Arc<Denials>>,
    pub(super) limits: CallLimits,
    pub(super) messaging: Messaging,
    pub(super) store: Option<Store>,
    pub(super) locks: Locks,
    pub(super) slots: Arc<Semaphore>,
    /// The part of the slots that each principal may have.
    pub(super) shares: Arc<Shares>,
    /// The part of the slots that interceptors may take together, so that calls always find a slot.
    pub(super) for_interceptors: Arc<Semaphore>,
    pub(super) background: Arc<Semaphore>,
    pub(super) max_background: u32,
    pub(super) ticker: Ticker,
    /// Without symbolic links.
    pub(super) cache_dir: Option<PathBuf>,
}

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    pub(super) guest_time: Duration,
    pub(super) call_time: Option<Duration>,
    pub(super) guest_memory: usize,
    pub(super) hostcall_memory: usize,
    pub(super) max_resources: usize,
}

impl Runtime {
    /// Same as [`RuntimeBuilder::new`].
    #[must_use]
    pub fn builder(registry: Registry) -> RuntimeBuilder {
        RuntimeBuilder::new(registry)
    }

    /// The messaging between the capsules, for an embedder that publishes or subscribes itself.
    #[must_use]
    pub fn messaging(&self) -> &Messaging {
        &self.0.messaging
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Runtime`].
pub struct RuntimeBuilder {
    registry: Registry,
    audit: Option<Arc<dyn AuditSink>>,
    denials: Option<Arc<Denials>>,
    cache_dir: Option<PathBuf>,
    limits: CallLimits,
    max_instances: u32,
    instances_per_principal: Option<u32>,
    max_background: u32,
    messaging: Option<Messaging>,
    store: Option<Store>,
    locks: Option<Locks>,
}

impl RuntimeBuilder {
    /// A builder of a runtime whose capsules start their processes in `registry`. The defaults:
    ///
    /// | | | because |
    /// |---|---|---|
    /// | [`guest_time`](Self::guest_time) | 10 s | an action starts, reads and decides; it does not compute for long |
    /// | [`call_time`](Self::call_time) | 10 min | a call that waits keeps a place; longer work belongs in a persistent process |
    /// | [`guest_memory`](Self::guest_memory) | 256 MiB | a `spawn` may return 96 MiB: 16 MiB for each stream, which may triple when it becomes text |
    /// | [`hostcall_memory`](Self::hostcall_memory) | 64 MiB | the largest legal request has 16 MiB of files; up to this limit a larger one is answered with `too-large` |
    /// | [`max_resources`](Self::max_resources) | 4,096 | several times 256 pollables with their handles |
    /// | [`max_instances`](Self::max_instances) | 64 | each reserves 16 GiB of address space, and no memory |
    /// | [`instances_per_principal`](Self::instances_per_principal) | a quarter of those | only four principals together can use all places |
    /// | [`max_background`](Self::max_background) | 16 | each reserves as much; they are few, and keep their places |
    /// | [`messaging`](Self::messaging) | one of its own | within this process, with the default limits |
    /// | [`locks`](Self::locks) | some of its own | within this process, with the default limits |
    /// | [`store`](Self::store) | none | the embedder decides where values are kept |
    /// | [`audit`](Self::audit) | none | the embedder decides where records are kept |
    /// | [`cache_dir`](Self::cache_dir) | none | the embedder decides where compiled code is kept |
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self {
            registry,
            audit: None,
            denials: None,
            cache_dir: None,
            limits: CallLimits {
                guest_time: Duration::from_secs(10),
                call_time: Some(Duration::from_secs(600)),
                guest_memory: 256 << 20,
                hostcall_memory: 64 << 20,
                max_resources: 4096,
            },
            max_instances: 64,
            instances_per_principal: None,
            max_background: 16,
            messaging: None,
            store: None,
            locks: None,
        }
    }

    /// The folder in which compiled code is kept, so that loading a component again, in this process or another, need
    /// not compile it. If the folder does not exist, it is made with access for its owner only. Files in the folder run
    /// as native code without a check, so no other user may have write access to it. With `None`, every load compiles.
    #[must_use]
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache_dir = dir;
        self
    }

    /// The sink for the record of every call of a guest (contract U1). `None` records nothing.
    ///
    /// All instances share the sink. The embedder must finish it when no call is in flight.
    #[must_use]
    pub fn audit(mut self, sink: Option<Arc<dyn AuditSink>>) -> Self {
        self.audit = sink;
        self
    }

    /// A function that is told why a call of a guest was refused, in more words than the guest gets: what was not granted, the
    /// field or the limit. So a user learns which grant is missing. It is called at most 4 times a second for each owner, and 16
    /// times at once; the number is that of the owner's denials that were left out before this one. It must not block.
    ///
    /// By default nothing is told. The records of the [`audit`](Self::audit) hold every denial.
    #[must_use]
    pub fn on_denial(mut self, tell: impl Fn(&Owner, &Denial, u64) + Send + Sync + 'static) -> Self {
        self.denials = Some(Arc::new(Denials::new(Box::new(tell))));
        self
    }

    /// How long a guest may compute in one call. Time in host calls, such as a wait for a process, does not count, and
    /// neither does the time in which other tasks have the thread. A guest that exceeds the limit is ended within 20
    /// ms, if a thread is free to run it.
    #[must_use]
    pub const fn guest_time(mut self, time: Duration) -> Self {
        self.limits.guest_time = time;
        self
    }

    /// How long a call may take by the clock, from the time when it has its place. This includes computing, and waits
    /// in host calls such as `sleep-ns`, `poll` and `wait`, which [`guest_time`](Self::guest_time) does not count. A
    /// call that exceeds the limit is ended with [`CallError::CallTime`](super::CallError::CallTime), as if its future
    /// were dropped, and its place is free. The limit also holds for the instances that messages start, but not for a
    /// background `run`. With `None` a call may wait for ever.
    #[must_use]
    pub const fn call_time(mut self, time: Option<Duration>) -> Self {
        self.limits.call_time = time;
        self
    }

    /// How many bytes all linear memories of an instance may have together. A request of a guest for more is refused,
    /// and most guests end because of that.
    #[must_use]
    pub const fn guest_memory(mut self, bytes: usize) -> Self {
        self.limits.guest_memory = bytes;
        self
    }

    /// How many bytes a guest may pass to the host in one call of a host function, or as its result. A guest that
    /// passes more is ended.
    #[must_use]
    pub const fn hostcall_memory(mut self, bytes: usize) -> Self {
        self.limits.hostcall_memory = bytes;
        self
    }

    /// How many resources (handles, pollables, streams) an instance may have at once. A guest that makes more is ended.
    #[must_use]
    pub const fn max_resources(mut self, count: usize) -> Self {
        self.limits.max_resources = count;
        self
    }

    /// How many calls may run at once, over all capsules of the runtime. Further calls wait for their turn. A call that
    /// waits in a host call counts, and so do the instances that messages start, which take at most half of the places.
    #[must_use]
    pub const fn max_instances(mut self, count: u32) -> Self {
        self.max_instances = count;
        self
    }

    /// How many of [`max_instances`](Self::max_instances) one principal may have at once, over all capsules of the
    /// runtime, for its calls and for the instances that its messages start. Further ones wait for their turn, and do
    /// not delay those of other principals. All calls for [`Principal::Anonymous`](capsule_supervisor::Principal) have
    /// one share.
    ///
    /// `None` is a quarter of all, rounded up. An embedder with a single principal gives it all of them.
    #[must_use]
    pub const fn instances_per_principal(mut self, count: Option<u32>) -> Self {
        self.instances_per_principal = count;
        self
    }

    /// How many capsules may have a background `run`. They are not counted in [`max_instances`](Self::max_instances),
    /// because they keep their places for as long as they are loaded.
    #[must_use]
    pub const fn max_background(mut self, count: u32) -> Self {
        self.max_background = count;
        self
    }

    /// The messaging for messages between the capsules and for lifecycle events. Several runtimes may share one.
    #[must_use]
    pub fn messaging(mut self, messaging: Messaging) -> Self {
        self.messaging = Some(messaging);
        self
    }

    /// The store in which capsules keep entries by `capsule:store`. Several runtimes may share one. With `None`, the guest gets
    /// `unavailable`. A capsule whose workspace contains the store's folder, or lies in it, is not loaded.
    #[must_use]
    pub fn store(mut self, store: Option<Store>) -> Self {
        self.store = store;
        self
    }

    /// The locks that instances take by `capsule:sync`. Runtimes whose capsules start processes in one registry should share them, so
    /// that their instances exclude each other.
    #[must_use]
    pub fn locks(mut self, locks: Locks) -> Self {
        self.locks = Some(locks);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// [`BuildError`]: a limit of zero, a cache folder that cannot be used, or an engine for which the system has no
    /// room.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let Self {
            registry,
            audit,
            denials,
            cache_dir,
            limits,
            max_instances,
            instances_per_principal,
            max_background,
            messaging,
            store,
            locks,
        } = self;
        let instances_per_principal = instances_per_principal.unwrap_or(max_instances.div_ceil(4));
        if max_instances == 0
            || instances_per_principal == 0
            || limits.guest_time.is_zero()
            || limits.call_time.is_some_and(|time| time.is_zero())
            || limits.guest_memory == 0
            || limits.max_resources == 0
        {
            return Err(BuildError::Zero);
        }
        let (cache, cache_dir) = cache_dir.as_deref().map(cache).transpose()?.unzip();
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .cache(cache)
            // An eighth of a component's code on disk, which each start of a command reads and unpacks. Only a backtrace with places
            // in the guest would need the first, and only a debugger the second; an error of this runtime has neither.
            .generate_address_map(false)
            .native_unwind_info(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
                max_instances.saturating_add(max_background),
            )));
        let engine = Engine::new(&config).map_err(|error| BuildError::Engine(describe(&error)))?;
        let linker = linker(&engine).map_err(|error| BuildError::Engine(describe(&error)))?;
        let ticker = Ticker::start(engine.clone()).map_err(BuildError::Thread)?;
        let places = |count: u32| {
            Arc::new(Semaphore::new(
                usize::try_from(count)
                    .unwrap_or(Semaphore::MAX_PERMITS)
                    .min(Semaphore::MAX_PERMITS),
            ))
        };
        let messaging = messaging.unwrap_or_else(|| Messaging::new(&registry));
        Ok(Runtime(Arc::new(Shared {
            engine,
            linker,
            registry,
            audit,
            denials,
            limits,
            messaging,
            store,
            locks: locks.unwrap_or_else(|| Locks::new(LockLimits::default())),
            slots: places(max_instances),
            shares: Shares::new(instances_per_principal),
            for_interceptors: places(max_instances.div_ceil(2)),
            background: places(max_background),
            max_background,
            ticker,
            cache_dir,
        })))
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registry: _,
            audit: _,
            denials: _,
            cache_dir,
            limits,
            max_instances,
            instances_per_principal,
            max_background,
            messaging: _,
            store,
            locks: _,
        } = self;
        f.debug_struct("RuntimeBuilder")
            .field("cache_dir", cache_dir)
            .field("limits", limits)
            .field("max_instances", max_instances)
            .field("instances_per_principal", instances_per_principal)
            .field("max_background", max_background)
            .field("store", store)
            .finish_non_exhaustive()
    }
}

/// A pool in which every call with a slot has enough room: the totals are the slots times the maxima of a component.
fn pool(max_instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        .total_stacks(max_instances)
        .total_core_instances(max_instances.saturating_mul(CORE_INSTANCES))
        .total_memories(max_instances.saturating_mul(MEMORIES))
        .total_tables(max_instances.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_keep_resident(KEPT_TABLE);
    pool
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wit::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

fn cache(dir: &Path) -> Result<(Cache, PathBuf), BuildError> {
    use std::os::unix::fs::DirBuilderExt;

    let failed = |reason: String| BuildError::Cache {
        dir: dir.to_owned(),
        reason,
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    let dir = made
        .and_then(|()| dir.canonicalize())
        .map_err(|error| failed(error.to_string()))?;
    let mut config = CacheConfig::new();
    config
        .with_directory(&dir)
        // A file that was used 256 times would be compressed once more, for a fifth of a second on a thread that is not waited for.
        // A command of some milliseconds never completes that: each of its runs tries it, and leaves a file behind. What it saves
        // is a little room.
        .with_optimized_compression_usage_counter_threshold(u64::MAX);
    let cache = Cache::new(config).map_err(|error| failed(describe(&error)))?;
    Ok((cache, dir))
}
