//! Locks that the instances of this capsule take from each other, for this principal.
//!
//! Several instances of a capsule may run at once. What only one of them may do at a time, it does while it holds a lock:
//!
//! ```
//! use capsule_sdk::{store, sync};
//! use std::{error::Error, time::Duration};
//!
//! fn deposit(amount: u64) -> Result<u64, Box<dyn Error>> {
//!     let guard = sync::lock("account", Duration::from_secs(10))?;
//!     let balance = store::get_json::<u64>("account")?.unwrap_or_default() + amount;
//!     store::set_json("account", &balance)?;
//!     drop(guard);
//!     Ok(balance)
//! }
//! ```
//!
//! A lock is free when its [`Guard`] is dropped, and when the instance ends: by its return, by a trap, by the host's limits, or with
//! the capsule. So a lock cannot be left behind, but what it guarded may be half done. Locks are in the memory of the host, where
//! the processes are, too: another `capsule run` has locks of its own.
//!
//! [`Command::find_or_spawn`](crate::Command::find_or_spawn) starts a process at most once by such a lock.
//!
//! These calls are of the package `capsule:sync`, which a host may lack. A capsule that makes none of them does not import the
//! package, and runs on every host; one that makes some is refused when such a host loads it, with the name of the package.

use crate::{ErrorKind, millis::millis, wit::sync as wit};
use std::{fmt, result, time::Duration};

/// The result of a call about a lock.
///
/// ```no_run
/// fn is_free(name: &str) -> capsule_sdk::sync::Result<bool> {
///     match capsule_sdk::sync::lock(name, std::time::Duration::ZERO) {
///         Ok(_) => Ok(true),
///         Err(capsule_sdk::sync::Error::Timeout) => Ok(false),
///         Err(error) => Err(error),
///     }
/// }
/// ```
pub type Result<T> = result::Result<T, Error>;

/// Why a lock was not taken.
///
/// ```no_run
/// use capsule_sdk::sync::{self, Error};
///
/// match sync::lock("build", std::time::Duration::ZERO) {
///     Ok(_guard) => println!("building"),
///     Err(Error::Timeout) => println!("another instance builds already"),
///     Err(error) => println!("{}: {error}", error.kind()),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name has not 1 to 512 bytes.
    #[error("{0}")]
    InvalidInput(String),
    /// Another instance held the lock for the whole time.
    #[error("timeout: another instance holds the lock")]
    Timeout,
    /// This capsule has as many locks in use, or calls that wait, as the host allows.
    #[error("quota: too many locks in use, or calls that wait for one")]
    Quota,
    /// The caller is not authenticated, so its locks would be those of every such caller.
    #[error("not-authenticated: a caller who is not authenticated has no locks")]
    NotAuthenticated,
    /// The host has no locks.
    #[error("unavailable: this host has no locks")]
    Unavailable,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// Another error, as the host describes it: `kind: text`.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::sync::Error::Quota.kind().as_str(), "quota");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidInput(_) => ErrorKind::InvalidInput,
            Self::Timeout => ErrorKind::Timeout,
            Self::Quota => ErrorKind::Quota,
            Self::NotAuthenticated => ErrorKind::NotAuthenticated,
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

impl From<wit::ErrorCode> for Error {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::InvalidInput(text) => Self::InvalidInput(text),
            wit::ErrorCode::Timeout => Self::Timeout,
            wit::ErrorCode::Quota => Self::Quota,
            wit::ErrorCode::NotAuthenticated => Self::NotAuthenticated,
            wit::ErrorCode::Unavailable => Self::Unavailable,
            wit::ErrorCode::Cancelled => Self::Cancelled,
            wit::ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// For functions that start a process under a lock.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidInput(_) => Self::InvalidInput,
            Error::Timeout => Self::WaitTimeout,
            Error::Quota => Self::Quota,
            Error::NotAuthenticated => Self::PersistUnsupported,
            Error::Cancelled => Self::Cancelled,
            Error::Unavailable | Error::Unknown(_) => Self::Unknown(error.to_string()),
        }
    }
}

/// A lock that is held. Dropping it gives it to the instance that has waited longest.
///
/// ```no_run
/// # fn main() -> capsule_sdk::sync::Result<()> {
/// let guard = capsule_sdk::sync::lock("build", std::time::Duration::from_secs(60))?;
/// // The build.
/// drop(guard);
/// # Ok(()) }
/// ```
#[must_use = "the lock is free as soon as this is dropped"]
pub struct Guard {
    _guard: wit::Guard,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// Takes the lock of a name, and waits while another instance of this capsule holds it, for the same principal. Instances get it
/// in the order of their calls. The host has a longest wait (5 minutes unless the embedder says otherwise); a longer time is
/// treated as that. With [`Duration::ZERO`] it does not wait.
///
/// An instance that takes a lock which it holds already waits for itself, until the time is over.
///
/// # Errors
/// [`Error::Timeout`] if it stayed taken; [`Error::Cancelled`] if the capsule is unloaded meanwhile.
///
/// ```no_run
/// # fn main() -> capsule_sdk::sync::Result<()> {
/// let _guard = capsule_sdk::sync::lock("report", std::time::Duration::from_secs(5))?;
/// # Ok(()) }
/// ```
pub fn lock(name: &str, timeout: Duration) -> Result<Guard> {
    Ok(Guard {
        _guard: wit::acquire(name, millis(timeout))?,
    })
}
