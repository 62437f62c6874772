//! The host itself: what is loaded, each call in a store of its own, unloading, the audit.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use capsule_conformance::{
    Answer, AuditRecord, CallFailure, Description, Host, Layer, Load, Metrics, Refusal, Running, Start,
};
use capsule_host::CapsuleCtx;
use capsule_host::bindings::astrid;
use capsule_host::bus::{Messaging, Pattern, Reach};
use capsule_host::runtime::{Grants, Topics};
use capsule_host::sandbox::{Confined, Launcher, Network, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Owner, Principal, Registry};
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::component::{Component, ComponentType, Lift, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store};

use super::hooks::Hooks;
use super::served::{Changed, State};
use super::shared::Shared;

/// How long a guest may go on after it was asked to end.
const GRACE: Duration = Duration::from_secs(1);

/// A host with one change.
pub(crate) struct Mutant {
    change: &'static str,
    hurry: bool,
    launcher: Arc<dyn Launcher>,
    _visible: Option<TempDir>,
}

impl Mutant {
    /// A host with the change of this name. With `hurry`, the guest's clock runs faster.
    pub(crate) fn new(change: &'static str, hurry: bool) -> Result<Self, Failed> {
        static CONFINED: OnceLock<Arc<dyn Launcher>> = OnceLock::new();
        let mut visible = None;
        let launcher: Arc<dyn Launcher> = match change {
            "processes are not confined" => Arc::new(Unconfined::new().allow_persistent()),
            "processes have the host's network" => Arc::new(Confined::new(Policy::new().network(Network::Host))?),
            "a folder of the host's is visible" => {
                let folder = tempfile::Builder::new().prefix("conformance-visible-").tempdir()?;
                let policy = Policy::new().visible(folder.path());
                visible = Some(folder);
                Arc::new(Confined::new(policy)?)
            }
            _ => match CONFINED.get() {
                Some(launcher) => Arc::clone(launcher),
                None => {
                    let launcher: Arc<dyn Launcher> = Arc::new(Confined::new(Policy::new())?);
                    Arc::clone(CONFINED.get_or_init(|| launcher))
                }
            },
        };
        Ok(Self {
            change,
            hurry,
            launcher,
            _visible: visible,
        })
    }
}

/// One engine for all, so that each component is compiled once.
struct Engines {
    engine: Engine,
    linker: Linker<State>,
    compiled: Mutex<HashMap<usize, Component>>,
}

static ENGINES: LazyLock<Engines> = LazyLock::new(|| {
    let mut cache = CacheConfig::new();
    cache.with_directory(crate::cache::dir());
    let mut config = Config::new();
    // As the runtime of `capsule-host` compiles them, whose cache this is. No epoch ever comes.
    config
        .epoch_interruption(true)
        .generate_address_map(false)
        .native_unwind_info(false)
        .cache(Some(Cache::new(cache).expect("the folder can be used")));
    let engine = Engine::new(&config).expect("an engine can be made");
    let mut linker = Linker::new(&engine);
    let linked = astrid::process1_0_0::host::add_to_linker::<_, CapsuleCtx>(&mut linker, State::older)
        .and_then(|()| astrid::process1_1_0::host::add_to_linker::<_, Changed>(&mut linker, State::served))
        .and_then(|()| astrid::io::poll::add_to_linker::<_, Changed>(&mut linker, State::served))
        .and_then(|()| astrid::ipc::host::add_to_linker::<_, Changed>(&mut linker, State::served))
        .and_then(|()| astrid::sys::host::add_to_linker::<_, Changed>(&mut linker, State::served));
    linked.expect("each interface is added once");
    Engines {
        engine,
        linker,
        compiled: Mutex::default(),
    }
});

impl Engines {
    fn compile(&self, code: &'static [u8]) -> wasmtime::Result<Component> {
        let of = code.as_ptr().addr();
        if let Some(compiled) = self.compiled().get(&of) {
            return Ok(compiled.clone());
        }
        let component = Component::new(&self.engine, code)?;
        Ok(self.compiled().entry(of).or_insert(component).clone())
    }

    fn compiled(&self) -> MutexGuard<'_, HashMap<usize, Component>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Mutant {
    type Running = MutantRunning;

    fn describe(&self) -> Description {
        Description {
            name: format!("a host of which {}", self.change),
            version: env!("CARGO_PKG_VERSION").into(),
            confinement: Layer::ALL.into(),
            concurrent_calls: true,
            persistent_unconfined: false,
            notes: Vec::new(),
        }
    }

    async fn start(&self, start: Start) -> Result<MutantRunning, Refusal> {
        let mut limits = match self.change {
            "the settings are forgotten" => Limits::default(),
            _ => Limits::from(&start.wishes),
        };
        match self.change {
            "a principal may have one process more" => limits.processes_per_principal += 1,
            "a principal may have one process less" => limits.processes_per_principal -= 1,
            "rings may take 256 MiB" => limits.ring_memory_per_principal = 256 << 20,
            _ => {}
        }
        let registry = Registry::new(Handle::current(), Arc::clone(&self.launcher), limits).map_err(failed)?;
        Ok(MutantRunning {
            workspace: Workspace::open(&start.workspace).map_err(failed)?,
            messaging: Messaging::new(&registry),
            registry,
            shared: Arc::new(Shared {
                change: self.change,
                hurry: self.hurry,
                workspace: start.workspace,
                memory: Mutex::default(),
                records: Mutex::default(),
            }),
            loaded: Mutex::default(),
        })
    }
}

/// A registry, and the capsules that act on it.
pub(crate) struct MutantRunning {
    registry: Registry,
    messaging: Messaging,
    workspace: Workspace,
    shared: Arc<Shared>,
    loaded: Mutex<HashMap<String, Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    component: Component,
    grants: Grants,
    unload: CancellationToken,
    calls: TaskTracker,
}

/// `astrid:guest/lifecycle.capsule-result`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct CapsuleResult {
    action: String,
    data: Option<String>,
}

impl MutantRunning {
    fn loaded(&self) -> MutexGuard<'_, HashMap<String, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, capsule: &str) -> Option<Loaded> {
        self.loaded().get(capsule).cloned()
    }

    fn store(&self, loaded: &Loaded, capsule: &str, principal: Option<&str>) -> Store<State> {
        let principal = match (principal, self.shared.change) {
            (Some(_), "all principals are one") => Some("shared"),
            (None, "a caller without a name has one") => Some("anonymous"),
            _ => principal,
        };
        let owner = Owner {
            principal: principal.map_or(Principal::Anonymous, |name| Principal::Named(name.to_owned())),
            capsule: match self.shared.change {
                "all capsules are one" => "shared".into(),
                _ => capsule.to_owned(),
            },
        };
        let mut older = owner.clone();
        if self.shared.is("version 1.0.0 has processes of its own") {
            older.capsule.push_str("-1.0.0");
        }
        let context = |owner: Owner| {
            CapsuleCtx::builder(&self.registry, owner, self.workspace.clone())
                .unload(loaded.unload.clone())
                .bus(self.messaging.clone())
                .build()
        };
        let state = State {
            capsule: context(owner),
            older: context(older),
            table: ResourceTable::new(),
            hooks: Hooks {
                grants: loaded.grants.clone(),
                shared: Arc::clone(&self.shared),
            },
            shared: Arc::clone(&self.shared),
        };
        let mut store = Store::new(&ENGINES.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        store
    }
}

impl Running for MutantRunning {
    async fn load(&self, load: Load) -> Result<(), Refusal> {
        let component = tokio::task::spawn_blocking(move || ENGINES.compile(load.component)).await;
        let grants = Grants {
            commands: load.grants.commands,
            persistent: load.grants.persistent,
            network: None,
            topics: Topics {
                publish: patterns(&load.grants.publish)?,
                publish_as: Vec::new(),
                subscribe: patterns(&load.grants.subscribe)?,
                reach: if load.grants.foreign_events {
                    Reach::All
                } else {
                    Reach::Own
                },
            },
        };
        let loaded = Loaded {
            component: component.map_err(failed)?.map_err(failed)?,
            grants: if self.shared.change.starts_with("a child ") || self.shared.change.starts_with("a missing program")
            {
                with_shell(grants)
            } else {
                grants
            },
            unload: CancellationToken::new(),
            calls: TaskTracker::new(),
        };
        self.loaded().insert(load.capsule, loaded);
        Ok(())
    }

    async fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        let loaded = self
            .one(capsule)
            .ok_or_else(|| CallFailure::Host("it is not loaded".into()))?;
        if loaded.unload.is_cancelled() {
            return Err(CallFailure::Cancelled);
        }
        let mut store = self.store(&loaded, capsule, principal);
        let shared = Arc::clone(&self.shared);
        let (component, action) = (loaded.component.clone(), action.to_owned());
        let work = async move {
            let instance = ENGINES.linker.instantiate_async(&mut store, &component).await?;
            let entry =
                instance.get_typed_func::<(String, Vec<u8>), (CapsuleResult,)>(&mut store, "astrid-hook-trigger")?;
            let result = entry.call_async(&mut store, (action, payload)).await;
            if shared.is("an instance's processes stay") {
                shared.memory().instances.push(Box::new(store));
            }
            Ok(result?.0)
        };
        let interrupt = async {
            loaded.unload.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let result: wasmtime::Result<CapsuleResult> = tokio::select! {
            biased;
            () = interrupt => return Err(CallFailure::Cancelled),
            result = loaded.calls.track_future(work) => result,
        };
        match result {
            Ok(result) => Ok(Answer {
                action: result.action,
                data: result.data,
            }),
            Err(_) if loaded.unload.is_cancelled() => Err(CallFailure::Cancelled),
            Err(error) => Err(CallFailure::Trapped(format!("{error:#}"))),
        }
    }

    async fn reload(&self, _capsule: &str) -> Result<(), Refusal> {
        Ok(())
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        let loaded = self.one(capsule).ok_or_else(|| failed("it is not loaded"))?;
        loaded.unload.cancel();
        loaded.calls.close();
        loaded.calls.wait().await;
        match self.shared.change {
            "an unload leaves the processes" => {}
            "an unload ends the processes of all" => {
                let names: Vec<_> = self.loaded().keys().cloned().collect();
                for name in names {
                    self.registry.end_capsule(&name).await;
                }
            }
            _ => self.registry.end_capsule(capsule).await,
        }
        Ok(())
    }

    async fn audit(&self) -> Result<Vec<AuditRecord>, Refusal> {
        let mut records = self.shared.records().clone();
        let ids = self.shared.memory().ids.clone();
        for record in &mut records {
            match self.shared.change {
                "the audit has no time" => record.time_ms = 0,
                "the audit names another principal" => record.principal = "bob".into(),
                "the audit names no capsule" => record.capsule.clear(),
                "the audit holds ids" => record.raw.push_str(&ids.concat()),
                "the audit hashes an id anew each time" => record.id_hash = Some(record.operation.clone()),
                "the audit has no details" => record.raw.clear(),
                "the audit holds the environment" => record.raw.push_str("value-unseen"),
                "the audit holds what is written" => record.raw.push_str("write-unseen"),
                _ => {}
            }
        }
        match self.shared.change {
            "the audit leaves refusals out" => records.retain(|record| record.outcome == "ok"),
            "the audit has each record twice" => {
                records = records
                    .into_iter()
                    .flat_map(|record| [record.clone(), record])
                    .collect();
            }
            _ => {}
        }
        Ok(records)
    }

    async fn metrics(&self) -> Result<Metrics, Refusal> {
        match self.shared.change {
            "the metrics hold ids" => Ok(Metrics {
                raw: self.shared.memory().ids.concat(),
                ..Metrics::default()
            }),
            "the metrics are empty" => Ok(Metrics::default()),
            _ => Err(Refusal::NotOffered("metrics".into())),
        }
    }

    async fn shutdown(&self) {
        for loaded in self.loaded().values() {
            loaded.unload.cancel();
        }
        let instances = std::mem::take(&mut self.shared.memory().instances);
        drop(instances);
        self.registry.shutdown().await;
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Refusal> {
    texts.iter().map(|text| text.parse().map_err(failed)).collect()
}

fn failed(reason: impl ToString) -> Refusal {
    Refusal::Failed(reason.to_string())
}

/// The grants of a case, with that of the shell that some changes need.
fn with_shell(mut grants: Grants) -> Grants {
    grants.commands.push("sh".into());
    grants
}
