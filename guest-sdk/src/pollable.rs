//! Things that become ready, and waiting for the first of several.
//!
//! The host has pollables, for which `poll` waits without a deadline, and none of them is a timer. Only
//! single calls have a deadline: those that wait for one exit, for one subscription, or for time
//! itself. So the cost of a [`select`] with a [`Timer`] depends on the other sources; its documentation
//! gives the cost.

use crate::{
    Error, Result, sys,
    waiting::{LONGEST, SHORTEST, pass},
    wit::{
        poll::{self as wit, ErrorCode},
        process::ProcessHandle,
    },
};
use std::{
    fmt,
    rc::{Rc, Weak},
    time::Duration,
};

/// An exit, output or a message that becomes ready. Dropping it has no other effect.
///
/// It comes from [`Child::exit_ready`], [`Child::logs_ready`], their namesakes on [`Process`], and
/// [`Subscription::ready`]. It may outlive the child or the subscription that it came from, and is
/// then ready.
///
/// Wait for one with [`block`](Self::block), for the first of several with [`select`], and in an
/// `async` function with `.await`, under [`block_on`](crate::block_on).
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// let child = capsule_sdk::Command::new("make").spawn()?;
/// let exited = child.exit_ready();
/// println!("{}", if exited.is_ready() { "was quick" } else { "takes its time" });
/// exited.block()?;
/// # Ok(()) }
/// ```
///
/// [`Child::exit_ready`]: crate::Child::exit_ready
/// [`Child::logs_ready`]: crate::Child::logs_ready
/// [`Process`]: crate::Process
/// [`Subscription::ready`]: crate::ipc::Subscription::ready
#[derive(Clone)]
pub struct Pollable {
    /// Shared with a future that waits for it.
    raw: Rc<wit::Pollable>,
    /// Declared after `raw`, which came from it, so that it is dropped later.
    parent: Parent,
    exit: bool,
}

/// The handle that a pollable belongs to, whose exit can be waited for with a deadline.
#[derive(Clone)]
enum Parent {
    /// Weak: a pollable of a child does not keep the child alive.
    Child(Weak<ProcessHandle>),
    /// Strong: without the handle the pollable would be ready too early.
    Process(Rc<ProcessHandle>),
    Other,
}

impl Pollable {
    pub(crate) fn exit_of_child(handle: &Rc<ProcessHandle>) -> Self {
        Self::new(handle.subscribe_exit(), Parent::Child(Rc::downgrade(handle)), true)
    }

    pub(crate) fn logs_of_child(handle: &Rc<ProcessHandle>) -> Self {
        Self::new(handle.subscribe_logs(), Parent::Child(Rc::downgrade(handle)), false)
    }

    pub(crate) fn exit_of_process(handle: &Rc<ProcessHandle>) -> Self {
        Self::new(handle.subscribe_exit(), Parent::Process(Rc::clone(handle)), true)
    }

    pub(crate) fn logs_of_process(handle: &Rc<ProcessHandle>) -> Self {
        Self::new(handle.subscribe_logs(), Parent::Process(Rc::clone(handle)), false)
    }

    pub(crate) fn other(raw: wit::Pollable) -> Self {
        Self::new(raw, Parent::Other, false)
    }

    fn new(raw: wit::Pollable, parent: Parent, exit: bool) -> Self {
        Self {
            raw: Rc::new(raw),
            parent,
            exit,
        }
    }

    fn handle(&self) -> Option<Rc<ProcessHandle>> {
        match &self.parent {
            Parent::Child(handle) => handle.upgrade(),
            Parent::Process(handle) => Some(Rc::clone(handle)),
            Parent::Other => None,
        }
    }

    /// Whether it is ready now. Does not wait.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let child = capsule_sdk::Command::new("make").spawn()?;
    /// let done = child.exit_ready().is_ready();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.raw.ready()
    }

    /// Waits until it is ready, for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the capsule is being unloaded.
    ///
    /// ```no_run
    /// # fn main() -> capsule_sdk::Result<()> {
    /// let child = capsule_sdk::Command::new("make").spawn()?;
    /// child.logs_ready().block()?;
    /// println!("it begins: {}", child.read_logs()?.stdout);
    /// # Ok(()) }
    /// ```
    pub fn block(&self) -> Result<()> {
        Ok(self.raw.block()?)
    }
}

impl fmt::Debug for Pollable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pollable").finish_non_exhaustive()
    }
}

/// A moment, as something to wait for: the deadline of a [`select`], or a pause in an `async`
/// function. Nothing runs for it at the host, so dropping it costs nothing.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use capsule_sdk::{Timer, select};
/// use std::time::Duration;
///
/// let child = capsule_sdk::Command::new("make").spawn()?;
/// let (exited, late) = (child.exit_ready(), Timer::after(Duration::from_secs(60)));
/// match select(&[&exited, &late])?.first() {
///     Some(0) => println!("done"),
///     _ => println!("still at it"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// In the time of [`sys::monotonic`]; `Duration::MAX` stands for never.
    at: Duration,
}

impl Timer {
    /// The moment after this time from now; never, if the clock cannot express it.
    ///
    /// ```no_run
    /// let soon = capsule_sdk::Timer::after(std::time::Duration::from_millis(250));
    /// ```
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self {
            at: sys::monotonic().saturating_add(duration),
        }
    }

    /// The time until that moment; zero once it has come.
    ///
    /// ```no_run
    /// let timer = capsule_sdk::Timer::after(std::time::Duration::from_secs(1));
    /// assert!(!timer.left().is_zero());
    /// ```
    #[must_use]
    pub fn left(&self) -> Duration {
        self.at.saturating_sub(sys::monotonic())
    }

    pub(crate) const fn comes(&self) -> bool {
        self.at.as_nanos() < Duration::MAX.as_nanos()
    }

    /// Whether the moment has come.
    ///
    /// ```no_run
    /// let timer = capsule_sdk::Timer::after(std::time::Duration::ZERO);
    /// assert!(timer.is_over());
    /// ```
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// What [`select`] can wait for: a [`Pollable`] or a [`Timer`].
///
/// ```no_run
/// use capsule_sdk::{Pollable, Source, Timer};
///
/// fn both<'a>(exit: &'a Pollable, timer: &'a Timer) -> [&'a dyn Source; 2] {
///     [exit, timer]
/// }
/// ```
pub trait Source {
    #[doc(hidden)]
    fn kind(&self) -> Kind<'_>;
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    Pollable(&'a Pollable),
    Timer(Timer),
}

impl Source for Pollable {
    fn kind(&self) -> Kind<'_> {
        Kind::Pollable(self)
    }
}

impl Source for Timer {
    fn kind(&self) -> Kind<'_> {
        Kind::Timer(*self)
    }
}

/// Waits until at least one of several is ready, and returns the indices of all that are, in
/// ascending order. At most 256 pollables.
///
/// The cost of waiting depends on the timers, because `poll` of the interface cannot wait for one:
///
/// * Without a [`Timer`], and with timers only, the host wakes the capsule once, at the moment.
///   The same holds for one exit with timers.
/// * With a timer and several pollables, or one that is not an exit, the pollables are checked
///   repeatedly, 1 to 100 ms apart; the interval grows while none is ready. Readiness is then
///   noticed up to 100 ms late, except for the exit of the first process among them; the timer is
///   exact. Between two checks the capsule waits at the host and computes nothing.
///
/// For one subscription with a timeout [`Subscription::recv`] is exact. Where the embedder grants
/// a program such as `sleep`, its exit is a timer that `poll` can wait for; it costs a process.
///
/// # Errors
/// [`Error::InvalidInput`] without a source, [`Error::TooLarge`] for too many,
/// [`Error::Cancelled`] when the capsule is being unloaded.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// use capsule_sdk::{Command, Source, select};
///
/// let children = [Command::new("make").spawn()?, Command::new("cargo").arg("check").spawn()?];
/// let exits: Vec<_> = children.iter().map(capsule_sdk::Child::exit_ready).collect();
/// let sources: Vec<&dyn Source> = exits.iter().map(|exit| exit as _).collect();
/// println!("first to end: {:?}", select(&sources)?);
/// # Ok(()) }
/// ```
///
/// [`Subscription::recv`]: crate::ipc::Subscription::recv
pub fn select(sources: &[&dyn Source]) -> Result<Vec<usize>> {
    let mut pollables = Vec::new();
    let mut timers = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        match source.kind() {
            Kind::Pollable(pollable) => pollables.push((index, pollable)),
            Kind::Timer(timer) => timers.push((index, timer)),
        }
    }
    first_of(&pollables, &timers)
}

/// Waits until a source of either list is ready; returns the names of all that are, in ascending order.
pub(crate) fn first_of<N: Copy + Ord>(pollables: &[(N, &Pollable)], timers: &[(N, Timer)]) -> Result<Vec<N>> {
    let bare: Vec<_> = pollables.iter().map(|(_, pollable)| *pollable).collect();
    let timer = timers.iter().map(|(_, timer)| *timer).min();
    // A timer that never fires needs no polling.
    let Some(timer) = timer.filter(|timer| timer.comes() || pollables.is_empty()) else {
        let ready = poll(&bare)?;
        return Ok(ready
            .iter()
            .filter_map(|at| pollables.get(*at))
            .map(|(name, _)| *name)
            .collect());
    };
    let mut pause = Pause::new();
    loop {
        let over = timers
            .iter()
            .filter(|(_, timer)| timer.is_over())
            .map(|(name, _)| *name);
        let ready = pollables
            .iter()
            .filter(|(_, pollable)| pollable.is_ready())
            .map(|(name, _)| *name);
        let mut ready: Vec<_> = over.chain(ready).collect();
        if !ready.is_empty() {
            ready.sort_unstable();
            return Ok(ready);
        }
        pause.pass(&bare, timer)?;
    }
}

fn poll(pollables: &[&Pollable]) -> Result<Vec<usize>> {
    let raw: Vec<_> = pollables.iter().map(|pollable| &*pollable.raw).collect();
    Ok(wit::poll(&raw)?.into_iter().map(|index| index as usize).collect())
}

/// Waits towards a timer, in small steps while pollables must be checked.
struct Pause {
    next: Duration,
}

impl Pause {
    const fn new() -> Self {
        Self { next: SHORTEST }
    }

    fn pass(&mut self, pollables: &[&Pollable], timer: Timer) -> Result<()> {
        let left = timer.left();
        let slice = match pollables {
            [] => left,
            // Its exit ends the wait, and nothing else can.
            [only] if only.exit => left,
            _ => self.next.min(left),
        };
        self.next = (self.next * 2).min(LONGEST);
        let anchor = pollables
            .iter()
            .filter(|pollable| pollable.exit)
            .chain(pollables)
            .find_map(|pollable| pollable.handle());
        if let Some(handle) = anchor {
            return pass(slice, |ms| handle.wait(Some(ms)));
        }
        Ok(sys::sleep(slice)?)
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidInput => Self::InvalidInput,
            ErrorCode::Closed => Self::Closed,
            ErrorCode::TooLarge => Self::TooLarge,
            ErrorCode::Cancelled => Self::Cancelled,
            ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}
