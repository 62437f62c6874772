//! What the adapter's calls fail with, one small enum an interface.
//!
//! Each is turned into the `error-code` of its interface by one exhaustive match, so a new reason must pick its answer:
//! for `astrid:process` in `versions`, for the others at the end of this file. A `Trap` ends the guest; it is kept
//! for misuse of handles, for which the interfaces have no answer.

use wasmtime::component::ResourceTableError;

use super::bindings::astrid::{io::poll, ipc::host as ipc, sys::host as sys};
use crate::{bus, supervisor};

/// Why a call of `astrid:process` failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guest is told so.
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
    /// The guest is told so.
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
    /// The configuration key is kept for the host.
    #[error("the configuration key is kept for the host")]
    ReservedKey,
    /// More than one call may ask for.
    #[error("more than one call may ask for")]
    TooLarge,
    /// This host does not know the capsule that was asked about.
    #[error("no registry of capsules is at hand")]
    NoRegistry,
    /// The capsule is being unloaded.
    #[error("the capsule is being unloaded")]
    Cancelled,
    /// The operating system gave no random bytes.
    #[error("host: no random bytes: {0}")]
    Random(getrandom::Error),
}

impl From<ResourceTableError> for ProcessError {
    fn from(error: ResourceTableError) -> Self {
        match error {
            // As many handles, pollables and the like as an instance may have.
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
    /// A full table is a matter of how much the guest holds; anything else is a handle that it made up.
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::Answer(bus::Error::Quota),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}

impl IpcError {
    /// The answer of the interface, or a trap. It has no case for an unloading, so that is told as `unknown`.
    pub(super) fn into_code(self) -> wasmtime::Result<ipc::ErrorCode> {
        use bus::Error as E;
        Ok(match self {
            Self::Denied | Self::Answer(E::Reserved) => ipc::ErrorCode::CapabilityDenied,
            Self::Answer(E::InvalidInput(_)) => ipc::ErrorCode::InvalidInput,
            Self::Answer(E::Closed) => ipc::ErrorCode::Closed,
            Self::Answer(E::RateLimited) => ipc::ErrorCode::RateLimited,
            Self::Answer(E::Backpressure) => ipc::ErrorCode::Backpressure,
            Self::Answer(E::Quota) => ipc::ErrorCode::Quota,
            Self::Answer(E::Timeout) => ipc::ErrorCode::Timeout,
            Self::Answer(E::TooDeep(_) | E::Host(_)) | Self::Cancelled | Self::NoBus => {
                ipc::ErrorCode::Unknown(self.to_string())
            }
            Self::Trap(trap) => return Err(trap),
        })
    }
}

impl PollError {
    /// The answer of the interface, or a trap.
    pub(super) fn into_code(self) -> wasmtime::Result<poll::ErrorCode> {
        Ok(match self {
            Self::Empty => poll::ErrorCode::InvalidInput,
            Self::TooMany => poll::ErrorCode::TooLarge,
            Self::Cancelled => poll::ErrorCode::Cancelled,
            Self::Trap(trap) => return Err(trap),
        })
    }
}

impl SysError {
    /// The answer of the interface.
    pub(super) fn into_code(self) -> sys::ErrorCode {
        match self {
            Self::ReservedKey => sys::ErrorCode::ConfigKeyReserved,
            Self::TooLarge => sys::ErrorCode::TooLarge,
            Self::NoRegistry => sys::ErrorCode::RegistryUnavailable,
            Self::Cancelled => sys::ErrorCode::Cancelled,
            Self::Random(_) => sys::ErrorCode::Unknown(self.to_string()),
        }
    }
}
