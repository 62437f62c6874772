//! A host with one workspace, and calls of capsules as JSON in, JSON out.

use std::path::Path;
use std::sync::Arc;

use capsule_host::runtime::{CallError, Capsule, Grants, LoadOptions, Runtime, RuntimeBuilder};
use capsule_host::sandbox::{Confined, Launcher, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Principal, Registry};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const DEV_SERVER: &str = env!("CAPSULE_DEV_SERVER");
pub(crate) const TEST_GUEST: &str = env!("CAPSULE_TEST_GUEST");
pub(crate) const TEST_GUEST_CORE: &str = env!("CAPSULE_TEST_GUEST_CORE");
pub(crate) const HOSTILE_GUEST: &str = env!("CAPSULE_HOSTILE_GUEST");
pub(crate) const FOREIGN_CORE: &str = env!("CAPSULE_FOREIGN_CORE");

pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) runtime: Runtime,
    pub(crate) workspace: TempDir,
}

impl Host {
    /// Confined, as is the default everywhere.
    pub(crate) fn new() -> Self {
        Self::with(|runtime| runtime)
    }

    pub(crate) fn with(change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        let launcher = Confined::new(Policy::new().network(true)).unwrap();
        Self::over(Arc::new(launcher), change)
    }

    pub(crate) fn unconfined() -> Self {
        Self::over(Arc::new(Unconfined::new().allow_persistent()), |runtime| runtime)
    }

    fn over(launcher: Arc<dyn Launcher>, change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        let registry = Registry::new(tokio::runtime::Handle::current(), launcher, Limits::default()).unwrap();
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let runtime = change(Runtime::builder(registry.clone()).cache_dir(Some(cache)))
            .build()
            .unwrap();
        Self {
            registry,
            runtime,
            workspace: TempDir::new().unwrap(),
        }
    }

    /// Loads a component with every command that the tests use, and persistent processes.
    pub(crate) async fn load(&self, capsule_id: &str, component: &[u8]) -> Capsule {
        let options = LoadOptions {
            grants: Grants {
                commands: ["sh", "cat", "env", "python3"].map(String::from).into(),
                persistent: true,
                network: true,
                ..Grants::default()
            },
            ..LoadOptions::new(capsule_id, Workspace::open(self.workspace.path()).unwrap())
        };
        self.runtime.load(options, component).await.unwrap()
    }

    pub(crate) async fn load_file(&self, capsule_id: &str, path: &str) -> Capsule {
        self.load(capsule_id, &std::fs::read(path).unwrap()).await
    }
}

/// A call as `ada`, who may expect `continue` and JSON.
pub(crate) async fn call(capsule: &Capsule, action: &str, payload: Value) -> Value {
    call_as("ada", capsule, action, payload).await
}

pub(crate) async fn call_as(principal: &str, capsule: &Capsule, action: &str, payload: Value) -> Value {
    let result = try_call(principal, capsule, action, payload).await.unwrap();
    assert_eq!(result.0, "continue", "{action}: {}", result.1);
    result.1
}

/// The verdict and the data of a call.
pub(crate) async fn try_call(
    principal: &str,
    capsule: &Capsule,
    action: &str,
    payload: Value,
) -> Result<(String, Value), CallError> {
    let payload = if payload.is_null() {
        Vec::new()
    } else {
        payload.to_string().into_bytes()
    };
    let result = capsule
        .call(Principal::Named(principal.into()), action, payload)
        .await?;
    let data = result
        .data
        .map_or(Value::Null, |data| serde_json::from_str(&data).unwrap());
    Ok((result.action, data))
}

/// Whether a process of this number exists, also as a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Completes once there is no process of this number, also no zombie; fails where one stays.
pub(crate) async fn gone(pid: u32) {
    let looking = async {
        while exists(pid) {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, looking).await.is_ok(), "{pid} runs on");
}
