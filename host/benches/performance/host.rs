//! The host of the measurements: it has no limits that matter, and allows everything.

use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{Confined, Launcher, Network, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Ask, Gate, Limits, Owner, Principal, Registry, Scope, SpawnRequest};
use tokio::runtime::Runtime;

use crate::child;

pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) registry: Registry,
    pub(crate) workspace: Workspace,
    _folder: tempfile::TempDir,
}

pub(crate) struct AllowAll;

impl Gate for AllowAll {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}

impl Host {
    pub(crate) fn unconfined() -> Self {
        Self::new(Arc::new(Unconfined::new().allow_persistent()))
    }

    pub(crate) fn confined() -> Self {
        Self::in_network(Network::default())
    }

    /// Confined, in this network.
    pub(crate) fn in_network(network: Network) -> Self {
        Self::under(Policy::new().network(network))
    }

    /// Confined, by this policy.
    pub(crate) fn under(policy: Policy) -> Self {
        Self::new(Arc::new(Confined::new(policy).unwrap()))
    }

    fn new(launcher: Arc<dyn Launcher>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let limits = Limits {
            processes_per_principal: usize::MAX,
            retained_per_owner: usize::MAX,
            retained_total: usize::MAX,
            ring_memory_per_principal: usize::MAX,
            retention_max: Duration::from_secs(24 * 60 * 60),
            ..Limits::default()
        };
        let registry = Registry::new(runtime.handle().clone(), launcher, limits).unwrap();
        Self {
            runtime,
            registry,
            workspace,
            _folder: folder,
        }
    }

    pub(crate) fn scope(&self, principal: &str) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Named(principal.into()),
            capsule: "bench".into(),
        })
    }

    /// Starts a persistent process and returns its id.
    pub(crate) async fn start(&self, scope: &Scope, request: SpawnRequest) -> String {
        let id = scope
            .spawn_persistent(request, &self.workspace, &mut AllowAll)
            .await
            .unwrap();
        id.expose().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.runtime.block_on(self.registry.shutdown());
    }
}

/// A request for this program as a child that does `work`.
pub(crate) fn request(work: &[&str]) -> SpawnRequest {
    let (cmd, args) = child::command(work);
    SpawnRequest {
        cmd,
        args,
        ..SpawnRequest::default()
    }
}

/// A request for a child that does nothing for a long time.
pub(crate) fn idle() -> SpawnRequest {
    SpawnRequest {
        cmd: "/bin/sleep".into(),
        args: vec!["86400".into()],
        ..SpawnRequest::default()
    }
}

/// Waits until the ring of a process holds `bytes`, by repeated checks. Nothing is measured meanwhile.
pub(crate) async fn buffered(scope: &Scope, id: &str, bytes: u64) {
    while scope.status(id).unwrap().buffered_bytes < bytes {
        tokio::task::yield_now().await;
    }
}
