//! A host of one test's own: a registry, a workspace, and a gate that refuses nothing.

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

/// A registry and a workspace that are one test's alone.
#[derive(Debug)]
pub struct Host {
    /// Owns the processes.
    pub registry: Registry,
    /// Where they run.
    pub workspace: Workspace,
    dir: TempDir,
}

impl Host {
    /// Unconfined, with the default limits.
    #[expect(clippy::new_without_default, reason = "a host is started, and not a value")]
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// A host whose limits are the defaults but for what `change` does to them.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let launcher = Arc::new(Unconfined::new().allow_persistent());
        Self::made_of(launcher, limits, TempDir::new().expect("a workspace"))
    }

    /// A host with a launcher of the test's own.
    pub fn launching(launcher: Arc<dyn Launcher>) -> Self {
        Self::made_of(launcher, Limits::default(), TempDir::new().expect("a workspace"))
    }

    /// A host of which a test says everything.
    pub fn made_of(launcher: Arc<dyn Launcher>, limits: Limits, dir: TempDir) -> Self {
        let registry = Registry::new(Handle::current(), launcher, limits).expect("a registry");
        let workspace = Workspace::open(dir.path()).expect("a workspace");
        Self {
            registry,
            workspace,
            dir,
        }
    }

    /// A host that admits as many processes as a test likes.
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

    /// The view of the owner that most tests act as.
    pub fn scope(&self) -> Scope {
        self.scope_of("alice", "editor")
    }

    /// The view of a named owner.
    pub fn scope_of(&self, principal: &str, capsule: &str) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Named(principal.to_owned()),
            capsule: capsule.to_owned(),
        })
    }

    /// The view of a capsule that is called for no principal.
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

    /// [`Self::try_start`], in a view of the test's.
    pub async fn start_in(&self, scope: &Scope, request: SpawnRequest) -> Result<ProcessId, Error> {
        watchdog(scope.spawn_persistent(request, &self.workspace, &mut AllowAll)).await
    }

    /// A started process's id.
    pub async fn start(&self, request: SpawnRequest) -> String {
        let id = self.try_start(request).await.expect("a process");
        id.expose().to_owned()
    }
}
