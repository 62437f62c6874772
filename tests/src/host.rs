//! A host for one test: a registry, a workspace, and a gate that refuses nothing.

use std::path::Path;
use std::sync::Arc;

use capsule_host::sandbox::{Launcher, Unconfined, Workspace};
use capsule_host::supervisor::{
    Ask, Error, Gate, Limits, Owner, Principal, ProcessId, Registry, RunOutput, Scope, SpawnRequest,
};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::wait::watchdog;

/// Allows everything.
#[derive(Debug)]
pub struct AllowAll;

impl Gate for AllowAll {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}

/// A registry and a workspace for one test.
#[derive(Debug)]
pub struct Host {
    /// The registry of the processes.
    pub registry: Registry,
    /// The workspace of the processes.
    pub workspace: Workspace,
    dir: TempDir,
}

impl Host {
    /// An unconfined host with the default limits.
    #[expect(clippy::new_without_default, reason = "a host is started, and not a value")]
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// An unconfined host with default limits that `change` has adapted.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let launcher = Arc::new(Unconfined::new().allow_persistent());
        Self::made_of(launcher, limits, TempDir::new().expect("a workspace"))
    }

    /// A host with a launcher of the test's.
    pub fn launching(launcher: Arc<dyn Launcher>) -> Self {
        Self::made_of(launcher, Limits::default(), TempDir::new().expect("a workspace"))
    }

    /// A host with a launcher and limits of the test's.
    pub fn made_of(launcher: Arc<dyn Launcher>, limits: Limits, dir: TempDir) -> Self {
        let registry = Registry::new(Handle::current(), launcher, limits).expect("a registry");
        let workspace = Workspace::open(dir.path()).expect("a workspace");
        Self {
            registry,
            workspace,
            dir,
        }
    }

    /// A host that does not limit the number of processes.
    pub fn roomy() -> Self {
        Self::with(|limits| {
            limits.processes_per_principal = 10_000;
            limits.retained_per_owner = 10_000;
            limits.retained_total = 10_000;
            limits.ring_memory_per_principal = usize::MAX / 2;
        })
    }

    /// The folder of the workspace.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The scope of the owner that most tests act as.
    pub fn scope(&self) -> Scope {
        self.scope_of("alice", "editor")
    }

    /// The scope of a named owner.
    pub fn scope_of(&self, principal: &str, capsule: &str) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Named(principal.to_owned()),
            capsule: capsule.to_owned(),
        })
    }

    /// The scope of a capsule that runs for no principal.
    pub fn anonymous(&self) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Anonymous,
            capsule: "editor".to_owned(),
        })
    }

    /// `spawn`, with every grant.
    pub async fn run(&self, request: SpawnRequest) -> Result<RunOutput, Error> {
        let scope = self.scope();
        watchdog(scope.spawn(request, &self.workspace, &mut AllowAll)).await
    }

    /// `spawn_persistent`, with every grant.
    pub async fn try_start(&self, request: SpawnRequest) -> Result<ProcessId, Error> {
        self.start_in(&self.scope(), request).await
    }

    /// As [`Self::try_start`], in a scope of the test's.
    pub async fn start_in(&self, scope: &Scope, request: SpawnRequest) -> Result<ProcessId, Error> {
        watchdog(scope.spawn_persistent(request, &self.workspace, &mut AllowAll)).await
    }

    /// The id of a process that was started.
    pub async fn start(&self, request: SpawnRequest) -> String {
        let id = self.try_start(request).await.expect("a process");
        id.expose().to_owned()
    }
}
