//! A loaded capsule: its calls, its reload and its end.
//!
//! A call that waits continues in a task of its own, so that unloading can wait for it whether or not the caller still polls.
//!
//! Tasks without a caller (interceptors, `run`) hold the `Loaded` state and not the [`Capsule`], so the last drop of the
//! [`Capsule`] ends them.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::AcquireError;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::background::{Background, Daemon};
use super::builder::Runtime;
use super::call::CapsuleResult;
use super::code::Code;
use super::error::{CallError, LoadError};
use super::interceptor::{Deliveries, Interceptors};
use super::loaded::Loaded;
use super::options::LoadOptions;
use super::store::CallContext;
use capsule_supervisor::Principal;

/// A call that took longer yields to other tasks before its caller makes the next one. Of shorter calls, tokio's budget
/// allows some hundred in a row, which delays timers by less than T4 allows.
const YIELD_AFTER: Duration = Duration::from_micros(200);

/// A loaded capsule. Cloning is cheap and shares it. Dropping the last clone ends its `run` and its interceptors, and
/// frees its code when no call is in flight. It ends no process and no call.
#[derive(Clone)]
pub struct Capsule(Arc<Inner>);

/// The state that clones of a capsule share: the loaded code, and the services, which end when this is dropped.
struct Inner {
    loaded: Arc<Loaded>,
    interceptors: Arc<Interceptors>,
    daemon: Arc<Daemon>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.loaded.services.cancel();
    }
}

impl Capsule {
    /// Subscribes the interceptors, and starts `run`.
    pub(super) fn start(runtime: Runtime, options: LoadOptions, code: Code) -> Result<Self, LoadError> {
        let loaded = Arc::new(Loaded::new(runtime, options, code)?);
        let interceptors = Interceptors::listen(&loaded)?;
        let daemon = Daemon::start(&loaded);
        interceptors.serve();
        Ok(Self(Arc::new(Inner {
            loaded,
            interceptors,
            daemon,
        })))
    }

    fn loaded(&self) -> &Arc<Loaded> {
        &self.0.loaded
    }

    /// The name under which the capsule was loaded.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.loaded().options.capsule_id
    }

    /// The number of calls in flight, including the instances that messages started. Calls that wait for their turn,
    /// and `run`, are not counted.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.loaded().calls.len()
    }

    /// Performs `action` with `payload` in a fresh instance, on behalf of `principal`. The call first waits for its
    /// turn while the principal, or the whole runtime, has as many calls in flight as it may have.
    ///
    /// Until the guest first waits, or has computed for some 10 ms, it runs where the future is polled. Then it
    /// continues in a task of its own, whether the future is polled or not. So calls that are to run concurrently
    /// belong in tasks of their own: of several calls in one task, each occupies the thread until it waits.
    ///
    /// Dropping the future ends the instance, and with it a command that the instance runs by `spawn` or holds by a
    /// handle. Persistent processes run on.
    ///
    /// # Errors
    /// [`CallError`], which concerns this call only.
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime; then the guest has not run.
    pub async fn call(&self, principal: Principal, action: &str, payload: Vec<u8>) -> Result<CapsuleResult, CallError> {
        let loaded = Arc::clone(self.loaded());
        let runtime = &*loaded.runtime.0;
        let share = runtime.shares.claim(&principal);
        let place = async {
            let share = share.take().await?;
            Ok::<_, AcquireError>((share, Arc::clone(&runtime.slots).acquire_owned().await?))
        };
        let place = loaded
            .unload
            .run_until_cancelled(place)
            .await
            .ok_or(CallError::Cancelled)?;
        let place = place.map_err(|closed| CallError::Host(closed.to_string()))?;
        let context = CallContext {
            principal,
            source: None,
            depth: 0,
            unload: loaded.unload.clone(),
            on_ready: None,
            regain: None,
        };
        let action = action.to_owned();
        let calls = self.loaded().calls.clone();
        let work = async move {
            let result = loaded.perform(context, &action, &payload).await;
            drop(place);
            result
        };
        drive(&calls, work).await
    }

    /// The outcomes of the messages for the capsule's interceptors so far.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        self.0.interceptors.deliveries()
    }

    /// Waits until no message waits for the capsule's interceptors and no instance of an interceptor runs. New messages
    /// may arrive at any time.
    pub async fn interceptors_idle(&self) {
        let ended = self.loaded().services.cancelled();
        tokio::select! {
            () = self.0.interceptors.idle() => {}
            () = ended => {}
        }
    }

    /// The present state of the capsule's `run`.
    #[must_use]
    pub fn background(&self) -> Background {
        self.0.daemon.status().borrow().clone()
    }

    /// Waits until `run` has called `signal-ready`. Returns at once for a capsule without a `run`, and for one whose
    /// `run` has returned.
    ///
    /// # Errors
    /// The error with which `run` failed, or [`CallError::Cancelled`] if it was ended.
    pub async fn ready(&self) -> Result<(), CallError> {
        let mut background = self.0.daemon.status();
        let settled = background
            .wait_for(|background| !matches!(background, Background::Starting))
            .await;
        match settled.as_deref() {
            Ok(Background::Failed(error)) => Err(error.clone()),
            Ok(Background::Ended) | Err(_) => Err(CallError::Cancelled),
            Ok(Background::NotDeclared | Background::Starting | Background::Ready | Background::Returned) => Ok(()),
        }
    }

    /// Replaces the code for every later call and every later message. Everything that was started stays: processes
    /// with their ids, queued messages, and calls in flight, which finish on the code with which they began. A `run` is
    /// ended as by [`Self::unload`], and then the `run` of the new code is started.
    ///
    /// If it fails, nothing has changed.
    ///
    /// # Errors
    /// As for [`Runtime::load`], and [`LoadError::Unloaded`].
    pub async fn reload(&self, component: &[u8]) -> Result<(), LoadError> {
        let loaded = self.loaded();
        let code = Code::compile(&loaded.runtime.0, component).await?;
        if loaded.options.background.is_some() && code.run.is_none() {
            return Err(LoadError::NoRun);
        }
        // A task of its own: dropping the future must not leave the capsule without its `run`.
        let swap = tokio::spawn(Arc::clone(&self.0.daemon).reload(code));
        swap.await.map_err(|error| LoadError::Host(error.to_string()))?
    }

    /// Ends calls in flight, `run`, the interceptors, and every process that the capsule started, under any principal.
    /// New calls return [`CallError::Cancelled`]. A guest that waits in a host call gets `cancelled` at once, and a
    /// guest that still runs a second later is ended. Then the processes are ended, as in a shutdown of the registry.
    /// Returns when all of them are gone.
    ///
    /// Processes belong to the capsule's name, so processes of another loaded capsule with the same name end too. To
    /// keep the processes, use [`Self::reload`] or drop the capsule. If the future is dropped, the unload still
    /// completes.
    pub async fn unload(&self) {
        let loaded = Arc::clone(self.loaded());
        let daemon = Arc::clone(&self.0.daemon);
        let ended = tokio::spawn(async move {
            loaded.unload.cancel();
            loaded.services.cancel();
            // Waits for a reload in progress. Later reloads see that the capsule is unloaded.
            daemon.reloaded().await;
            loaded.tasks.close();
            loaded.tasks.wait().await;
            loaded.calls.close();
            loaded.calls.wait().await;
            // Last, when all guests have ended and start no more processes.
            loaded.runtime.0.registry.end_capsule(&loaded.options.capsule_id).await;
        });
        if let Err(error) = ended.await {
            tracing::error!(capsule = self.id(), %error, "unloading did not finish; this is a bug in the host");
        }
    }
}

/// Drives a call to its result: in the caller's task if it never waits, because waking another task costs as much as a
/// small guest does; otherwise in a task of its own.
async fn drive<W>(calls: &TaskTracker, work: W) -> Result<CapsuleResult, CallError>
where
    W: Future<Output = Result<CapsuleResult, CallError>> + Send + 'static,
{
    // Before the guest runs: without a runtime this panics, and then nothing is half done.
    let runtime = Handle::current();
    let panicked = || Err(CallError::Host("the host panicked; this is a bug in the host".into()));
    let begun = Instant::now();
    let mut work = Box::pin(calls.track_future(work));
    // A panic's leftovers are dropped with the call. State that other calls share is behind locks that recover.
    let first = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))));
    match first.await {
        Ok(Poll::Ready(result)) => {
            drop(work);
            if begun.elapsed() > YIELD_AFTER {
                tokio::task::yield_now().await;
            }
            return result;
        }
        Ok(Poll::Pending) => {}
        Err(_) => return panicked(),
    }
    match AbortOnDropHandle::new(runtime.spawn(work)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => panicked(),
        Err(_) => Err(CallError::Cancelled),
    }
}

impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capsule")
            .field("options", &self.loaded().options)
            .finish_non_exhaustive()
    }
}
