//! A host with one workspace for capsules, and calls of capsules with JSON as payload and result.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::path::Path;
use std::sync::Arc;

use capsule_host::runtime::{CallError, Capsule, Grants, LoadOptions, Runtime, RuntimeBuilder, Topics};
use capsule_host::sandbox::{Confined, Launcher, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Principal, Registry};
use serde_json::Value;
use tempfile::TempDir;

/// The example capsule.
pub const DEV_SERVER: &str = env!("CAPSULE_DEV_SERVER");
/// A capsule that does, through the SDK, what a test tells it to do (`tests/guests`).
pub const TEST_GUEST: &str = env!("CAPSULE_TEST_GUEST");
/// The same capsule, as a core module without WASI.
pub const TEST_GUEST_CORE: &str = env!("CAPSULE_TEST_GUEST_CORE");
/// A capsule that uses the published `astrid-sdk`, as a core module (`tests/foreign`).
pub const FOREIGN_CORE: &str = env!("CAPSULE_FOREIGN_CORE");

/// A component that imports every interface and makes the calls that a test names (`tests/hostile`).
pub const HOSTILE_GUEST: &str = env!("CAPSULE_HOSTILE_GUEST");

/// A registry, a runtime with this registry, and a workspace, all of them for one test.
#[derive(Debug)]
pub struct Host {
    /// The registry of the processes.
    pub registry: Registry,
    /// The runtime of the calls.
    pub runtime: Runtime,
    /// The workspace of the processes.
    pub workspace: TempDir,
}

impl Host {
    /// A confined host, which is the default everywhere.
    #[expect(clippy::new_without_default, reason = "a host is started, and not a value")]
    pub fn new() -> Self {
        Self::with(|runtime| runtime)
    }

    /// A confined host with a runtime that `change` has adapted.
    pub fn with(change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        let launcher = Confined::new(Policy::new()).unwrap();
        Self::over(Arc::new(launcher), Limits::default(), change)
    }

    /// An unconfined host with the default limits.
    pub fn unconfined() -> Self {
        Self::unconfined_with(Limits::default(), |runtime| runtime)
    }

    /// An unconfined host with these limits and a runtime that `change` has adapted.
    pub fn unconfined_with(limits: Limits, change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Self {
        Self::over(Arc::new(Unconfined::new().allow_persistent()), limits, change)
    }

    fn over(
        launcher: Arc<dyn Launcher>,
        limits: Limits,
        change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Self {
        let registry = Registry::new(tokio::runtime::Handle::current(), launcher, limits).unwrap();
        let cache = env!("CAPSULE_COMPILED").into();
        let runtime = change(Runtime::builder(registry.clone()).cache_dir(Some(cache)))
            .build()
            .unwrap();
        Self {
            registry,
            runtime,
            workspace: TempDir::new().unwrap(),
        }
    }

    /// Loads a component with a grant for every command that the tests use, and for persistent processes.
    pub async fn load(&self, capsule_id: &str, component: &[u8]) -> Capsule {
        let grants = Grants {
            commands: ["sh", "cat", "env", "python3"].map(String::from).into(),
            persistent: true,
            ..Grants::default()
        };
        self.load_granted(capsule_id, grants, component).await
    }

    /// As [`Self::load`], from a file.
    pub async fn load_file(&self, capsule_id: &str, path: &str) -> Capsule {
        self.load(capsule_id, &std::fs::read(path).unwrap()).await
    }

    /// Loads the capsule that keeps everything that it gets (`tests/hostile`), as `hostile`.
    pub async fn load_hostile(&self, topics: Topics) -> Capsule {
        let grants = Grants {
            commands: vec!["sh".into()],
            persistent: true,
            topics,
            ..Grants::default()
        };
        self.load_granted("hostile", grants, &std::fs::read(HOSTILE_GUEST).unwrap())
            .await
    }

    /// Loads a component with these grants.
    pub async fn load_granted(&self, capsule_id: &str, grants: Grants, component: &[u8]) -> Capsule {
        let options = LoadOptions {
            grants,
            ..LoadOptions::new(capsule_id, Workspace::open(self.workspace.path()).unwrap())
        };
        self.runtime.load(options, component).await.unwrap()
    }
}

/// Makes a call as `ada`, which must return `continue` and JSON.
pub async fn call(capsule: &Capsule, action: &str, payload: Value) -> Value {
    call_as("ada", capsule, action, payload).await
}

/// Makes a call as `principal`, which must return `continue` and JSON.
pub async fn call_as(principal: &str, capsule: &Capsule, action: &str, payload: Value) -> Value {
    let result = try_call(principal, capsule, action, payload).await.unwrap();
    assert_eq!(result.0, "continue", "{action}: {}", result.1);
    result.1
}

/// The verdict and the data of a call.
pub async fn try_call(
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

/// Whether a process with this pid exists, also as a zombie.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Completes when no process with this pid exists, not even as a zombie. Fails if one stays.
pub async fn gone(pid: u32) {
    let looking = async {
        while exists(pid) {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, looking).await.is_ok(), "{pid} runs on");
}
