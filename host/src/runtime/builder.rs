//! The engine and its limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::error::{BuildError, describe};
use super::shares::Shares;
use super::state::State;
use super::ticker::Ticker;
use crate::audit::AuditSink;
use crate::bus::Messaging;
use crate::wit;
use capsule_supervisor::Registry;

/// Core modules, linear memories and tables that one component may be made of. What the SDK builds has four, one and
/// two; these leave room for composed components and for language runtimes that link many modules. Only memories cost
/// something: address space.
const CORE_INSTANCES: u32 = 64;
const MEMORIES: u32 = 4;
const TABLES: u32 = 16;

/// How much of a table is cleared by writing zeros for the next instance instead of being given back to the system, which
/// then has to hand it out again page by page. What a small capsule touches; more is given back.
///
/// Nothing of a memory: what can be kept is its beginning, and there most guests have the far end of a stack, never touched.
/// And not by `pagemap_scan`, though an instance would cost a quarter less: by its source, wasmtime 48 takes a page that was
/// swapped out for one that was never touched, and the next guest, of whomever, would read it.
const KEPT_TABLE: usize = 16 << 10;

/// An engine with limits, from which capsules are loaded. Cloning is cheap and shares it.
///
/// Dropping the last clone, and the last [`Capsule`](super::Capsule) loaded from it, ends its one thread. It owns no
/// process; that is the registry's affair.
#[derive(Clone)]
pub struct Runtime(pub(super) Arc<Shared>);

/// The state that all clones share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    pub(super) registry: Registry,
    pub(super) audit: Option<Arc<dyn AuditSink>>,
    pub(super) limits: CallLimits,
    pub(super) messaging: Messaging,
    pub(super) slots: Arc<Semaphore>,
    /// The part of the slots that each principal may have.
    pub(super) shares: Arc<Shares>,
    /// The part of the slots that interceptors may take together, so that calls always find one.
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

    /// What carries messages between the capsules; for an embedder that takes part in it.
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
    cache_dir: Option<PathBuf>,
    limits: CallLimits,
    max_instances: u32,
    instances_per_principal: Option<u32>,
    max_background: u32,
    messaging: Option<Messaging>,
}

impl RuntimeBuilder {
    /// A runtime whose capsules start their processes in `registry`. The defaults:
    ///
    /// | | | because |
    /// |---|---|---|
    /// | [`guest_time`](Self::guest_time) | 10 s | an action starts, reads and decides; it does not compute for long |
    /// | [`call_time`](Self::call_time) | 10 min | a call that waits keeps a place; what takes longer is a persistent process |
    /// | [`guest_memory`](Self::guest_memory) | 256 MiB | a `spawn` may answer with 96 MiB: 16 MiB a stream, up to three bytes each as text |
    /// | [`hostcall_memory`](Self::hostcall_memory) | 64 MiB | the largest legal request carries 16 MiB of files; more is answered `too-large` up to here |
    /// | [`max_resources`](Self::max_resources) | 4,096 | 256 pollables and what they stand for, several times over |
    /// | [`max_instances`](Self::max_instances) | 64 | each reserves 16 GiB of address space, and no memory |
    /// | [`instances_per_principal`](Self::instances_per_principal) | a quarter of those | it takes four that fill theirs to fill all |
    /// | [`max_background`](Self::max_background) | 16 | the same; they are few and stay |
    /// | [`messaging`](Self::messaging) | one of its own | within this process, with the default limits |
    /// | [`audit`](Self::audit) | none | where records may be kept is the embedder's to say |
    /// | [`cache_dir`](Self::cache_dir) | none | where compiled code may be kept is the embedder's to say |
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self {
            registry,
            audit: None,
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
        }
    }

    /// Keeps compiled code in this folder, made for the owner alone if it is missing, so that loading a component again,
    /// also by another process, need not compile it. Files in the folder run as native code without a check, so no other user
    /// may be able to write to it. `None` compiles every time.
    #[must_use]
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache_dir = dir;
        self
    }

    /// Has every call of a guest recorded (contract U1). `None` records nothing.
    ///
    /// The sink is shared by all instances. Finishing it is the embedder's part, once no call is in flight.
    #[must_use]
    pub fn audit(mut self, sink: Option<Arc<dyn AuditSink>>) -> Self {
        self.audit = sink;
        self
    }

    /// How long a guest may compute in one call. Time in host calls, such as waiting for a process, is not counted, nor
    /// is the time in which other tasks had the thread. A guest that goes on is ended within 20 ms after, given a thread
    /// to run on.
    #[must_use]
    pub const fn guest_time(mut self, time: Duration) -> Self {
        self.limits.guest_time = time;
        self
    }

    /// How long a call may take by the clock, from the time that it has its place: computing, and waiting in host calls such
    /// as `sleep-ns`, `poll` and `wait`, which [`guest_time`](Self::guest_time) does not count. One that goes on is ended with
    /// [`CallError::CallTime`](super::CallError::CallTime), as if its future were dropped, and its place is free. It holds for
    /// the instances that messages start as well; a `run` in the background has no such end. `None` lets a call wait for ever.
    #[must_use]
    pub const fn call_time(mut self, time: Option<Duration>) -> Self {
        self.limits.call_time = time;
        self
    }

    /// How many bytes all linear memories of an instance may have together. A guest that asks for more is refused, which
    /// most end themselves over.
    #[must_use]
    pub const fn guest_memory(mut self, bytes: usize) -> Self {
        self.limits.guest_memory = bytes;
        self
    }

    /// How many bytes a guest may hand to the host in one call of a host function, or as its result. One that hands over
    /// more is ended.
    #[must_use]
    pub const fn hostcall_memory(mut self, bytes: usize) -> Self {
        self.limits.hostcall_memory = bytes;
        self
    }

    /// How many resources (handles, pollables, streams) an instance may have at once. One that makes more is ended.
    #[must_use]
    pub const fn max_resources(mut self, count: usize) -> Self {
        self.limits.max_resources = count;
        self
    }

    /// How many calls may run at once, over all capsules of the runtime; further ones wait for their turn. A guest that
    /// waits in a host call counts, and so do the instances that messages start; those take half of the places at most.
    #[must_use]
    pub const fn max_instances(mut self, count: u32) -> Self {
        self.max_instances = count;
        self
    }

    /// How many of [`max_instances`](Self::max_instances) one principal may have at once, over all capsules of the runtime:
    /// its calls and the instances that messages of its start. Further ones wait for their turn and keep no other
    /// principal's from theirs. All that is done for [`Principal::Anonymous`](capsule_supervisor::Principal) has one share.
    ///
    /// `None` is a quarter of all, rounded up. An embedder with a single principal gives it all of them.
    #[must_use]
    pub const fn instances_per_principal(mut self, count: Option<u32>) -> Self {
        self.instances_per_principal = count;
        self
    }

    /// How many capsules may have their `run` running. They count apart from
    /// [`max_instances`](Self::max_instances): they hold their place for as long as they are loaded.
    #[must_use]
    pub const fn max_background(mut self, count: u32) -> Self {
        self.max_background = count;
        self
    }

    /// What carries messages between the capsules, and what happened to processes. Several runtimes may share one.
    #[must_use]
    pub fn messaging(mut self, messaging: Messaging) -> Self {
        self.messaging = Some(messaging);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// [`BuildError`]: a limit that nothing could run under, a cache folder that cannot be used, or an engine that the
    /// system has no room for.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let Self {
            registry,
            audit,
            cache_dir,
            limits,
            max_instances,
            instances_per_principal,
            max_background,
            messaging,
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
            limits,
            messaging,
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
            cache_dir,
            limits,
            max_instances,
            instances_per_principal,
            max_background,
            messaging: _,
        } = self;
        f.debug_struct("RuntimeBuilder")
            .field("cache_dir", cache_dir)
            .field("limits", limits)
            .field("max_instances", max_instances)
            .field("instances_per_principal", instances_per_principal)
            .field("max_background", max_background)
            .finish_non_exhaustive()
    }
}

/// A pool in which every call that got a slot finds its room: the totals are the slots times what a component may have.
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
