//! The costs of a guest: a call of the host, an instance, a stream read by a guest, and a thousand waiting guests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::runtime::{Capsule, LoadOptions, Runtime};
use capsule_host::supervisor::{Ask, Owner, Principal, Scope};
use capsule_host::{CapsuleCtx, CapsuleCtxView, CapsuleHooks, CapsuleView};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::host::{Host, idle};
use crate::report::{Report, Target, Unit, median, micros};
use crate::{lossless, waiting};

const OWNER: &str = "guests";
const ENTRY: &str = "astrid-hook-trigger";
const WAITING: u32 = 1000;

pub(crate) fn run(report: &mut Report) {
    crate::scale::allow_descriptors(64 * 1024);
    let component = build(&[]);
    let host = Host::unconfined();
    let runtime = Runtime::builder(host.registry.clone())
        .max_instances(WAITING + 8)
        .instances_per_principal(Some(WAITING + 8))
        .guest_time(Duration::from_secs(60))
        .build()
        .unwrap();
    let options = LoadOptions::new("bench", host.workspace.clone());
    let capsule = host.runtime.block_on(runtime.load(options, &component)).unwrap();
    call(&host, &build(&["--features", "nothing"]), report);
    instance(&host, &capsule, &component, report);
    stream(&host, &capsule, report);
    wait(&host, &capsule, report);
}

/// The state of an embedder with its own engine.
struct Guest {
    wasi: WasiCtx,
    capsule: CapsuleCtx,
    table: ResourceTable,
    hooks: AllowAll,
}

struct AllowAll;

impl CapsuleHooks for AllowAll {
    fn authorize(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }

    fn wants_audit(&self) -> bool {
        false
    }
}

impl CapsuleView for Guest {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.capsule,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// guest → `status` → guest, beside an async host function that does nothing.
fn call(host: &Host, component: &[u8], report: &mut Report) {
    const CALLS: u64 = 20_000;
    let scope = host.scope(OWNER);
    let id = host.runtime.block_on(host.start(&scope, idle()));
    let engine = Engine::default();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::<Guest>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    capsule_host::add_to_linker_async(&mut linker).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured beside the adapter is no part of it"
    )]
    let mut empty = linker.instance("bench:guest/empty").unwrap();
    empty
        .func_wrap_async("nothing", |_, (): ()| Box::new(async { Ok(()) }))
        .unwrap();
    empty
        .func_wrap_async("constant", |_, (id,): (String,)| {
            Box::new(async move { Ok((Info::constant(id),)) })
        })
        .unwrap();
    let (mut ours, mut limits, mut constants) = (Vec::new(), Vec::new(), Vec::new());
    host.runtime.block_on(async {
        let mut store = Store::new(&engine, guests_of(host)());
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let entry = instance
            .get_typed_func::<(String, Vec<u8>), (Answer,)>(&mut store, ENTRY)
            .unwrap();
        for _ in 0..20 {
            for (action, times) in [
                ("status", &mut ours),
                ("nothing", &mut limits),
                ("constant", &mut constants),
            ] {
                let payload = format!("{CALLS} {id}").into_bytes();
                let begun = Instant::now();
                entry.call_async(&mut store, (action.into(), payload)).await.unwrap();
                times.push(micros(begun.elapsed()) / CALLS as f64);
            }
        }
        scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
    });
    let (ours, limit, constant) = (median(&mut ours), median(&mut limits), median(&mut constants));
    for (limit, name, target) in [
        (limit, "an empty async host function", Target::AtMost(2.0)),
        (
            constant,
            "one that answers with the same record, a constant",
            Target::None,
        ),
    ] {
        report.line(
            "call",
            "guest → `status` → guest",
            &format!("{ours:.3} µs"),
            &format!("{limit:.3} µs ({name})"),
            ours / limit,
            Unit::Times,
            target,
        );
    }
}

/// Instantiates, calls an action that does nothing, and drops; compared with the engine alone.
fn instance(host: &Host, capsule: &Capsule, component: &[u8], report: &mut Report) {
    let bare = bare_engine();
    let code = Component::new(&bare, component).unwrap();
    let mut linker = Linker::<()>::new(&bare);
    linker.define_unknown_imports_as_traps(&code).unwrap();
    let pre = linker.instantiate_pre(&code).unwrap();
    let bare_entry = code.get_export_index(None, ENTRY).unwrap();
    // Each way has an engine of its own. With a common one, a way would find in the processor's caches what another has
    // just used.
    let serving = bare_engine();
    let code = Component::new(&serving, component).unwrap();
    let mut linker = Linker::<Guest>::new(&serving);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    capsule_host::add_to_linker_async(&mut linker).unwrap();
    let served = linker.instantiate_pre(&code).unwrap();
    let served_entry = code.get_export_index(None, ENTRY).unwrap();
    let guests = guests_of(host);
    let capsule = capsule.clone();
    // In a task of the runtime, in which an embedder's server makes its calls.
    let calls = host.runtime.spawn(async move {
        let (mut ours, mut limits, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3000 {
            let begun = Instant::now();
            capsule.call(principal(), "none", Vec::new()).await.unwrap();
            ours.push(micros(begun.elapsed()));
            let begun = Instant::now();
            call_once(Store::new(&bare, ()), &pre, bare_entry).await;
            limits.push(micros(begun.elapsed()));
            let begun = Instant::now();
            let mut store = Store::new(&serving, guests());
            store.call_hook(|_, _| Ok(()));
            call_once(store, &served, served_entry).await;
            parts.push(micros(begun.elapsed()));
        }
        (ours, limits, parts)
    });
    let (mut ours, mut limits, mut parts) = host.runtime.block_on(calls).unwrap();
    let (ours, limit, parts) = (median(&mut ours), median(&mut limits), median(&mut parts));
    let (figure, against) = (
        format!("{ours:.1} µs"),
        format!("{limit:.1} µs (wasmtime's bare pre-instantiated call)"),
    );
    let workload = "instantiate, call an empty action, drop";
    report.line(
        "instance",
        workload,
        &figure,
        &against,
        ours / limit,
        Unit::Times,
        Target::AtMost(1.3),
    );
    report.line(
        "instance",
        workload,
        &figure,
        &against,
        ours,
        Unit::Micros,
        Target::AtMost(50.0),
    );
    report.line(
        "instance",
        workload,
        &figure,
        &format!("{parts:.1} µs (the bare call with WASI's context, ours and a hook)"),
        ours / parts,
        Unit::Times,
        Target::None,
    );
}

fn bare_engine() -> Engine {
    let mut config = Config::new();
    // How much of a table is kept is the runtime's choice, and must not count in its favour.
    let mut pool = PoolingAllocationConfig::new();
    pool.table_keep_resident(16 << 10);
    config
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).unwrap()
}

async fn call_once<T: Send + 'static>(mut store: Store<T>, pre: &InstancePre<T>, entry: ComponentExportIndex) {
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = pre.instantiate_async(&mut store).await.unwrap();
    let entry = instance
        .get_typed_func::<(&str, &[u8]), (Answer,)>(&mut store, entry)
        .unwrap();
    entry.call_async(&mut store, ("none", &[])).await.unwrap();
}

/// A guest reads what a child writes.
fn stream(host: &Host, capsule: &Capsule, report: &mut Report) {
    let scope = host.scope(OWNER);
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        limits.push(lossless::rate(lossless::through_host(host)));
        let begun = Instant::now();
        let read = host.runtime.block_on(async {
            let id = host.start(&scope, lossless::writer()).await;
            let answer = capsule
                .call(principal(), "follow", format!("0 {id}").into_bytes())
                .await
                .unwrap();
            scope.release(&id).await.unwrap();
            answer.data.unwrap()
        });
        ours.push(lossless::rate(begun.elapsed()));
        assert_eq!(read, lossless::SIZE.to_string());
    }
    let (ours, limit) = (median(&mut ours), median(&mut limits));
    report.line(
        "lossless to a guest",
        "1 GiB, read by a component in chunks of 64 KiB",
        &format!("{ours:.2} GB/s"),
        &format!("{limit:.2} GB/s (in the core)"),
        ours / limit,
        Unit::Times,
        Target::AtLeast(0.5),
    );
}

/// A thousand guests in `wait`.
fn wait(host: &Host, capsule: &Capsule, report: &mut Report) {
    let scope: Scope = host.scope(OWNER);
    let idle_host = waiting::percent_of_a_core(host);
    let id = host.runtime.block_on(host.start(&scope, idle()));
    let capsule = Arc::new(capsule.clone());
    let calls: Vec<_> = (0..WAITING)
        .map(|_| {
            let (capsule, payload) = (Arc::clone(&capsule), format!("300000 {id}").into_bytes());
            host.runtime
                .spawn(async move { capsule.call(principal(), "wait", payload).await.unwrap() })
        })
        .collect();
    host.runtime.block_on(async {
        while capsule.calls_in_flight() < WAITING as usize {
            tokio::task::yield_now().await;
        }
        // All of them have begun. When no task runs any more, all of them wait.
        let mut before = crate::drain::cpu_time();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = crate::drain::cpu_time();
            if now - before < Duration::from_millis(20) {
                break;
            }
            before = now;
        }
    });
    let used = waiting::percent_of_a_core(host);
    waiting::line(report, &format!("{WAITING} guests in `wait` for 5 s"), used, idle_host);
    host.runtime.block_on(async {
        scope.stop(&id, Some(Duration::ZERO)).await.unwrap();
        for call in calls {
            call.await.unwrap();
        }
    });
}

fn principal() -> Principal {
    Principal::Named(OWNER.into())
}

/// Makes the state that an embedder keeps for each instance.
fn guests_of(host: &Host) -> impl Fn() -> Guest + Send + use<> {
    let owner = Owner {
        principal: principal(),
        capsule: "bench".into(),
    };
    let (registry, workspace) = (host.registry.clone(), host.workspace.clone());
    move || Guest {
        wasi: WasiCtxBuilder::new().build(),
        capsule: CapsuleCtx::builder(&registry, owner.clone(), workspace.clone()).build(),
        table: ResourceTable::new(),
        hooks: AllowAll,
    }
}

/// The answer of `status`.
#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct Info {
    id: String,
    label: String,
    command: String,
    #[component(name = "os-pid")]
    os_pid: Option<u32>,
    phase: Phase,
    exit: Option<Exit>,
    #[component(name = "age-ms")]
    age_ms: u64,
    #[component(name = "idle-ms")]
    idle_ms: u64,
    #[component(name = "buffered-bytes")]
    buffered_bytes: u64,
    #[component(name = "bytes-dropped")]
    bytes_dropped: u64,
    #[component(name = "stdin-open")]
    stdin_open: bool,
    #[component(name = "cpu-ms")]
    cpu_ms: Option<u64>,
    #[component(name = "mem-bytes-peak")]
    mem_bytes_peak: Option<u64>,
}

#[derive(Clone, Copy, wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the type has to be the interface's")]
enum Phase {
    #[component(name = "starting")]
    Starting,
    #[component(name = "running")]
    Running,
    #[component(name = "exited")]
    Exited,
}

#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct Exit {
    #[component(name = "exit-code")]
    exit_code: Option<i32>,
    signal: Option<i32>,
}

impl Info {
    /// The state of a process in [`idle`].
    fn constant(id: String) -> Self {
        Self {
            id,
            label: "sleep".into(),
            command: "/bin/sleep 86400".into(),
            os_pid: Some(7),
            phase: Phase::Running,
            exit: None,
            age_ms: 1,
            idle_ms: 1,
            buffered_bytes: 0,
            bytes_dropped: 0,
            stdin_open: false,
            cpu_ms: Some(1),
            mem_bytes_peak: Some(1 << 20),
        }
    }
}

/// The guest's answer, in the form of its interface.
#[derive(wasmtime::component::ComponentType, wasmtime::component::Lift)]
#[component(record)]
struct Answer {
    #[component(name = "action")]
    _action: String,
    #[component(name = "data")]
    _data: Option<String>,
}

/// Builds the guest, in a target folder of its own, and reads it.
fn build(features: &[&str]) -> Vec<u8> {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guest");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-guest{}", features.len()));
    #[expect(clippy::disallowed_methods, reason = "a build, of what is measured")]
    let status = Command::new(env!("CARGO"))
        .current_dir(guest)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--target",
            "wasm32-wasip2",
            "--target-dir",
        ])
        .arg(&target)
        .args(features)
        .status()
        .unwrap();
    assert!(status.success(), "the guest of the bench does not build");
    std::fs::read(target.join("wasm32-wasip2/release/bench_guest.wasm")).unwrap()
}
