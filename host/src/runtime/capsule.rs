//! A loaded capsule: calls, new code, and the end.
//!
//! A call that waits goes on in a task of its own, so that unloading can wait for it no matter whether the caller still
//! polls.
//!
//! What goes on without a caller (interceptors, `run`) holds what was loaded and not the [`Capsule`], whose last drop
//! ends it.

use std::fmt;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{AcquireError, Mutex, OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::background::{Background, Daemon};
use super::builder::Runtime;
use super::call;
use super::error::{CallError, LoadError};
use super::interceptor::{Deliveries, Interceptors, serve};
use super::load::{Code, LoadOptions};
use super::state::{Cause, State};
use crate::bus::Subscriber;
use crate::supervisor::Principal;

/// How long a guest may go on after it was told that its capsule is being unloaded (A4).
pub(super) const NOTICE: Duration = Duration::from_secs(1);

/// A call that took longer lets others have the thread before its caller makes the next one. Of shorter ones, tokio's budget
/// allows some hundred in a row, so that timers are late by less than T4 says.
const AT_ONCE: Duration = Duration::from_micros(200);

/// What an action came to, in the capsule's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleResult {
    /// The verdict: by custom `continue`, or `deny` or `abort` for a refusal or a failure.
    pub action: String,
    /// What goes with it, by custom JSON.
    pub data: Option<String>,
}

/// A loaded capsule. Cloning is cheap and shares it. Dropping the last clone ends its `run` and its interceptors, and frees
/// its code once no call is in flight; it ends no process and no call.
#[derive(Clone)]
pub struct Capsule(Arc<Held>);

/// What clones of a capsule share: what is loaded, and the end of what goes on by itself.
struct Held(Arc<Loaded>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.services.cancel();
    }
}

pub(super) struct Loaded {
    pub(super) runtime: Runtime,
    pub(super) options: LoadOptions,
    code: RwLock<Arc<Code>>,
    pub(super) calls: TaskTracker,
    /// Guests are told to end, and ended if they have not a little later.
    pub(super) notice: CancellationToken,
    pub(super) interceptors: Interceptors,
    pub(super) background: watch::Sender<Background>,
    /// The one that runs now. Held while it is replaced, so that there never are two.
    daemon: Mutex<Option<Daemon>>,
    _background_place: Option<OwnedSemaphorePermit>,
    /// Ends what goes on without a caller.
    pub(super) services: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Capsule {
    /// Begins to listen, and starts `run`.
    pub(super) fn start(runtime: Runtime, options: LoadOptions, code: Code) -> Result<Self, LoadError> {
        let shared = &*runtime.0;
        let place = match &options.background {
            None => None,
            Some(_) if code.run.is_none() => return Err(LoadError::NoRun),
            Some(_) => {
                let place = Arc::clone(&shared.background).try_acquire_owned();
                Some(place.map_err(|_| LoadError::TooManyInBackground(shared.max_background))?)
            }
        };
        let subscriber = Subscriber::interceptor(options.capsule_id.clone(), options.grants.topics.reach);
        let interceptors = Interceptors::listen(&shared.messaging, &subscriber, &options.interceptors)?;
        let code = Arc::new(code);
        let principal = options.background.clone();
        let loaded = Arc::new(Loaded {
            runtime,
            options,
            code: RwLock::new(Arc::clone(&code)),
            calls: TaskTracker::new(),
            notice: CancellationToken::new(),
            interceptors,
            background: watch::Sender::new(Background::NotDeclared),
            daemon: Mutex::new(None),
            _background_place: place,
            services: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        if let (Some(principal), Ok(mut daemon)) = (principal, loaded.daemon.try_lock()) {
            *daemon = Some(Daemon::start(&loaded, code, principal));
        }
        for number in 0..loaded.interceptors.len() {
            let serving = serve(Arc::clone(&loaded), number);
            let until_ended = loaded.services.clone().run_until_cancelled_owned(serving);
            drop(loaded.tasks.spawn(until_ended));
        }
        Ok(Self(Arc::new(Held(loaded))))
    }

    fn loaded(&self) -> &Arc<Loaded> {
        &self.0.0
    }

    /// The name that it was loaded under.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.loaded().options.capsule_id
    }

    /// How many calls are in flight, instances that messages started among them; those that wait for their turn and what
    /// runs in the background not.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.loaded().calls.len()
    }

    /// Performs `action` in a fresh instance, on behalf of `principal`, and hands it `payload`. Waits first while as
    /// many calls are in flight as the runtime allows the principal, or all of them.
    ///
    /// Until the guest waits for the first time, or has computed for some 10 ms, it runs where the future is polled; then it
    /// goes on in a task of its own, polled or not. So calls that are to run beside each other belong in tasks of their own:
    /// of several in one task, each has the thread until it waits.
    ///
    /// Dropping the future ends the instance, and with it a command that it was running synchronously; persistent
    /// processes stay.
    ///
    /// # Errors
    /// [`CallError`], which concerns this call only.
    ///
    /// # Panics
    /// Outside of a tokio runtime, before the guest has done anything.
    pub async fn call(&self, principal: Principal, action: &str, payload: Vec<u8>) -> Result<CapsuleResult, CallError> {
        let loaded = Arc::clone(self.loaded());
        let runtime = &*loaded.runtime.0;
        let share = runtime.shares.claim(&principal);
        let place = async {
            let share = share.take().await?;
            Ok::<_, AcquireError>((share, Arc::clone(&runtime.slots).acquire_owned().await?))
        };
        let place = loaded
            .notice
            .run_until_cancelled(place)
            .await
            .ok_or(CallError::Cancelled)?;
        let place = place.map_err(|closed| CallError::Host(closed.to_string()))?;
        let cause = Cause {
            principal,
            source: None,
            depth: 0,
            unload: loaded.notice.clone(),
            on_ready: None,
            regain: None,
        };
        let action = action.to_owned();
        let calls = self.loaded().calls.clone();
        let work = async move {
            let result = loaded.perform(cause, &action, &payload).await;
            drop(place);
            result
        };
        settle(&calls, work).await
    }

    /// What became of the messages for its interceptors so far.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        self.loaded().interceptors.deliveries()
    }

    /// Waits until no message waits for its interceptors and no instance runs for one. More may come at any time.
    pub async fn interceptors_idle(&self) {
        let ended = self.loaded().services.cancelled();
        tokio::select! {
            () = self.loaded().interceptors.idle() => {}
            () = ended => {}
        }
    }

    /// How its `run` fares now.
    #[must_use]
    pub fn background(&self) -> Background {
        self.loaded().background.borrow().clone()
    }

    /// Waits until its `run` has called `signal-ready`. A capsule without one, and one whose `run` has returned, has
    /// nothing to wait for.
    ///
    /// # Errors
    /// What made it fail, or [`CallError::Cancelled`] once it was ended.
    pub async fn ready(&self) -> Result<(), CallError> {
        let mut background = self.loaded().background.subscribe();
        let settled = background
            .wait_for(|background| !matches!(background, Background::Starting))
            .await;
        match settled.as_deref() {
            Ok(Background::Failed(error)) => Err(error.clone()),
            Ok(Background::Ended) | Err(_) => Err(CallError::Cancelled),
            Ok(Background::NotDeclared | Background::Starting | Background::Ready | Background::Returned) => Ok(()),
        }
    }

    /// Takes other code for every later call and every later message. What was started stays: processes with their ids,
    /// queued messages, and calls in flight, which finish on the code that they began on. A `run` is ended as by
    /// [`Self::unload`], and that of the new code is started then.
    ///
    /// When it fails, nothing has changed.
    ///
    /// # Errors
    /// As [`Runtime::load`], and [`LoadError::Unloaded`].
    pub async fn reload(&self, component: &[u8]) -> Result<(), LoadError> {
        let loaded = self.loaded();
        let code = loaded.runtime.compile(component).await?;
        if loaded.options.background.is_some() && code.run.is_none() {
            return Err(LoadError::NoRun);
        }
        let code = Arc::new(code);
        // A task of its own: dropping the future must not leave the capsule without its `run`.
        let loaded = Arc::clone(loaded);
        let swap = tokio::spawn(async move {
            let mut daemon = loaded.daemon.lock().await;
            if loaded.services.is_cancelled() {
                return Err(LoadError::Unloaded);
            }
            *loaded.code.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&code);
            let Some(principal) = loaded.options.background.clone() else {
                return Ok(());
            };
            if let Some(old) = daemon.take() {
                old.end().await;
            }
            if !loaded.services.is_cancelled() {
                *daemon = Some(Daemon::start(&loaded, code, principal));
            }
            Ok(())
        });
        swap.await.map_err(|error| LoadError::Host(error.to_string()))?
    }

    /// Ends everything of it: calls in flight, its `run`, its interceptors, and every process that it started, on behalf of
    /// whomever. New calls are [`CallError::Cancelled`]. Guests that wait in one of our calls are told `cancelled` at once,
    /// and those that still run a second later are ended; then its processes end as when the registry shuts down. Returns
    /// when nothing of it is left.
    ///
    /// Processes belong to the capsule's name: what another capsule of the same name has started ends too. To keep them,
    /// [`Self::reload`] or drop the capsule. Dropping the future takes nothing back and stops nothing of this.
    pub async fn unload(&self) {
        let loaded = Arc::clone(self.loaded());
        let ended = tokio::spawn(async move {
            loaded.notice.cancel();
            loaded.services.cancel();
            // A reload in progress may be about to start a `run`; later ones see that they come too late.
            drop(loaded.daemon.lock().await);
            loaded.tasks.close();
            loaded.tasks.wait().await;
            loaded.calls.close();
            loaded.calls.wait().await;
            // Last: guests that were told to end start nothing more.
            loaded.runtime.0.registry.end_capsule(&loaded.options.capsule_id).await;
        });
        if let Err(error) = ended.await {
            tracing::error!(capsule = self.id(), %error, "unloading did not finish; this is a fault of the host");
        }
    }
}

impl Loaded {
    /// Runs one action, in the place that the caller holds.
    pub(super) async fn perform(&self, cause: Cause, action: &str, payload: &[u8]) -> Result<CapsuleResult, CallError> {
        if self.notice.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let code = Arc::clone(&self.code.read().unwrap_or_else(PoisonError::into_inner));
        let entry = code
            .entry
            .as_ref()
            .map_err(|reason| CallError::NoEntryPoint(reason.clone()))?;
        let runtime = &*self.runtime.0;
        let store = State::new(runtime, &self.options, cause).into_store(runtime);
        let run = call::run(store, &code.component, entry, action, payload);
        let interrupt = async {
            self.notice.cancelled().await;
            tokio::time::sleep(NOTICE).await;
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
                // A guest may fail over an answer that it did not expect; the unloading is the reason then.
                Err(_) if self.notice.is_cancelled() => Err(CallError::Cancelled),
                result => result,
            },
            // Last: a call that never waits sets no timer.
            error = too_long => Err(error),
        }
    }
}

/// Drives a call to its result: in the caller's task if it never waits, for waking another costs as much as a small guest does,
/// and else in a task of its own.
async fn settle<W>(calls: &TaskTracker, work: W) -> Result<CapsuleResult, CallError>
where
    W: Future<Output = Result<CapsuleResult, CallError>> + Send + 'static,
{
    // Before the guest does anything: where there is none, nothing is half-done.
    let runtime = Handle::current();
    let panicked = || Err(CallError::Host("the host panicked; this is a fault of it".into()));
    let begun = Instant::now();
    let mut work = Box::pin(calls.track_future(work));
    // What a panic leaves behind is dropped with the call. What others share with it is behind locks that heal.
    let first = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))));
    match first.await {
        Ok(Poll::Ready(result)) => {
            drop(work);
            if begun.elapsed() > AT_ONCE {
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
