//! The state of a loaded capsule, and the run of one action. The callers are in other files: a [`Capsule`](super::Capsule), its
//! interceptors and its `run`.

use std::future::pending;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::builder::Runtime;
use super::call::{self, CapsuleResult};
use super::code::Code;
use super::error::{CallError, LoadError};
use super::options::LoadOptions;
use super::store::{CallContext, store};

/// How long a guest may continue after it was asked to end because its capsule is being unloaded (A4).
pub(super) const UNLOAD_GRACE: Duration = Duration::from_secs(1);

/// A capsule's code and options, its tasks, and the signals that end them.
pub(super) struct Loaded {
    pub(super) runtime: Runtime,
    pub(super) options: LoadOptions,
    code: RwLock<Arc<Code>>,
    pub(super) calls: TaskTracker,
    /// Asks guests to end, and ends those that still run a little later.
    pub(super) unload: CancellationToken,
    _background_place: Option<OwnedSemaphorePermit>,
    /// Ends the services, which are the tasks that no caller waits for.
    pub(super) services: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Loaded {
    /// Takes a place for `run`, if the options ask for it.
    pub(super) fn new(runtime: Runtime, options: LoadOptions, code: Code) -> Result<Self, LoadError> {
        let shared = &*runtime.0;
        let place = match &options.background {
            None => None,
            Some(_) if code.run.is_none() => return Err(LoadError::NoRun),
            Some(_) => {
                let place = Arc::clone(&shared.background).try_acquire_owned();
                Some(place.map_err(|_| LoadError::TooManyInBackground(shared.max_background))?)
            }
        };
        Ok(Self {
            runtime,
            options,
            code: RwLock::new(Arc::new(code)),
            calls: TaskTracker::new(),
            unload: CancellationToken::new(),
            _background_place: place,
            services: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// The code that the next call runs.
    pub(super) fn code(&self) -> Arc<Code> {
        Arc::clone(&self.code.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace_code(&self, code: Code) {
        *self.code.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(code);
    }

    /// Runs one action, in the place that the caller holds.
    pub(super) async fn perform(
        &self,
        context: CallContext,
        action: &str,
        payload: &[u8],
    ) -> Result<CapsuleResult, CallError> {
        if self.unload.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let code = self.code();
        let entry = code
            .entry
            .as_ref()
            .map_err(|reason| CallError::NoEntryPoint(reason.clone()))?;
        let runtime = &*self.runtime.0;
        let store = store(runtime, &self.options, context);
        let run = call::run(store, &code.component, entry, action, payload);
        let interrupt = async {
            self.unload.cancelled().await;
            tokio::time::sleep(UNLOAD_GRACE).await;
        };
        let too_long = async {
            let Some(limit) = runtime.limits.call_time else {
                return pending().await;
            };
            tokio::time::sleep(limit).await;
            CallError::CallTime(limit)
        };
        tokio::select! {
            biased;
            () = interrupt => Err(CallError::Cancelled),
            result = run => match result {
                // After an unload, a guest may fail because of an answer that it did not expect. The unload is the
                // reason then.
                Err(_) if self.unload.is_cancelled() => Err(CallError::Cancelled),
                result => result,
            },
            // Last: a call that never waits sets no timer.
            error = too_long => Err(error),
        }
    }
}
