//! A loaded capsule: calls, and their end.
//!
//! A call runs as a task of its own, so that a panic of ours stays in it and so that unloading can wait for it no matter
//! whether the caller still polls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wasmtime::component::InstancePre;

use super::bindings::EntryIndices;
use super::builder::Runtime;
use super::call;
use super::error::CallError;
use super::load::LoadOptions;
use super::state::State;
use crate::supervisor::Principal;

/// How long a guest may go on after it was told that its capsule is being unloaded (A4).
const NOTICE: Duration = Duration::from_secs(1);

/// What an action came to, in the capsule's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleResult {
    /// The verdict: by custom `continue`, or `deny` or `abort` for a refusal or a failure.
    pub action: String,
    /// What goes with it, by custom JSON.
    pub data: Option<String>,
}

/// A loaded capsule. Cloning is cheap and shares it; dropping the last clone frees its code once no call is in flight,
/// and ends nothing.
#[derive(Clone)]
pub struct Capsule(Arc<Loaded>);

struct Loaded {
    runtime: Runtime,
    options: LoadOptions,
    component: InstancePre<State>,
    /// Where the entry point is, or why there is none.
    entry: Result<EntryIndices, String>,
    calls: TaskTracker,
    /// Guests are told to end, and ended if they have not a little later.
    notice: CancellationToken,
}

impl Capsule {
    pub(super) fn new(
        runtime: Runtime,
        options: LoadOptions,
        component: InstancePre<State>,
        entry: Result<EntryIndices, String>,
    ) -> Self {
        Self(Arc::new(Loaded {
            runtime,
            options,
            component,
            entry,
            calls: TaskTracker::new(),
            notice: CancellationToken::new(),
        }))
    }

    /// The name that it was loaded under.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.options.capsule_id
    }

    /// How many calls are in flight, those that wait for their turn not among them.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.0.calls.len()
    }

    /// Performs `action` in a fresh instance, on behalf of `principal`, and hands it `payload`. Waits first while as
    /// many calls are in flight as the runtime allows.
    ///
    /// Dropping the future ends the instance, and with it a command that it was running synchronously; persistent
    /// processes stay.
    ///
    /// # Errors
    /// [`CallError`], which concerns this call only.
    pub async fn call(&self, principal: Principal, action: &str, payload: Vec<u8>) -> Result<CapsuleResult, CallError> {
        let slot = Arc::clone(&self.0.runtime.0.slots).acquire_owned();
        let slot = self
            .0
            .notice
            .run_until_cancelled(slot)
            .await
            .ok_or(CallError::Cancelled)?;
        let slot = slot.map_err(|closed| CallError::Host(closed.to_string()))?;
        let loaded = Arc::clone(&self.0);
        let action = action.to_owned();
        let task = self.0.calls.spawn(async move {
            let result = loaded.call(principal, &action, &payload).await;
            drop(slot);
            result
        });
        match AbortOnDropHandle::new(task).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(CallError::Host("the host panicked; this is a fault of it".into())),
            Err(_) => Err(CallError::Cancelled),
        }
    }

    /// Ends all calls in flight, and refuses new ones with [`CallError::Cancelled`]. Guests that wait
    /// in one of our calls are told `cancelled` at once, and those that still run a second later are ended. Returns when no call is in flight.
    ///
    /// Persistent processes stay, so that the capsule finds them when it is loaded again; they end with their timers or
    /// with the registry. Dropping the future takes nothing back and stops nothing of this.
    pub async fn unload(&self) {
        self.0.notice.cancel();
        self.0.calls.close();
        self.0.calls.wait().await;
    }
}

impl Loaded {
    async fn call(&self, principal: Principal, action: &str, payload: &[u8]) -> Result<CapsuleResult, CallError> {
        let entry = self
            .entry
            .as_ref()
            .map_err(|reason| CallError::NoEntryPoint(reason.clone()))?;
        let runtime = &*self.runtime.0;
        let _ticking = runtime.ticker.for_call();
        let store = State::new(runtime, &self.options, principal, self.notice.clone()).into_store(runtime);
        let run = call::run(store, &self.component, entry, action, payload);
        let interrupt = async {
            self.notice.cancelled().await;
            tokio::time::sleep(NOTICE).await;
        };
        tokio::select! {
            biased;
            () = interrupt => Err(CallError::Cancelled),
            result = run => match result {
                // A guest may fail over an answer that it did not expect; the unloading is the reason then.
                Err(_) if self.notice.is_cancelled() => Err(CallError::Cancelled),
                result => result,
            },
        }
    }
}

impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capsule")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
