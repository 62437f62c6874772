//! Named locks of an owner, which its instances take from each other (contract M1 to M3).
//!
//! They are in the memory of this process. Instances are dropped at any moment, with everything that they hold and wait for, so a
//! lock is freed by a drop and by nothing else. The guest is hostile, so the names in use and the waiting calls of an owner are
//! bounded, and each wait has a longest time. A name that is neither held nor waited for costs nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use capsule_supervisor::{Owner, Principal};

/// The longest name, in bytes.
const NAME_MAX: usize = 512;

/// How many locks an owner may use, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockLimits {
    /// The number of an owner's names that are held or waited for; 256 by default, and at least 1.
    pub names: usize,
    /// The number of an owner's calls that wait, over all of its names; 256 by default.
    pub waiters: usize,
    /// The longest wait; 5 minutes by default. A call that asks for a longer one gets this one.
    pub wait: Duration,
}

impl Default for LockLimits {
    fn default() -> Self {
        Self {
            names: 256,
            waiters: 256,
            wait: Duration::from_secs(5 * 60),
        }
    }
}

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The name breaks a rule.
    #[error("invalid-input: {0}")]
    InvalidInput(&'static str),
    /// Another holder had it all the time.
    #[error("timeout: another instance holds the lock")]
    Timeout,
    /// The owner has as many names in use, or calls that wait, as it may have.
    #[error("quota: too many locks in use, or calls that wait for one")]
    Quota,
    /// The owner has no name, so its locks would be those of every owner without one.
    #[error("not-authenticated: a caller who is not authenticated has no locks")]
    NotAuthenticated,
}

impl LockError {
    /// The name of the error in the interface.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid-input",
            Self::Timeout => "timeout",
            Self::Quota => "quota",
            Self::NotAuthenticated => "not-authenticated",
        }
    }
}

/// The locks of all owners in this process. Cloning is cheap and shares them: instances that are to exclude each other need the
/// same one.
///
/// Must be used within a tokio runtime.
///
/// ```
/// use std::time::Duration;
///
/// use capsule_host::locks::{LockError, LockLimits, Locks};
/// use capsule_host::supervisor::{Owner, Principal};
///
/// # async fn example() -> Result<(), LockError> {
/// let locks = Locks::new(LockLimits::default());
/// let owner = Owner { principal: Principal::Named("alice".into()), capsule: "dev-server".into() };
/// let guard = locks.acquire(&owner, "start", Duration::from_secs(1)).await?;
/// assert_eq!(locks.acquire(&owner, "start", Duration::ZERO).await.unwrap_err(), LockError::Timeout);
/// drop(guard);
/// drop(locks.acquire(&owner, "start", Duration::ZERO).await?);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Locks(Arc<Inner>);

struct Inner {
    limits: LockLimits,
    owners: Mutex<HashMap<Owner, InUse>>,
}

/// The locks of an owner that are held or waited for.
#[derive(Default)]
struct InUse {
    names: HashMap<String, Lock>,
    waiting: usize,
}

#[derive(Default)]
struct Lock {
    /// Its waiters get it in the order of their calls.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Its holder and its waiters.
    users: usize,
}

/// A lock that is held. Dropping it gives it to the call that has waited longest.
#[must_use = "the lock is free as soon as this is dropped"]
pub struct Guard {
    /// Before the entry, so that the entry is there for as long as the lock is held.
    _turn: OwnedMutexGuard<()>,
    entry: Entry,
}

/// A holder, or a call that waits, among the users of a lock.
struct Entry {
    locks: Locks,
    owner: Owner,
    name: String,
    waits: bool,
}

/// What became of a call for a lock at once.
enum Entered {
    Taken(Entry, OwnedMutexGuard<()>),
    Waits(Entry, Arc<tokio::sync::Mutex<()>>),
}

impl Locks {
    /// Locks of which none is held.
    #[must_use]
    pub fn new(limits: LockLimits) -> Self {
        Self(Arc::new(Inner {
            limits,
            owners: Mutex::default(),
        }))
    }

    /// Takes the owner's lock of this name, and waits for at most `time` while another holder has it. Calls get it in the order in
    /// which they were made. A holder that takes its own lock again waits for itself. If the future is dropped, nothing is taken.
    ///
    /// # Errors
    /// [`LockError`]: the lock was not taken.
    pub async fn acquire(&self, owner: &Owner, name: &str, time: Duration) -> Result<Guard, LockError> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(LockError::InvalidInput("a name has 1 to 512 bytes"));
        }
        if owner.principal == Principal::Anonymous {
            return Err(LockError::NotAuthenticated);
        }
        let (mut entry, turn) = match self.enter(owner, name)? {
            Entered::Taken(entry, turn) => (entry, turn),
            // Dropped with the future, both leave the queue.
            Entered::Waits(entry, turn) => match timeout(time.min(self.0.limits.wait), turn.lock_owned()).await {
                Ok(turn) => (entry, turn),
                Err(_) => return Err(LockError::Timeout),
            },
        };
        entry.taken();
        Ok(Guard { _turn: turn, entry })
    }

    fn enter(&self, owner: &Owner, name: &str) -> Result<Entered, LockError> {
        let limits = &self.0.limits;
        let entry = |waits| Entry {
            locks: self.clone(),
            owner: owner.clone(),
            name: name.to_owned(),
            waits,
        };
        let mut owners = self.0.owners();
        let in_use = owners.entry(owner.clone()).or_default();
        // Otherwise it is in use, and so is the owner.
        if !in_use.names.contains_key(name) && in_use.names.len() >= limits.names.max(1) {
            return Err(LockError::Quota);
        }
        let lock = in_use.names.entry(name.to_owned()).or_default();
        // While calls wait for it, it cannot be had.
        let taken = Arc::clone(&lock.turn).try_lock_owned();
        if taken.is_err() && in_use.waiting >= limits.waiters {
            return Err(LockError::Quota);
        }
        lock.users += 1;
        Ok(match taken {
            Ok(turn) => Entered::Taken(entry(false), turn),
            Err(_) => {
                in_use.waiting += 1;
                Entered::Waits(entry(true), Arc::clone(&lock.turn))
            }
        })
    }
}

impl Inner {
    fn owners(&self) -> MutexGuard<'_, HashMap<Owner, InUse>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// It waits no longer.
    fn taken(&mut self) {
        if !std::mem::take(&mut self.waits) {
            return;
        }
        if let Some(in_use) = self.locks.0.owners().get_mut(&self.owner) {
            in_use.waiting = in_use.waiting.saturating_sub(1);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut owners = self.locks.0.owners();
        let Some(in_use) = owners.get_mut(&self.owner) else {
            return;
        };
        if self.waits {
            in_use.waiting = in_use.waiting.saturating_sub(1);
        }
        if let Some(lock) = in_use.names.get_mut(&self.name) {
            lock.users = lock.users.saturating_sub(1);
            if lock.users == 0 {
                in_use.names.remove(&self.name);
            }
        }
        if in_use.names.is_empty() {
            owners.remove(&self.owner);
        }
    }
}

impl Guard {
    /// The name of the lock.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.entry.name
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn owner(principal: &str) -> Owner {
        Owner {
            principal: Principal::Named(principal.into()),
            capsule: "editor".into(),
        }
    }

    fn locks(names: usize, waiters: usize) -> Locks {
        Locks::new(LockLimits {
            names,
            waiters,
            ..LockLimits::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn m1_a_lock_has_one_holder_and_owners_have_their_own() {
        let locks = Locks::new(LockLimits::default());
        let (ada, bob) = (owner("ada"), owner("bob"));
        let held = locks.acquire(&ada, "a", LONG).await.unwrap();
        assert_eq!(locks.acquire(&ada, "a", LONG).await.unwrap_err(), LockError::Timeout);
        let others = (
            locks.acquire(&ada, "b", Duration::ZERO).await.unwrap(),
            locks.acquire(&bob, "a", Duration::ZERO).await.unwrap(),
        );
        drop(held);
        let again = locks.acquire(&ada, "a", Duration::ZERO).await.unwrap();
        drop((others, again));
        assert!(locks.0.owners().is_empty(), "a name that is not in use costs nothing");
        let anonymous = Owner {
            principal: Principal::Anonymous,
            ..ada
        };
        let refused = locks.acquire(&anonymous, "a", LONG).await.unwrap_err();
        assert_eq!(refused, LockError::NotAuthenticated);
    }

    #[tokio::test]
    async fn m2_waiters_get_it_in_their_order_and_one_that_goes_away_is_passed_over() {
        let locks = Locks::new(LockLimits::default());
        let ada = owner("ada");
        let held = locks.acquire(&ada, "a", LONG).await.unwrap();
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = Vec::new();
        for number in 0..5 {
            let (locks, ada, told) = (locks.clone(), ada.clone(), told.clone());
            waiting.push(tokio::spawn(async move {
                let _guard = locks.acquire(&ada, "a", LONG).await.unwrap();
                told.send(number).unwrap();
            }));
            // One thread: the task waits now.
            tokio::task::yield_now().await;
        }
        waiting.remove(2).abort();
        tokio::task::yield_now().await;
        drop((held, told));
        let mut got = Vec::new();
        while let Some(number) = order.recv().await {
            got.push(number);
        }
        assert_eq!(got, [0, 1, 3, 4]);
        for task in waiting {
            task.await.unwrap();
        }
        assert!(locks.0.owners().is_empty());
    }

    #[tokio::test]
    async fn m3_names_and_waiters_are_bounded() {
        let locks = locks(2, 1);
        let ada = owner("ada");
        let zero = Duration::ZERO;
        for name in ["", &"n".repeat(513)] {
            let refused = locks.acquire(&ada, name, zero).await.unwrap_err();
            assert_eq!(refused.kind(), "invalid-input");
        }
        let held = [
            locks.acquire(&ada, "a", zero).await.unwrap(),
            locks.acquire(&ada, "b", zero).await.unwrap(),
        ];
        assert_eq!(locks.acquire(&ada, "c", zero).await.unwrap_err(), LockError::Quota);
        let waits = tokio::spawn({
            let (locks, ada) = (locks.clone(), ada.clone());
            async move { locks.acquire(&ada, "a", LONG).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(locks.acquire(&ada, "b", LONG).await.unwrap_err(), LockError::Quota);
        drop(locks.acquire(&owner("bob"), "a", zero).await.unwrap());
        drop(held);
        drop(waits.await.unwrap().unwrap());
        drop(locks.acquire(&ada, "c", zero).await.unwrap());
    }
}
