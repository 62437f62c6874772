//! What a host has to let itself be asked, to be judged.
//!
//! Everything optional answers [`Refusal::NotOffered`], which makes a case that needs it not applicable, with the
//! reason, and never passed. All names are the suite's: a host translates its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A host that can be started with settings, any number of times at once.
pub trait Host: Send + Sync + 'static {
    /// One that was started.
    type Running: Running;

    /// Who is judged, and how it is set up.
    fn describe(&self) -> Description;

    /// Starts a host that has no capsule and no process yet.
    ///
    /// # Errors
    /// [`Refusal`]; a setting that it cannot be given is [`Refusal::NotOffered`].
    fn start(&self, settings: Settings) -> impl Future<Output = Result<Self::Running, Refusal>> + Send;
}

/// A host that runs. Dropped without [`Running::shutdown`] only where the suite itself failed.
pub trait Running: Send + Sync + 'static {
    /// Loads a component under a name.
    ///
    /// # Errors
    /// [`Refusal`].
    fn load(&self, load: Load) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Performs an action of a loaded capsule in a fresh instance; `None` is a caller who was not authenticated.
    ///
    /// # Errors
    /// [`CallFailure`]: how it ended other than by an answer.
    fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, CallFailure>> + Send;

    /// Loads the same component again in place of the one that is loaded: its processes stay.
    ///
    /// # Errors
    /// [`Refusal`].
    fn reload(&self, capsule: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Unloads a capsule: its calls end, and its processes.
    ///
    /// # Errors
    /// [`Refusal`].
    fn unload(&self, capsule: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// All that the audit got so far, oldest first.
    ///
    /// # Errors
    /// [`Refusal`].
    fn audit(&self) -> impl Future<Output = Result<Vec<AuditRecord>, Refusal>> + Send {
        async { Err(Refusal::NotOffered("audit records".into())) }
    }

    /// What the metrics of this host stand at.
    ///
    /// # Errors
    /// [`Refusal`].
    fn metrics(&self) -> impl Future<Output = Result<Metrics, Refusal>> + Send {
        async { Err(Refusal::NotOffered("metrics".into())) }
    }

    /// Ends gracefully. Nothing that it started is left when this returns.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// Who is judged.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its processes are confined (contract B1). Cases about confinement ask.
    pub confined: bool,
    /// Whether an unconfined host allows persistent processes, which has to be said apart (contract B2).
    pub persistent_unconfined: bool,
    /// Anything else worth standing in a report.
    pub notes: Vec<String>,
}

/// What a case wants set. Where a field is empty the contract's default is to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The folder that every capsule's processes run in. Made for the case, removed after it.
    #[serde(skip)]
    pub workspace: PathBuf,
    /// Q1.
    pub processes_per_principal: Option<u32>,
    /// Q2, per principal and capsule.
    pub retained_per_owner: Option<u32>,
    /// Q2, of the whole registry.
    pub retained_total: Option<u32>,
    /// Q3, in bytes.
    pub ring_memory_per_principal: Option<u64>,
    /// S8: output of a stream that `spawn` captures, in bytes.
    pub capture_max: Option<u64>,
    /// X4: the longest `wait`, in milliseconds.
    pub wait_max_ms: Option<u64>,
    /// K2: from TERM to KILL where nothing is asked for, in milliseconds.
    pub grace_default_ms: Option<u64>,
    /// K2: the longest such time, in milliseconds.
    pub grace_max_ms: Option<u64>,
    /// T1: the ceiling, in milliseconds.
    pub lifetime_max_ms: Option<u64>,
    /// T2: where nothing is asked for, in milliseconds.
    pub idle_default_ms: Option<u64>,
    /// T3: where nothing is asked for, in milliseconds.
    pub retention_default_ms: Option<u64>,
    /// T3: the ceiling, in milliseconds.
    pub retention_max_ms: Option<u64>,
    /// X3: the drain time, in milliseconds.
    pub drain_time_ms: Option<u64>,
    /// R1: open files that any process gets at most.
    pub max_open_files_ceiling: Option<u32>,
    /// R1: refuse limits that the kernel does not hold.
    pub strict_limits: Option<bool>,
}

/// A capsule to load.
#[derive(Clone, Debug)]
pub struct Load {
    /// The name to load it under.
    pub capsule: String,
    /// The component.
    pub component: &'static [u8],
    /// What it may do.
    pub grants: Grants,
}

/// What a capsule may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grants {
    /// Commands by exact spelling; with none, nothing may be run at all (no process grant).
    pub commands: Vec<String>,
    /// Persistent processes.
    pub persistent: bool,
    /// Topic patterns that it may publish to.
    pub publish: Vec<String>,
    /// Topic patterns that it may subscribe to; its own lifecycle events need none.
    pub subscribe: Vec<String>,
    /// Whether it receives lifecycle events of every capsule and principal.
    pub foreign_events: bool,
    /// Topic patterns with the action that a message starts in a fresh instance.
    pub interceptors: BTreeMap<String, String>,
}

impl Default for Grants {
    /// `sh`, and persistent processes: what most cases need.
    fn default() -> Self {
        Self {
            commands: vec!["sh".into()],
            persistent: true,
            publish: Vec::new(),
            subscribe: Vec::new(),
            foreign_events: false,
            interceptors: BTreeMap::new(),
        }
    }
}

/// What an action came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `action` of the capsule's result.
    pub action: String,
    /// `data` of the capsule's result.
    pub data: Option<String>,
}

/// How a call ended other than by an answer.
#[derive(Clone, Debug, Error)]
pub enum CallFailure {
    /// The capsule was unloaded.
    #[error("cancelled")]
    Cancelled,
    /// The guest trapped, or was ended for what it did.
    #[error("the guest failed: {0}")]
    Trapped(String),
    /// The host could not run it.
    #[error("the host failed: {0}")]
    Host(String),
}

/// Why something was not done.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The host has no such thing, or the suite no way to it: the reason.
    #[error("not offered: {0}")]
    NotOffered(String),
    /// It has, and it failed.
    #[error("{0}")]
    Failed(String),
}

/// One record of the audit (contract U1).
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditRecord {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The function called, as the interface names it.
    pub operation: String,
    /// On whose behalf; empty for no principal.
    pub principal: String,
    /// By which capsule.
    pub capsule: String,
    /// `ok`, or the error's name as the interface has it.
    pub outcome: String,
    /// The hash of the id, for id-keyed calls.
    pub id_hash: Option<String>,
    /// The whole record as the sink gets it.
    pub raw: String,
}

/// Metrics (contract U2). A figure that the host does not export is empty.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Metrics {
    /// Processes started so far.
    pub spawned: Option<u64>,
    /// Processes that exited so far.
    pub exited: Option<u64>,
    /// Processes that run.
    pub live: Option<u64>,
    /// Ids retained, live and exited.
    pub retained: Option<u64>,
    /// Bytes handed over or drained so far.
    pub bytes_drained: Option<u64>,
    /// Bytes that went because a ring was full.
    pub bytes_dropped: Option<u64>,
    /// Spawns whose latency was measured.
    pub spawn_latencies: Option<u64>,
    /// Exits whose latency was measured.
    pub exit_latencies: Option<u64>,
    /// All of it, as exported.
    pub raw: String,
}
