//! Why a folder cannot be used, and why a call did nothing.

use std::io;
use std::path::PathBuf;

/// Why a folder cannot keep a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refuses the operation.
    #[error("{} cannot keep a store: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder is not this user's alone.
    #[error("{} cannot keep a store: {reason}", dir.display())]
    NotPrivate {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        reason: &'static str,
    },
}

/// Why a call on a [`Store`](super::Store) did not do what was asked. Its text is for a guest, and names no path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key breaks a rule.
    #[error("invalid-input: {0}")]
    InvalidInput(&'static str),
    /// The value is longer than [`VALUE_MAX`](super::VALUE_MAX).
    #[error("too-large: a value of more than 64 KiB")]
    TooLarge,
    /// The owner would have more than the [`Limits`](super::Limits) allow.
    #[error("quota: more entries or bytes than one owner may keep")]
    Quota,
    /// The owner has no name, so the next owner without one would read its entries.
    #[error("not-authenticated: a caller who is not authenticated keeps nothing")]
    NotAuthenticated,
    /// The file of the owner cannot be read, or cannot be trusted. It is left as it is; a warning names it once.
    #[error("damaged: what the host kept cannot be read")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another host held the lock of this owner for ten seconds.
    #[error("busy: another host changes the entries")]
    Busy,
    /// The system refuses the operation, for instance because the disk is full. A change may have been made.
    #[error("host: {0}")]
    Host(io::Error),
}

impl Error {
    /// The name of the error in the interface; an error that has none there is `unknown(host)`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid-input",
            Self::TooLarge => "too-large",
            Self::Quota => "quota",
            Self::NotAuthenticated => "not-authenticated",
            Self::Damaged { .. } => "damaged",
            Self::Busy => "busy",
            Self::Host(_) => "unknown(host)",
        }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Host(errno.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}
