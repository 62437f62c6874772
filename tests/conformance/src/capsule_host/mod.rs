//! This project's host as a host under test: the runtime, with a registry of its own for each case.

mod figures;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use capsule_host::audit::{AuditSink, Record};
use capsule_host::bus::{Pattern, Reach};
use capsule_host::runtime::{self, CallError, Capsule, Interceptor, LoadOptions, Runtime, Topics};
use capsule_host::sandbox::{Confined, LaunchError, Launcher, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Principal, Registry};
use tokio::runtime::Handle;

use self::figures::Since;
use crate::host::{
    Answer, AuditRecord, CallFailure, Description, Host, Layer, Load, Metrics, Refusal, Running, Settings, Start,
};

/// The runtime of the crate `capsule-host`. Needs a tokio runtime with all drivers.
#[derive(Clone)]
pub struct CapsuleHost {
    launcher: Arc<dyn Launcher>,
    confined: bool,
    persistent_unconfined: bool,
    cache_dir: Option<PathBuf>,
}

impl CapsuleHost {
    /// A host with confined processes, which is the default.
    ///
    /// # Errors
    /// The machine cannot confine; the error gives the reason and the remedy.
    pub fn confined() -> Result<Self, LaunchError> {
        Ok(Self {
            launcher: Arc::new(Confined::new(Policy::new())?),
            confined: true,
            persistent_unconfined: false,
            cache_dir: None,
        })
    }

    /// A host whose processes have all rights of the host. Persistent processes need a separate permission.
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

    /// Keeps compiled cases in this folder; [`runtime::RuntimeBuilder::cache_dir`] says which users may write to it.
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
            confinement: if self.confined { Layer::ALL.into() } else { Vec::new() },
            concurrent_calls: true,
            persistent_unconfined: self.persistent_unconfined,
            notes: Vec::new(),
        }
    }

    async fn start(&self, start: Start) -> Result<CapsuleRunning, Refusal> {
        figures::install();
        let since = Since::now();
        let records = Arc::new(Records::default());
        let workspace = Workspace::open(&start.workspace).map_err(failed)?;
        let registry = Registry::new(Handle::current(), Arc::clone(&self.launcher), (&start.wishes).into());
        let registry = registry.map_err(failed)?;
        let runtime = Runtime::builder(registry.clone())
            // A case makes many calls at once for one principal.
            .instances_per_principal(Some(64))
            .cache_dir(self.cache_dir.clone())
            .audit(Some(Arc::clone(&records) as Arc<dyn AuditSink>));
        Ok(CapsuleRunning {
            runtime: runtime.build().map_err(failed)?,
            registry,
            workspace,
            records,
            since,
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
    records: Arc<Records>,
    since: Since,
    capsules: Mutex<HashMap<String, (Load, Capsule)>>,
}

impl CapsuleRunning {
    fn capsules(&self) -> MutexGuard<'_, HashMap<String, (Load, Capsule)>> {
        self.capsules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capsule(&self, name: &str) -> Option<(Load, Capsule)> {
        self.capsules().get(name).cloned()
    }
}

impl Running for CapsuleRunning {
    async fn load(&self, load: Load) -> Result<(), Refusal> {
        let grants = &load.grants;
        let options = LoadOptions {
            grants: runtime::Grants {
                commands: grants.commands.clone(),
                persistent: grants.persistent,
                network: None,
                topics: Topics {
                    publish: patterns(&grants.publish)?,
                    publish_as: Vec::new(),
                    subscribe: patterns(&grants.subscribe)?,
                    reach: if grants.foreign_events { Reach::All } else { Reach::Own },
                },
            },
            interceptors: grants
                .interceptors
                .iter()
                .map(|(topic, action)| {
                    Ok(Interceptor {
                        topic: topic.parse().map_err(failed)?,
                        action: action.clone(),
                    })
                })
                .collect::<Result<_, Refusal>>()?,
            ..LoadOptions::new(load.capsule.clone(), self.workspace.clone())
        };
        let capsule = self.runtime.load(options, load.component).await.map_err(failed)?;
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
            Err(
                error @ (CallError::Trap { .. }
                | CallError::GuestTime(_)
                | CallError::CallTime(_)
                | CallError::GuestMemory(_)),
            ) => Err(CallFailure::Trapped(error.to_string())),
            Err(error) => Err(CallFailure::Host(error.to_string())),
        }
    }

    async fn reload(&self, capsule: &str) -> Result<(), Refusal> {
        let (load, capsule) = self.capsule(capsule).ok_or_else(|| failed("not loaded"))?;
        capsule.reload(load.component).await.map_err(failed)
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        let (_, capsule) = self.capsule(capsule).ok_or_else(|| failed("not loaded"))?;
        capsule.unload().await;
        Ok(())
    }

    async fn audit(&self) -> Result<Vec<AuditRecord>, Refusal> {
        Ok(self.records.all().clone())
    }

    async fn metrics(&self) -> Result<Metrics, Refusal> {
        let other = "another part of the program records the metrics";
        self.since.until_now().ok_or_else(|| Refusal::NotOffered(other.into()))
    }

    async fn shutdown(&self) {
        let capsules: Vec<Capsule> = self.capsules().values().map(|(_, capsule)| capsule.clone()).collect();
        for capsule in capsules {
            capsule.unload().await;
        }
        self.registry.shutdown().await;
    }
}

/// Translates the audit's records as they arrive.
#[derive(Debug, Default)]
struct Records(Mutex<Vec<AuditRecord>>);

impl Records {
    fn all(&self) -> MutexGuard<'_, Vec<AuditRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for Records {
    fn record(&self, record: &Record) {
        let since = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.all().push(AuditRecord {
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            operation: record.operation.to_owned(),
            principal: record.principal.clone().unwrap_or_default(),
            capsule: record.capsule.clone(),
            outcome: record.outcome.as_str().to_owned(),
            id_hash: record.ids.first().cloned(),
            raw: serde_json::to_string(record).unwrap_or_default(),
        });
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Refusal> {
    texts.iter().map(|text| text.parse().map_err(failed)).collect()
}

impl From<&Settings> for Limits {
    /// The limits of this project's host, with its defaults for every empty field.
    fn from(settings: &Settings) -> Self {
        let mut limits = Self::default();
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
}

fn failed(reason: impl ToString) -> Refusal {
    Refusal::Failed(reason.to_string())
}
