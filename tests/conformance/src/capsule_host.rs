//! This project's host, as one to be judged: the runtime over a registry of its own for each case.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capsule_host::runtime::{self, CallError, Capsule, LoadOptions, Runtime};
use capsule_host::sandbox::{Confined, LaunchError, Launcher, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Principal, Registry};
use tokio::runtime::Handle;

use crate::host::{Answer, CallFailure, Description, Host, Load, Refusal, Running, Settings};

/// The runtime of the crate `capsule-host`. Needs a tokio runtime with all drivers.
#[derive(Clone)]
pub struct CapsuleHost {
    launcher: Arc<dyn Launcher>,
    confined: bool,
    persistent_unconfined: bool,
    cache_dir: Option<PathBuf>,
}

impl CapsuleHost {
    /// Processes are confined, as is the default.
    ///
    /// # Errors
    /// The machine cannot do that: the reason and the remedy.
    pub fn confined() -> Result<Self, LaunchError> {
        Ok(Self {
            launcher: Arc::new(Confined::new(Policy::new())?),
            confined: true,
            persistent_unconfined: false,
            cache_dir: None,
        })
    }

    /// Processes have all rights of the host; persistent ones have to be allowed apart.
    #[must_use]
    pub fn unconfined(allow_persistent: bool) -> Self {
        let launcher = Unconfined::new();
        Self {
            launcher: Arc::new(if allow_persistent {
                launcher.allow_persistent()
            } else {
                launcher
            }),
            confined: false,
            persistent_unconfined: allow_persistent,
            cache_dir: None,
        }
    }

    /// Keeps compiled cases in this folder; see [`runtime::RuntimeBuilder::cache_dir`] for who may write to it.
    #[must_use]
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache_dir = dir;
        self
    }
}

impl std::fmt::Debug for CapsuleHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CapsuleHost")
            .field("confined", &self.confined)
            .finish_non_exhaustive()
    }
}

impl Host for CapsuleHost {
    type Running = CapsuleRunning;

    fn describe(&self) -> Description {
        Description {
            name: "capsule-host".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            confined: self.confined,
            persistent_unconfined: self.persistent_unconfined,
            notes: Vec::new(),
        }
    }

    async fn start(&self, settings: Settings) -> Result<CapsuleRunning, Refusal> {
        let workspace = Workspace::open(&settings.workspace).map_err(failed)?;
        let registry = Registry::new(Handle::current(), Arc::clone(&self.launcher), limits(&settings));
        let registry = registry.map_err(failed)?;
        let runtime = Runtime::builder(registry.clone()).cache_dir(self.cache_dir.clone());
        Ok(CapsuleRunning {
            runtime: runtime.build().map_err(failed)?,
            registry,
            workspace,
            capsules: Mutex::default(),
        })
    }
}

/// A runtime and its registry.
#[derive(Debug)]
pub struct CapsuleRunning {
    runtime: Runtime,
    registry: Registry,
    workspace: Workspace,
    capsules: Mutex<HashMap<String, (Load, Capsule)>>,
}

impl CapsuleRunning {
    fn capsules(&self) -> MutexGuard<'_, HashMap<String, (Load, Capsule)>> {
        self.capsules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capsule(&self, name: &str) -> Option<(Load, Capsule)> {
        self.capsules().get(name).cloned()
    }

    async fn make(&self, load: &Load) -> Result<Capsule, Refusal> {
        let options = LoadOptions {
            capsule_id: load.capsule.clone(),
            workspace: self.workspace.clone(),
            grants: runtime::Grants {
                commands: load.grants.commands.clone(),
                persistent: load.grants.persistent,
                network: false,
            },
            config: Default::default(),
        };
        self.runtime.load(options, load.component).await.map_err(failed)
    }
}

impl Running for CapsuleRunning {
    async fn load(&self, load: Load) -> Result<(), Refusal> {
        let capsule = self.make(&load).await?;
        self.capsules().insert(load.capsule.clone(), (load, capsule));
        Ok(())
    }

    async fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        let Some((_, capsule)) = self.capsule(capsule) else {
            return Err(CallFailure::Host(format!("{capsule} is not loaded")));
        };
        let principal = principal.map_or(Principal::Anonymous, |name| Principal::Named(name.to_owned()));
        match capsule.call(principal, action, payload).await {
            Ok(result) => Ok(Answer {
                action: result.action,
                data: result.data,
            }),
            Err(CallError::Cancelled) => Err(CallFailure::Cancelled),
            Err(error @ (CallError::Trap { .. } | CallError::GuestTime(_) | CallError::GuestMemory(_))) => {
                Err(CallFailure::Trapped(error.to_string()))
            }
            Err(error) => Err(CallFailure::Host(error.to_string())),
        }
    }

    async fn reload(&self, capsule: &str) -> Result<(), Refusal> {
        let (load, old) = self.capsule(capsule).ok_or_else(|| failed("not loaded"))?;
        let new = self.make(&load).await?;
        self.capsules().insert(load.capsule.clone(), (load, new));
        old.unload().await;
        Ok(())
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        let (_, capsule) = self.capsule(capsule).ok_or_else(|| failed("not loaded"))?;
        capsule.unload().await;
        Ok(())
    }

    async fn shutdown(&self) {
        let capsules: Vec<Capsule> = self.capsules().values().map(|(_, capsule)| capsule.clone()).collect();
        for capsule in capsules {
            capsule.unload().await;
        }
        self.registry.shutdown().await;
    }
}

fn limits(settings: &Settings) -> Limits {
    let mut limits = Limits::default();
    let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let set_count = |field: &mut usize, value: Option<u32>| *field = value.map_or(*field, count);
    let set_bytes = |field: &mut usize, value: Option<u64>| *field = value.map_or(*field, bytes);
    let set_ms = |field: &mut Duration, value: Option<u64>| *field = value.map_or(*field, Duration::from_millis);
    set_count(&mut limits.processes_per_principal, settings.processes_per_principal);
    set_count(&mut limits.retained_per_owner, settings.retained_per_owner);
    set_count(&mut limits.retained_total, settings.retained_total);
    set_bytes(
        &mut limits.ring_memory_per_principal,
        settings.ring_memory_per_principal,
    );
    set_bytes(&mut limits.capture_max, settings.capture_max);
    set_ms(&mut limits.wait_max, settings.wait_max_ms);
    set_ms(&mut limits.grace_default, settings.grace_default_ms);
    set_ms(&mut limits.grace_max, settings.grace_max_ms);
    set_ms(&mut limits.lifetime_max, settings.lifetime_max_ms);
    set_ms(&mut limits.idle_default, settings.idle_default_ms);
    set_ms(&mut limits.retention_default, settings.retention_default_ms);
    set_ms(&mut limits.retention_max, settings.retention_max_ms);
    set_ms(&mut limits.drain_time, settings.drain_time_ms);
    limits.resource_ceilings.max_open_files = settings.max_open_files_ceiling;
    limits.strict_resource_limits = settings.strict_limits.unwrap_or(limits.strict_resource_limits);
    limits
}

fn failed(reason: impl ToString) -> Refusal {
    Refusal::Failed(reason.to_string())
}
