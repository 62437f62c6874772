//! The store: turns, blocking jobs, and what a caller can do.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::document;
use super::entries::{Entries, Page, Swap, check_key, check_part, check_value};
use super::error::{Error, OpenError};
use super::folder::Folder;
use super::limits::Limits;
use capsule_supervisor::internals::Interned;
use capsule_supervisor::{Owner, Principal};

/// The most blocking jobs of a store at once.
const JOBS: usize = 8;
/// How long a change waits for the lock of another host.
const BUSY_AFTER: Duration = Duration::from_secs(10);
/// The pause between two tries to take a lock. The kernel has no event for a file lock that can be waited for without a thread,
/// and a thread that waits for it cannot be told to stop.
const PAUSE: Duration = Duration::from_millis(1);

/// Values by key for each owner, in a folder (contract V1 to V4). Cloning is cheap and shares it.
///
/// Every operation reads the owner's file, and every change writes it anew to the disk, so this is for some values that are small
/// and change seldom. If the future of an operation is dropped, a change that has begun is completed, and otherwise not made.
/// Must be called within a tokio runtime.
///
/// ```
/// use capsule_host::keyvalue::Store;
/// use capsule_host::supervisor::{Owner, Principal};
///
/// # async fn example(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::open(dir.join("store"))?;
/// let owner = Owner { principal: Principal::Named("alice".into()), capsule: "dev-server".into() };
/// store.set(&owner, "cursor", b"42".to_vec()).await?;
/// assert_eq!(store.get(&owner, "cursor").await?, Some(b"42".to_vec()));
/// # Ok(())
/// # }
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Runtime::new().unwrap().block_on(example(dir.path())).unwrap();
/// ```
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    folder: Folder,
    limits: Limits,
    /// Held by the one operation of an owner that has its turn.
    turns: Interned<Owner, tokio::sync::Mutex<()>>,
    jobs: Arc<Semaphore>,
    /// The files of which a warning was written.
    told: Mutex<BTreeSet<String>>,
}

/// An owner with a name, and that of its file.
struct Whose {
    owner: Owner,
    principal: String,
    file: String,
}

/// A change that has its turn.
struct Change<F> {
    store: Store,
    whose: Whose,
    turn: OwnedMutexGuard<()>,
    change: F,
}

/// What a job made of a change.
enum Attempt<T, F> {
    Done(Result<T, Error>),
    /// Another host has the lock.
    Locked(Change<F>),
}

impl Store {
    /// Opens the folder, and makes it if it does not exist, with access for its owner only. No other user may have access to it,
    /// and it may not be a symbolic link. No process of a capsule may be able to write to it, so it may not lie in a workspace.
    ///
    /// # Errors
    /// [`OpenError`]: the folder cannot be used.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(dir, Limits::default())
    }

    /// As [`Self::open`], with other limits for each owner.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn open_with(dir: impl AsRef<Path>, limits: Limits) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Inner {
            folder: Folder::open(dir.as_ref())?,
            limits: limits.clamped(),
            turns: Interned::default(),
            jobs: Arc::new(Semaphore::new(JOBS)),
            told: Mutex::default(),
        })))
    }

    /// Where the folder was when it was opened, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.folder.path()
    }

    /// The value of a key; none if the owner has no such entry.
    ///
    /// # Errors
    /// [`Error`]; never [`Error::TooLarge`], [`Error::Quota`] or [`Error::Busy`].
    pub async fn get(&self, owner: &Owner, key: &str) -> Result<Option<Vec<u8>>, Error> {
        check_key(key)?;
        let key = key.to_owned();
        self.look(owner, move |entries| entries.get(&key).map(<[u8]>::to_vec))
            .await
    }

    /// Sets the value of a key. When this returns, the value is on the disk.
    ///
    /// # Errors
    /// [`Error`]. But for [`Error::Host`], nothing was changed.
    pub async fn set(&self, owner: &Owner, key: &str, value: Vec<u8>) -> Result<(), Error> {
        check_key(key)?;
        check_value(&value)?;
        let (key, limits) = (key.to_owned(), self.0.limits);
        self.change(owner, move |entries| {
            entries.put(&key, Some(value), &limits)?;
            Ok(((), true))
        })
        .await
    }

    /// Removes an entry, and returns whether there was one.
    ///
    /// # Errors
    /// As of [`Self::set`]; never [`Error::TooLarge`] or [`Error::Quota`].
    pub async fn delete(&self, owner: &Owner, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        let key = key.to_owned();
        self.change(owner, move |entries| {
            let was_there = entries.0.remove(&key).is_some();
            Ok((was_there, was_there))
        })
        .await
    }

    /// Sets the value of a key if its value is `expected`, in one step, also against other hosts. For both values, `None` means
    /// no entry.
    ///
    /// # Errors
    /// As of [`Self::set`].
    pub async fn compare_and_set(
        &self,
        owner: &Owner,
        key: &str,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<Swap, Error> {
        check_key(key)?;
        check_value(new.as_deref().unwrap_or_default())?;
        let (key, limits) = (key.to_owned(), self.0.limits);
        self.change(owner, move |entries| {
            let present = entries.get(&key);
            if present != expected.as_deref() {
                return Ok((Swap::Mismatch(present.map(<[u8]>::to_vec)), false));
            }
            let changes = present != new.as_deref();
            if changes {
                entries.put(&key, new, &limits)?;
            }
            Ok((Swap::Swapped, changes))
        })
        .await
    }

    /// Keys that begin with `prefix`, in the order of their bytes: those after `after`, at most `limit`, and 1,024 at most.
    ///
    /// # Errors
    /// As of [`Self::get`].
    pub async fn list(&self, owner: &Owner, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Error> {
        check_part(prefix)?;
        check_part(after.unwrap_or_default())?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.look(owner, move |entries| entries.page(&prefix, after.as_deref(), limit))
            .await
    }

    async fn turn(&self, whose: &Whose) -> OwnedMutexGuard<()> {
        let turns = self.0.turns.get(&whose.owner, tokio::sync::Mutex::default);
        turns.lock_owned().await
    }

    /// Reads the owner's entries. A file is replaced as a whole, so this needs no lock.
    async fn look<T, F>(&self, owner: &Owner, look: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Entries) -> T + Send + 'static,
    {
        let whose = Whose::new(owner)?;
        let turn = self.turn(&whose).await;
        let store = self.clone();
        let looked = self.job(move || {
            let _turn = turn;
            store.0.load(&whose).map(|entries| look(&entries))
        });
        looked.await?
    }

    /// Changes the owner's entries. `change` also returns whether it changed something.
    async fn change<T, F>(&self, owner: &Owner, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Entries) -> Result<(T, bool), Error> + Send + 'static,
    {
        let whose = Whose::new(owner)?;
        let turn = self.turn(&whose).await;
        let mut change = Change {
            store: self.clone(),
            whose,
            turn,
            change,
        };
        let begun = Instant::now();
        loop {
            match self.job(move || change.attempt()).await? {
                Attempt::Done(result) => return result,
                Attempt::Locked(_) if begun.elapsed() > BUSY_AFTER => return Err(Error::Busy),
                Attempt::Locked(again) => change = again,
            }
            sleep(PAUSE).await;
        }
    }

    /// Does blocking work on a thread for it, when one of the store's jobs is free. It has what it needs with it, so it is completed
    /// when the caller goes away.
    async fn job<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let jobs = Arc::clone(&self.0.jobs);
        let permit = jobs.acquire_owned().await.map_err(io::Error::other)?;
        let job = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        job.await.map_err(|error| Error::Host(io::Error::other(error)))
    }
}

impl<F> Change<F> {
    fn attempt<T>(self) -> Attempt<T, F>
    where
        F: FnOnce(&mut Entries) -> Result<(T, bool), Error>,
    {
        let lock = match self.store.0.folder.try_lock(&self.whose.file) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Attempt::Locked(self),
            Err(error) => return Attempt::Done(Err(self.store.0.tell(error))),
        };
        let Self {
            store,
            whose,
            turn,
            change,
        } = self;
        let changed = store.0.change(&whose, change);
        drop(lock);
        drop(turn);
        Attempt::Done(changed)
    }
}

/// Blocking.
impl Inner {
    fn load(&self, whose: &Whose) -> Result<Entries, Error> {
        let read = self.folder.read(&whose.file).and_then(|file| match file {
            None => Ok(Entries::default()),
            Some(file) => {
                document::decode(&file, &whose.principal, &whose.owner.capsule).map_err(|reason| Error::Damaged {
                    path: self.folder.path().join(&whose.file),
                    reason,
                })
            }
        });
        read.map_err(|error| self.tell(error))
    }

    fn change<T>(
        &self,
        whose: &Whose,
        change: impl FnOnce(&mut Entries) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let mut entries = self.load(whose)?;
        let (answer, changes) = change(&mut entries)?;
        if changes {
            let file = document::encode(&whose.principal, &whose.owner.capsule, &entries).map_err(io::Error::from)?;
            self.folder.replace(&whose.file, &file)?;
        }
        Ok(answer)
    }

    /// Writes one warning for each damaged file, however often a guest asks for it.
    fn tell(&self, error: Error) -> Error {
        if let Error::Damaged { path, reason } = &error {
            let name = path.to_string_lossy().into_owned();
            let first = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
            if first {
                tracing::warn!(
                    "the store's file {} cannot be used, because {reason}; move it away to begin with an empty store",
                    path.display()
                );
            }
        }
        error
    }
}

impl Whose {
    fn new(owner: &Owner) -> Result<Self, Error> {
        let Principal::Named(principal) = &owner.principal else {
            return Err(Error::NotAuthenticated);
        };
        // The length keeps two owners apart whose names together are the same text.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(principal.len() as u64).to_le_bytes());
        hasher.update(principal.as_bytes());
        hasher.update(owner.capsule.as_bytes());
        Ok(Self {
            owner: owner.clone(),
            principal: principal.clone(),
            file: hasher.finalize().to_hex().to_string(),
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path())
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
