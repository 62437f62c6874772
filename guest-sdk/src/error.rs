//! Why a call to the host failed: one variant for each case of the interface, so that no caller has
//! to compare texts.

use crate::{ErrorKind, wit::generated::astrid::process1_1_0::host::ErrorCode};
use std::io;

/// The result of a call to the host about a process.
///
/// ```no_run
/// fn run() -> capsule_sdk::Result<bool> {
///     Ok(capsule_sdk::Command::new("true").status()?.success())
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why the host did not do what was asked.
///
/// ```no_run
/// use capsule_sdk::{Command, Error};
///
/// match Command::new("cargo").arg("check").output() {
///     Ok(output) => println!("{}", output.stdout_lossy()),
///     Err(Error::CapabilityDenied) => println!("ask the embedder to allow `cargo`"),
///     Err(error) if error.is_not_found() => println!("there is no cargo on this host"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The capsule lacks the grant for processes, for persistent ones, or for this command.
    #[error("capability-denied: the capsule has no grant for this; its user can give it, and the host's log says how")]
    CapabilityDenied,
    /// An argument breaks a rule of shape: an empty command, a NUL, a reserved variable, a zero
    /// timer, a working directory that does not exist, the release of a live process.
    #[error("invalid-input: an argument is not valid; the call did nothing")]
    InvalidInput,
    /// A path leads out of the workspace.
    #[error("boundary-escape: the path leads out of the workspace")]
    BoundaryEscape,
    /// The principal has reached its limit of processes or of log memory.
    #[error("quota: no more processes or log memory for this principal; stop one first")]
    Quota,
    /// More bytes than one call may carry or capture.
    #[error("too-large: more bytes than one call may carry or capture")]
    TooLarge,
    /// The stream is over.
    #[error("closed: the stream has ended")]
    Closed,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// The given time passed; the process is unharmed.
    #[error("wait-timeout: the time passed before that happened, and the process runs on")]
    WaitTimeout,
    /// There is no such process for this principal and capsule, or the cursor belongs elsewhere.
    #[error("no-such-process: no process of this capsule has this id, or the cursor belongs to another stream")]
    NoSuchProcess,
    /// The limit of retained ids is reached.
    #[error("registry-full: too many processes are retained; stop or release some")]
    RegistryFull,
    /// The caller is not authenticated, or this host cannot contain a process that outlives the
    /// instance.
    #[error("persist-unsupported: no persistent processes for this caller on this host")]
    PersistUnsupported,
    /// So many bytes of output are missing at this place of a stream. Reading goes on behind them.
    #[error("lost: {bytes} bytes of output are missing here: newer output replaced them, or another call took them")]
    Lost {
        /// What the host could not give, and the parts of lines next to it.
        bytes: u64,
    },
    /// A line is longer than the reader allows. Reading goes on with the next line.
    #[error("line-too-long: a line of more than {limit} bytes; a higher `max_length` allows it")]
    LineTooLong {
        /// The most bytes that a line may have.
        limit: usize,
    },
    /// Another error, as the host describes it: `kind: text`.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::Error::NoSuchProcess.kind().as_str(), "no-such-process");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::CapabilityDenied => ErrorKind::CapabilityDenied,
            Self::InvalidInput => ErrorKind::InvalidInput,
            Self::BoundaryEscape => ErrorKind::BoundaryEscape,
            Self::Quota => ErrorKind::Quota,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Closed => ErrorKind::Closed,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::WaitTimeout => ErrorKind::WaitTimeout,
            Self::NoSuchProcess => ErrorKind::NoSuchProcess,
            Self::RegistryFull => ErrorKind::RegistryFull,
            Self::PersistUnsupported => ErrorKind::PersistUnsupported,
            Self::Lost { .. } => ErrorKind::Lost,
            Self::LineTooLong { .. } => ErrorKind::LineTooLong,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }

    /// Whether the given time passed; the call may be repeated.
    ///
    /// ```
    /// assert!(capsule_sdk::Error::WaitTimeout.is_timeout());
    /// ```
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::WaitTimeout)
    }

    /// Whether the process does not exist (any more): stopped, released, retired by a timer, or
    /// never this capsule's.
    ///
    /// ```
    /// assert!(capsule_sdk::Error::NoSuchProcess.is_gone());
    /// ```
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::NoSuchProcess)
    }

    /// Whether it stands for output that a reader could not give, [`Lost`](Self::Lost) or
    /// [`LineTooLong`](Self::LineTooLong), behind which it goes on.
    ///
    /// ```
    /// assert!(capsule_sdk::Error::Lost { bytes: 7 }.is_gap());
    /// ```
    #[must_use]
    pub const fn is_gap(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::LineTooLong { .. })
    }

    /// Whether a command could not be started because there is no such program.
    ///
    /// ```
    /// assert!(capsule_sdk::Error::Unknown("not-found: cargo".into()).is_not_found());
    /// ```
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Unknown(text) if text.starts_with("not-found: "))
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::CapabilityDenied => Self::CapabilityDenied,
            ErrorCode::InvalidInput => Self::InvalidInput,
            ErrorCode::BoundaryEscape => Self::BoundaryEscape,
            ErrorCode::Quota => Self::Quota,
            ErrorCode::TooLarge => Self::TooLarge,
            ErrorCode::Closed => Self::Closed,
            ErrorCode::Cancelled => Self::Cancelled,
            ErrorCode::WaitTimeout => Self::WaitTimeout,
            ErrorCode::NoSuchProcess => Self::NoSuchProcess,
            ErrorCode::RegistryFull => Self::RegistryFull,
            ErrorCode::PersistUnsupported => Self::PersistUnsupported,
            ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// For [`io::Read`] and [`io::Write`]; the error itself is kept as the source.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::CapabilityDenied | Error::BoundaryEscape => io::ErrorKind::PermissionDenied,
            Error::InvalidInput | Error::TooLarge => io::ErrorKind::InvalidInput,
            Error::Quota | Error::RegistryFull => io::ErrorKind::QuotaExceeded,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::WaitTimeout => io::ErrorKind::TimedOut,
            Error::NoSuchProcess => io::ErrorKind::NotFound,
            Error::PersistUnsupported => io::ErrorKind::Unsupported,
            Error::Lost { .. } | Error::LineTooLong { .. } => io::ErrorKind::InvalidData,
            // `Interrupted` would read as "try again", which a cancelled capsule must not do.
            Error::Cancelled | Error::Unknown(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// For what is written through [`io::Write`]: the error that it holds, otherwise its text.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error
            .downcast::<Self>()
            .unwrap_or_else(|other| Self::Unknown(other.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_what_the_text_starts_with() {
        for error in [
            Error::CapabilityDenied,
            Error::InvalidInput,
            Error::BoundaryEscape,
            Error::Quota,
            Error::TooLarge,
            Error::Closed,
            Error::Cancelled,
            Error::WaitTimeout,
            Error::NoSuchProcess,
            Error::RegistryFull,
            Error::PersistUnsupported,
            Error::Lost { bytes: 1 },
            Error::LineTooLong { limit: 1 },
        ] {
            assert!(
                error.to_string().starts_with(&format!("{}: ", error.kind())),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_text_of_an_unknown_error_is_kept_whole() {
        let error = Error::from(ErrorCode::Unknown("not-found: no program `x`".into()));
        assert_eq!(error.to_string(), "not-found: no program `x`");
        assert!(error.is_not_found() && !error.is_gone() && !error.is_timeout());
        assert!(!Error::Unknown("exec-failed: not-found: x".into()).is_not_found());
    }

    #[test]
    fn an_io_error_still_holds_the_error() {
        let error = io::Error::from(Error::Closed);
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        assert_eq!(inner, Some(&Error::Closed));
    }
}
