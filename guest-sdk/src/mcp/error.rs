//! Why a server gave no answer.

use crate::{ErrorKind, rpc, store, sync, sys};

/// The result of a call about a server.
///
/// ```no_run
/// fn tools() -> capsule_sdk::mcp::Result<usize> {
///     let server = capsule_sdk::mcp::Server::named("time", std::time::Duration::from_secs(30))?;
///     Ok(server.list_tools(std::time::Duration::from_secs(10))?.len())
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a server gave no answer.
///
/// ```
/// let error = capsule_sdk::mcp::Error::Rpc(capsule_sdk::rpc::Error::Ended);
/// assert_eq!(error.kind().as_str(), "ended");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The capsule's configuration has no such server, or cannot be read.
    #[error("{0}")]
    Config(String),
    /// It does not speak the protocol: what was wrong.
    #[error("the MCP server {id:?}: {reason}")]
    Protocol {
        /// The server's name in the configuration.
        id: String,
        /// What it did.
        reason: String,
    },
    /// It refused the request, ended before it answered, took too long, or could not be started.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// Other instances held the server for the whole time, or the host has no locks.
    #[error(transparent)]
    Sync(#[from] sync::Error),
    /// It could not be kept which protocol the server speaks.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host gave no configuration or random bytes.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// let error = capsule_sdk::mcp::Error::Config("no such server".to_owned());
    /// assert_eq!(error.kind().as_str(), "invalid-input");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) => ErrorKind::InvalidInput,
            Self::Protocol { .. } => ErrorKind::Unknown,
            Self::Rpc(error) => error.kind(),
            Self::Sync(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Sys(error) => error.kind(),
        }
    }

    /// Whether the answer did not come in time.
    ///
    /// ```
    /// use capsule_sdk::{Error as Host, mcp::Error, rpc};
    ///
    /// assert!(Error::Rpc(rpc::Error::Host(Host::WaitTimeout)).is_timeout());
    /// ```
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::Rpc(error) => error.is_timeout(),
            Self::Sync(error) => matches!(error, sync::Error::Timeout),
            Self::Config(_) | Self::Protocol { .. } | Self::Store(_) | Self::Sys(_) => false,
        }
    }

    /// Whether the answer may be among what this instance was too late to read. The server may have done what was asked.
    ///
    /// ```
    /// use capsule_sdk::{Error as Host, mcp::Error, rpc};
    ///
    /// assert!(Error::Rpc(rpc::Error::Host(Host::Lost { bytes: 9 })).is_gap());
    /// ```
    #[must_use]
    pub const fn is_gap(&self) -> bool {
        matches!(self, Self::Rpc(rpc::Error::Host(error)) if error.is_gap())
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Rpc(rpc::Error::Host(error))
    }
}
