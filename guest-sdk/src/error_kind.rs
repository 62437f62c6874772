//! One list of the kinds of all errors of the SDK, so that errors of several modules can be treated alike.

use std::fmt;

/// Why a call failed, without details; `kind()` of every error of the SDK gives it.
///
/// ```
/// use capsule_sdk::{Error, ErrorKind, ipc, net};
///
/// fn is_late(kind: ErrorKind) -> bool {
///     matches!(kind, ErrorKind::WaitTimeout | ErrorKind::Timeout)
/// }
/// assert!(is_late(Error::WaitTimeout.kind()) && is_late(ipc::Error::Timeout.kind()) && is_late(net::Error::Timeout.kind()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The capsule lacks a grant.
    CapabilityDenied,
    /// An argument is not valid.
    InvalidInput,
    /// A path leads out of the workspace.
    BoundaryEscape,
    /// A quota is used up.
    Quota,
    /// More bytes than one call may carry.
    TooLarge,
    /// The stream or subscription has ended.
    Closed,
    /// The capsule is being unloaded.
    Cancelled,
    /// The given time passed, of a call about a process.
    WaitTimeout,
    /// The given time passed, of another call.
    Timeout,
    /// The process is not there.
    NoSuchProcess,
    /// Too many processes are retained.
    RegistryFull,
    /// No persistent processes for this caller or host.
    PersistUnsupported,
    /// Output is missing.
    Lost,
    /// A line exceeds the reader's limit.
    LineTooLong,
    /// Too many messages in too short a time.
    RateLimited,
    /// A receiver cannot take more at the moment.
    Backpressure,
    /// No process of the capsule is in a private network.
    NoNetwork,
    /// Nothing listens on the port.
    NotListening,
    /// The process has ended.
    Exited,
    /// An answer is not HTTP/1.1.
    InvalidResponse,
    /// The key belongs to the host.
    ConfigKeyReserved,
    /// The host has no registry of capsules.
    RegistryUnavailable,
    /// The caller is not authenticated.
    NotAuthenticated,
    /// The host has no store or no locks.
    Unavailable,
    /// What the host kept cannot be read.
    Damaged,
    /// Another host changes the entries.
    Busy,
    /// A value is not the JSON that was asked for, or has no JSON.
    Json,
    /// A process answered a request with an error.
    Refused,
    /// The output of a process ended before its answer.
    Ended,
    /// Another error, of which the text says more.
    Unknown,
}

impl ErrorKind {
    /// The name that the interface has for it, such as `wait-timeout`. As text it is the same.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::ErrorKind::NoSuchProcess.as_str(), "no-such-process");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CapabilityDenied => "capability-denied",
            Self::InvalidInput => "invalid-input",
            Self::BoundaryEscape => "boundary-escape",
            Self::Quota => "quota",
            Self::TooLarge => "too-large",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::WaitTimeout => "wait-timeout",
            Self::Timeout => "timeout",
            Self::NoSuchProcess => "no-such-process",
            Self::RegistryFull => "registry-full",
            Self::PersistUnsupported => "persist-unsupported",
            Self::Lost => "lost",
            Self::LineTooLong => "line-too-long",
            Self::RateLimited => "rate-limited",
            Self::Backpressure => "backpressure",
            Self::NoNetwork => "no-network",
            Self::NotListening => "not-listening",
            Self::Exited => "exited",
            Self::InvalidResponse => "invalid-response",
            Self::ConfigKeyReserved => "config-key-reserved",
            Self::RegistryUnavailable => "registry-unavailable",
            Self::NotAuthenticated => "not-authenticated",
            Self::Unavailable => "unavailable",
            Self::Damaged => "damaged",
            Self::Busy => "busy",
            Self::Json => "json",
            Self::Refused => "refused",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
