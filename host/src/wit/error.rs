//! The errors of the adapter's calls: one small enum for each interface.
//!
//! One exhaustive match in `convert_error_code` turns each error into the `error-code` of its interface, so that a new reason
//! needs an answer. Another such match, at the end of this file, gives the outcome in the record of the call. A `Trap` ends
//! the guest. It is only for misuse of handles, for which the interfaces have no error.

use wasmtime::component::ResourceTableError;

use capsule_supervisor::{self as supervisor, PortError};

use crate::audit::Outcome;
use crate::bus;
use crate::fetch::FetchError;
use crate::keyvalue;
use crate::locks;

/// Why a call of `astrid:process` failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guest gets this error.
    #[error(transparent)]
    Answer(#[from] supervisor::Error),
    /// The guest is ended.
    #[error("the guest is ended: {0}")]
    Trap(wasmtime::Error),
}

/// Why a call of `astrid:io/poll` failed.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The list of pollables was empty.
    #[error("the list of pollables is empty")]
    Empty,
    /// The list of pollables was longer than 256.
    #[error("more than 256 pollables in one call")]
    TooMany,
    /// The capsule is being unloaded.
    #[error("the capsule is being unloaded")]
    Cancelled,
    /// The guest is ended.
    #[error("the guest is ended: {0}")]
    Trap(wasmtime::Error),
}

/// Why a call of `astrid:ipc` failed.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The embedder did not grant it.
    #[error("capability-denied: not granted by the embedder")]
    Denied,
    /// The guest gets this error.
    #[error(transparent)]
    Answer(#[from] bus::Error),
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// This host has no bus.
    #[error("no-bus: this host carries no messages")]
    NoBus,
    /// The guest is ended.
    #[error("the guest is ended: {0}")]
    Trap(wasmtime::Error),
}

/// Why a call of `astrid:sys` failed.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The configuration key is reserved for the host.
    #[error("the configuration key is reserved for the host")]
    ReservedKey,
    /// The call asks for more than one call may have.
    #[error("the request exceeds the limit of one call")]
    TooLarge,
    /// This host does not know the named capsule.
    #[error("this host has no registry of capsules")]
    NoRegistry,
    /// The capsule is being unloaded.
    #[error("the capsule is being unloaded")]
    Cancelled,
    /// The operating system gave no random bytes.
    #[error("host: no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Why a call of `capsule:net` failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The process, or its network, is not as the call needs it.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A server gave no answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Why a call of `capsule:store` failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The guest gets this error.
    #[error(transparent)]
    Answer(#[from] keyvalue::Error),
    /// This host keeps no store.
    #[error("unavailable: this host keeps no store")]
    Unavailable,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
}

/// Why a call of `capsule:sync` failed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The guest gets this error.
    #[error(transparent)]
    Answer(#[from] locks::LockError),
    /// This host has no locks.
    #[error("unavailable: this host has no locks")]
    Unavailable,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// The guest is ended.
    #[error("the guest is ended: {0}")]
    Trap(wasmtime::Error),
}

/// The value of an `astrid:io/error.error`: a description for readers.
#[derive(Debug)]
pub struct IoError(String);

impl IoError {
    /// An error with this description.
    #[must_use]
    pub fn new(description: impl Into<String>) -> Self {
        Self(description.into())
    }

    pub(super) fn description(&self) -> &str {
        &self.0
    }
}

/// The errors that tell of a refusal.
pub(super) trait Reason {
    /// Why the call was refused, in the host's words; none if the error tells of an event and not of a rule.
    fn reason(&self) -> Option<String>;
}

impl Reason for ProcessError {
    fn reason(&self) -> Option<String> {
        use supervisor::Error as E;
        match self {
            Self::Answer(E::Closed | E::Cancelled | E::WaitTimeout | E::NoSuchProcess) | Self::Trap(_) => None,
            Self::Answer(error) => Some(error.to_string()),
        }
    }
}

impl Reason for IpcError {
    fn reason(&self) -> Option<String> {
        use bus::Error as E;
        match self {
            Self::Denied | Self::Answer(E::Reserved | E::InvalidInput(_) | E::Quota | E::TooDeep(_)) => {
                Some(self.to_string())
            }
            Self::Answer(E::Closed | E::RateLimited | E::Backpressure | E::Timeout | E::Host(_))
            | Self::Cancelled
            | Self::NoBus
            | Self::Trap(_) => None,
        }
    }
}

impl Reason for SysError {
    fn reason(&self) -> Option<String> {
        matches!(self, Self::ReservedKey | Self::TooLarge).then(|| self.to_string())
    }
}

impl Reason for NetError {
    fn reason(&self) -> Option<String> {
        matches!(self, Self::Fetch(FetchError::Invalid(_) | FetchError::TooLarge)).then(|| self.to_string())
    }
}

impl Reason for StoreError {
    fn reason(&self) -> Option<String> {
        use keyvalue::Error as E;
        match self {
            Self::Answer(E::InvalidInput(_) | E::TooLarge | E::Quota | E::NotAuthenticated) => Some(self.to_string()),
            Self::Answer(_) | Self::Unavailable | Self::Cancelled => None,
        }
    }
}

impl Reason for LockError {
    fn reason(&self) -> Option<String> {
        use locks::LockError as E;
        match self {
            Self::Answer(E::InvalidInput(_) | E::Quota | E::NotAuthenticated) => Some(self.to_string()),
            Self::Answer(E::Timeout) | Self::Unavailable | Self::Cancelled | Self::Trap(_) => None,
        }
    }
}

impl Reason for wasmtime::Error {
    fn reason(&self) -> Option<String> {
        None
    }
}

/// A wait that ended because the capsule is being unloaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unloaded;

impl From<Unloaded> for ProcessError {
    fn from(Unloaded: Unloaded) -> Self {
        supervisor::Error::Cancelled.into()
    }
}

impl From<Unloaded> for PollError {
    fn from(Unloaded: Unloaded) -> Self {
        Self::Cancelled
    }
}

impl From<Unloaded> for IpcError {
    fn from(Unloaded: Unloaded) -> Self {
        Self::Cancelled
    }
}

impl From<Unloaded> for SysError {
    fn from(Unloaded: Unloaded) -> Self {
        Self::Cancelled
    }
}

impl From<Unloaded> for NetError {
    fn from(Unloaded: Unloaded) -> Self {
        PortError::Cancelled.into()
    }
}

impl From<Unloaded> for StoreError {
    fn from(Unloaded: Unloaded) -> Self {
        Self::Cancelled
    }
}

impl From<Unloaded> for LockError {
    fn from(Unloaded: Unloaded) -> Self {
        Self::Cancelled
    }
}

impl From<ResourceTableError> for LockError {
    /// A full table means that the guest holds too much. Any other error means that it invented a handle.
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::Answer(locks::LockError::Quota),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}

impl From<ResourceTableError> for ProcessError {
    fn from(error: ResourceTableError) -> Self {
        match error {
            // The instance has as many handles and pollables as it may have.
            ResourceTableError::Full => supervisor::Error::Quota.into(),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}

impl From<bus::BadTopic> for IpcError {
    fn from(bad: bus::BadTopic) -> Self {
        Self::Answer(bad.into())
    }
}

impl From<ResourceTableError> for IpcError {
    /// A full table means that the guest holds too much. Any other error means that it invented a handle.
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::Answer(bus::Error::Quota),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}

impl From<&ProcessError> for Outcome {
    fn from(error: &ProcessError) -> Self {
        match error {
            ProcessError::Answer(error) => error.into(),
            ProcessError::Trap(_) => Self::TRAP,
        }
    }
}

impl From<&IpcError> for Outcome {
    fn from(error: &IpcError) -> Self {
        use bus::Error as E;
        Self::error(match error {
            IpcError::Denied | IpcError::Answer(E::Reserved) => "capability-denied",
            IpcError::Answer(E::InvalidInput(_)) => "invalid-input",
            IpcError::Answer(E::Closed) => "closed",
            IpcError::Answer(E::RateLimited) => "rate-limited",
            IpcError::Answer(E::Backpressure) => "backpressure",
            IpcError::Answer(E::Quota) => "quota",
            IpcError::Answer(E::Timeout) => "timeout",
            IpcError::Answer(E::TooDeep(_)) => "unknown(too-deep)",
            IpcError::Answer(E::Host(_)) => "unknown(host)",
            IpcError::Cancelled => "cancelled",
            IpcError::NoBus => "unknown(no-bus)",
            IpcError::Trap(_) => return Self::TRAP,
        })
    }
}

impl From<&SysError> for Outcome {
    fn from(error: &SysError) -> Self {
        Self::error(match error {
            SysError::ReservedKey => "config-key-reserved",
            SysError::TooLarge => "too-large",
            SysError::NoRegistry => "registry-unavailable",
            SysError::Cancelled => "cancelled",
            SysError::Random(_) => "unknown(host)",
        })
    }
}

impl From<&NetError> for Outcome {
    fn from(error: &NetError) -> Self {
        Self::error(match error {
            NetError::Port(error) | NetError::Fetch(FetchError::Connect(error)) => error.kind(),
            NetError::Fetch(FetchError::Invalid(_)) => "invalid-input",
            NetError::Fetch(FetchError::TooLarge) => "too-large",
            NetError::Fetch(FetchError::Timeout) => "timeout",
            NetError::Fetch(FetchError::Response(_)) => "invalid-response",
        })
    }
}

impl From<&StoreError> for Outcome {
    fn from(error: &StoreError) -> Self {
        Self::error(match error {
            StoreError::Answer(error) => error.kind(),
            StoreError::Unavailable => "unavailable",
            StoreError::Cancelled => "cancelled",
        })
    }
}

impl From<&LockError> for Outcome {
    fn from(error: &LockError) -> Self {
        Self::error(match error {
            LockError::Answer(error) => error.kind(),
            LockError::Unavailable => "unavailable",
            LockError::Cancelled => "cancelled",
            LockError::Trap(_) => return Self::TRAP,
        })
    }
}

impl From<&wasmtime::Error> for Outcome {
    /// The outcome of a function that cannot return an error.
    fn from(_: &wasmtime::Error) -> Self {
        Self::TRAP
    }
}
