//! The operations that a host under test must implement.
//!
//! Every optional operation returns [`Refusal::NotOffered`] by default. A case that needs it is then not applicable,
//! with the reason, and never passed. All names are the suite's, and a host translates its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A host that can be started with settings, any number of times concurrently.
pub trait Host: Send + Sync + 'static {
    /// A host that was started.
    type Running: Running;

    /// The name of the host and how it is configured.
    fn describe(&self) -> Description;

    /// Starts a host that has no capsule and no process yet.
    ///
    /// # Errors
    /// [`Refusal`]. One of [`Start::needs`] that the host does not support is [`Refusal::NotOffered`].
    fn start(&self, start: Start) -> impl Future<Output = Result<Self::Running, Refusal>> + Send;
}

/// A running host. It is dropped without [`Running::shutdown`] only if the suite itself failed.
pub trait Running: Send + Sync + 'static {
    /// Loads a component under a name.
    ///
    /// # Errors
    /// [`Refusal`].
    fn load(&self, load: Load) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Performs an action of a loaded capsule in a fresh instance. `None` is a caller who was not authenticated.
    ///
    /// # Errors
    /// [`CallFailure`]: the way in which the call ended without an answer.
    fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, CallFailure>> + Send;

    /// Loads the same component again in place of the loaded one. Its processes stay.
    ///
    /// # Errors
    /// [`Refusal`].
    fn reload(&self, capsule: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Unloads a capsule, which ends its calls and its processes.
    ///
    /// # Errors
    /// [`Refusal`].
    fn unload(&self, capsule: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// All records of the audit so far, oldest first.
    ///
    /// # Errors
    /// [`Refusal`].
    fn audit(&self) -> impl Future<Output = Result<Vec<AuditRecord>, Refusal>> + Send {
        async { Err(Refusal::NotOffered("audit records".into())) }
    }

    /// The present metrics of this host.
    ///
    /// # Errors
    /// [`Refusal`].
    fn metrics(&self) -> impl Future<Output = Result<Metrics, Refusal>> + Send {
        async { Err(Refusal::NotOffered("metrics".into())) }
    }

    /// Shuts down gracefully. When this returns, no process of the host is left.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// The description of a host.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The name of the host.
    pub name: String,
    /// The version of the host.
    pub version: String,
    /// The parts of the confinement that its processes have. A case about another part is not applicable.
    pub confinement: Vec<Layer>,
    /// Whether two calls of the same capsule and principal can run at once. A case about what such calls do to each other is not
    /// applicable otherwise.
    pub concurrent_calls: bool,
    /// Whether an unconfined host allows persistent processes, which needs a separate permission (contract B2).
    pub persistent_unconfined: bool,
    /// Further facts for the report.
    pub notes: Vec<String>,
}

/// A part of the confinement of processes (contract B1, B4).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layer {
    /// A process sees a read-only system, its workspace, and a `/tmp`, `/dev` and home folder of its own.
    Filesystem,
    /// A process reaches no network of the host's.
    Network,
    /// A process sees the processes of its own tree only.
    Processes,
    /// A process has no capability, and gains no privilege.
    Privileges,
}

impl Layer {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Filesystem, Self::Network, Self::Processes, Self::Privileges];
}

/// What a host is started with for a case.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The workspace of every capsule. It is made for the case, and removed after it.
    pub workspace: PathBuf,
    /// The settings without which the case has no meaning. A host that cannot have one of them refuses.
    pub needs: Settings,
    /// The same settings, and others that only make the case faster or leave it room. A host takes what it can, and may ignore the
    /// others: a case without them takes longer, or is not applicable because there is no room for its processes.
    pub wishes: Settings,
}

/// Settings of a host. For an empty field the contract's default must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Q1.
    pub processes_per_principal: Option<u32>,
    /// Q2, per principal and capsule.
    pub retained_per_owner: Option<u32>,
    /// Q2, of the whole registry.
    pub retained_total: Option<u32>,
    /// Q3, in bytes.
    pub ring_memory_per_principal: Option<u64>,
    /// S8: the output of a stream that `spawn` captures, in bytes.
    pub capture_max: Option<u64>,
    /// X4: the longest `wait`, in milliseconds.
    pub wait_max_ms: Option<u64>,
    /// K2: the time from TERM to KILL if the call names none, in milliseconds.
    pub grace_default_ms: Option<u64>,
    /// K2: the longest such time, in milliseconds.
    pub grace_max_ms: Option<u64>,
    /// T1: the longest lifetime, in milliseconds.
    pub lifetime_max_ms: Option<u64>,
    /// T2: the idle timeout if the request names none, in milliseconds.
    pub idle_default_ms: Option<u64>,
    /// T3: the retention if the request names none, in milliseconds.
    pub retention_default_ms: Option<u64>,
    /// T3: the longest retention, in milliseconds.
    pub retention_max_ms: Option<u64>,
    /// X3: the drain time, in milliseconds.
    pub drain_time_ms: Option<u64>,
    /// R1: the most open files of any process.
    pub max_open_files_ceiling: Option<u32>,
    /// R1: whether limits that the kernel does not enforce are refused.
    pub strict_limits: Option<bool>,
}

/// A capsule to load.
#[derive(Clone, Debug)]
pub struct Load {
    /// The name under which it is loaded.
    pub capsule: String,
    /// The component.
    pub component: &'static [u8],
    /// The grants of the capsule.
    pub grants: Grants,
}

/// The grants of a capsule.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grants {
    /// Commands by exact spelling. Without a command nothing may run (no grant for processes).
    pub commands: Vec<String>,
    /// Whether it may have persistent processes.
    pub persistent: bool,
    /// The patterns of the topics to which it may publish.
    pub publish: Vec<String>,
    /// The patterns of the topics to which it may subscribe. Its own lifecycle events need none.
    pub subscribe: Vec<String>,
    /// Whether it receives lifecycle events of every capsule and principal.
    pub foreign_events: bool,
    /// The patterns of topics, each with the action that a message starts in a fresh instance.
    pub interceptors: BTreeMap<String, String>,
}

impl Default for Grants {
    /// `sh` and persistent processes, which most cases need.
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

/// The result of an action.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `action` of the capsule's result.
    pub action: String,
    /// `data` of the capsule's result.
    pub data: Option<String>,
}

/// How a call ended without an answer.
#[derive(Clone, Debug, Error)]
pub enum CallFailure {
    /// The capsule was unloaded.
    #[error("cancelled")]
    Cancelled,
    /// The guest trapped, or was ended for its behaviour.
    #[error("the guest failed: {0}")]
    Trapped(String),
    /// The host does not offer such a call, for example one beside another of the same capsule and principal. The text is the
    /// reason. The case is not applicable.
    #[error("not offered: {0}")]
    NotOffered(String),
    /// The host could not run the call.
    #[error("the host failed: {0}")]
    Host(String),
}

/// Why an operation was not done.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The host does not have the operation, or the suite has no access to it. The text is the reason.
    #[error("not offered: {0}")]
    NotOffered(String),
    /// The host has the operation, and it failed.
    #[error("{0}")]
    Failed(String),
}

/// One record of the audit (contract U1).
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditRecord {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The name of the called function in its interface.
    pub operation: String,
    /// The principal; empty for none.
    pub principal: String,
    /// The capsule that made the call.
    pub capsule: String,
    /// `ok`, or the name of the error in the interface.
    pub outcome: String,
    /// The hash of the id, for calls that take an id.
    pub id_hash: Option<String>,
    /// The whole record, as the sink receives it.
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
    /// Bytes that were returned or drained so far.
    pub bytes_drained: Option<u64>,
    /// Bytes that were dropped because a ring was full.
    pub bytes_dropped: Option<u64>,
    /// Spawns whose latency was measured.
    pub spawn_latencies: Option<u64>,
    /// Exits whose latency was measured.
    pub exit_latencies: Option<u64>,
    /// All metrics, as exported.
    pub raw: String,
}
