//! Makes the store for one instance, with its WASI context and the engine's hooks.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use super::builder::{CallLimits, Shared};
use super::hooks::Hooks;
use super::memory_limiter::MemoryLimiter;
use super::options::LoadOptions;
use super::output::{Origin, Output, Stream};
use super::state::{State, TimeUp};
use super::time_budget::TimeBudget;
use crate::wit::CapsuleCtx;
use capsule_supervisor::{Owner, Principal};

/// The reason for which an instance is started.
pub(super) struct CallContext {
    /// The principal on whose behalf the instance runs.
    pub(super) principal: Principal,
    /// The source of the message that caused the call; none if the embedder made the call.
    pub(super) source: Option<String>,
    /// The number of messages that led to the call.
    pub(super) depth: u8,
    /// Ends the instance's waits.
    pub(super) unload: CancellationToken,
    /// Called when the guest says that it is ready.
    pub(super) on_ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// The divisor of the waiting time that the guest regains as computing time; none for an instance with a fixed
    /// budget.
    pub(super) regain: Option<u32>,
}

/// A store for an instance of a capsule, with every limit set.
pub(super) fn store(runtime: &Shared, options: &LoadOptions, context: CallContext) -> Store<State> {
    let mut store = Store::new(&runtime.engine, state(runtime, options, context));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(runtime.limits.hostcall_memory);
    store.set_max_component_handles(runtime.limits.max_resources);
    store.call_hook(|mut store, hook| {
        let State { time, ticking, .. } = store.data_mut();
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => {
                time.run(Instant::now());
                ticking.run();
            }
            CallHook::CallingHost | CallHook::ReturningFromWasm => {
                time.pause(Instant::now());
                ticking.pause();
            }
        }
        Ok(())
    });
    // The epoch only triggers the check. It advances during host calls, and the guest's time does not. The engine calls
    // this as it calls a host function, so the time of a yield is not guest time either.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| match store.data().time.exceeded(Instant::now()) {
        Some(limit) => Err(TimeUp(limit).into()),
        None => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
    });
    store
}

fn state(runtime: &Shared, options: &LoadOptions, context: CallContext) -> State {
    let CallContext {
        principal,
        source,
        depth,
        unload,
        on_ready,
        regain,
    } = context;
    let owner = Owner {
        principal,
        capsule: options.capsule_id.clone(),
    };
    let origin = Origin {
        registry: runtime.registry.clone(),
        owner: Arc::new(owner.clone()),
    };
    let bindings = options.interceptors.iter();
    let mut capsule = CapsuleCtx::builder(&runtime.registry, owner, options.workspace.clone())
        .unload(unload)
        .capabilities(options.grants.capabilities())
        .config(options.config.clone())
        .bus(runtime.messaging.clone())
        .locks(runtime.locks.clone())
        .depth(depth)
        .interceptors(bindings.map(|interceptor| (interceptor.topic.clone(), interceptor.action.clone())));
    if let Some(store) = &runtime.store {
        capsule = capsule.store(store.clone());
    }
    if let Some(source) = source {
        capsule = capsule.source_id(source);
    }
    if let Some(tell) = on_ready {
        capsule = capsule.on_ready(tell);
    }
    let capsule = capsule.build();
    let stderr = Output::new(origin.clone(), Stream::Stderr);
    let wasi = WasiCtx::builder()
        .stdout(Output::new(origin, Stream::Stdout))
        .stderr(stderr.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build();
    let CallLimits {
        guest_time,
        call_time: _,
        guest_memory,
        hostcall_memory: _,
        max_resources,
    } = runtime.limits;
    let mut table = ResourceTable::new();
    table.set_max_capacity(max_resources);
    State {
        wasi,
        table,
        capsule,
        hooks: Hooks {
            grants: options.grants.clone(),
            audit: runtime.audit.clone(),
            denials: runtime.denials.clone(),
        },
        memory: MemoryLimiter::new(guest_memory),
        time: regain.map_or_else(
            || TimeBudget::new(guest_time),
            |part| TimeBudget::regaining(guest_time, part),
        ),
        ticking: runtime.ticker.for_instance(),
        stderr,
    }
}
