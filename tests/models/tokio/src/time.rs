//! A clock that advances when a model says so.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Add;
use std::task::{Poll, Waker};
use std::time::Duration;

/// A time on that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

#[derive(Default)]
struct Clock {
    now: Duration,
    sleepers: Vec<Waker>,
}

thread_local! {
    // The checker runs all tasks of an execution on one thread.
    static CLOCK: RefCell<Clock> = RefCell::default();
}

impl Instant {
    /// The present time.
    #[must_use]
    pub fn now() -> Self {
        Self(CLOCK.with_borrow(|clock| clock.now))
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// Completes when the clock has reached `at`.
pub async fn sleep_until(at: Instant) {
    poll_fn(|context| {
        CLOCK.with_borrow_mut(|clock| {
            if at.0 <= clock.now {
                return Poll::Ready(());
            }
            clock.sleepers.push(context.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

/// The time passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `future`, for at most `time`.
///
/// # Errors
/// The time passed first.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let at = Instant::now() + time;
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep_until(at) => Err(Elapsed),
    }
}

/// The beginning of an execution.
pub fn reset() {
    CLOCK.set(Clock::default());
}

/// Advances the clock.
pub fn advance(time: Duration) {
    super::let_others_run();
    let sleepers = CLOCK.with_borrow_mut(|clock| {
        clock.now += time;
        std::mem::take(&mut clock.sleepers)
    });
    sleepers.into_iter().for_each(Waker::wake);
}
