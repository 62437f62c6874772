//! The errors of the supervisor's calls.

use crate::sandbox::LaunchError;

/// Why a call failed. Each variant is one case of the interface's `error-code`, or one documented prefix of its
/// `unknown`, whose text is what `Display` gives here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The embedder did not grant it.
    #[error("capability-denied: not granted by the embedder")]
    CapabilityDenied,
    /// The request is malformed; the text says where. Nothing ran.
    #[error("invalid-input: {0}")]
    InvalidInput(String),
    /// The working directory is not inside the workspace.
    #[error("boundary-escape: the working directory leads out of the workspace")]
    BoundaryEscape,
    /// The principal has as many processes, or as much ring memory, as it may have.
    #[error("quota: too many processes, or too much memory for their output")]
    Quota,
    /// More bytes than one call may carry.
    #[error("too-large")]
    TooLarge,
    /// The stream was closed, by the guest, the child or its exit.
    #[error("closed")]
    Closed,
    /// The capsule is being unloaded or the registry is shutting down.
    #[error("cancelled")]
    Cancelled,
    /// The time given to `wait` passed; the process runs on.
    #[error("wait-timeout")]
    WaitTimeout,
    /// The owner has no process with this id (contract I3), or the cursor belongs to another process or stream.
    #[error("no-such-process")]
    NoSuchProcess,
    /// Too many ids are retained. Releasing some makes room.
    #[error("registry-full: too many ids are retained, release exited ones")]
    RegistryFull,
    /// A persistent process needs an authenticated principal, and a host that can contain it.
    #[error("persist-unsupported")]
    PersistUnsupported,
    /// The program does not exist.
    #[error("not-found: {0}")]
    NotFound(String),
    /// The program may not be executed.
    #[error("permission-denied: {0}")]
    PermissionDenied(String),
    /// The program cannot be executed.
    #[error("exec-failed: {0}")]
    ExecFailed(String),
    /// The host cannot enforce a requested resource limit, or the limit is so low that nothing can be started. It is
    /// never accepted and ignored.
    #[error("limit-unenforceable: {0}")]
    LimitUnenforceable(String),
    /// The launcher cannot inject a file, or not at this path. The text gives the reason and the remedy. Nothing ran.
    #[error("injection-unsupported: {0}")]
    InjectionUnsupported(String),
    /// The host itself failed; the process was not started, or was ended.
    #[error("host: {0}")]
    Host(String),
}

impl Error {
    /// The name of this case in the interface, such as `wait-timeout`. For `unknown` it is the documented prefix of its
    /// text: `unknown(not-found)`. It never contains the text itself, which may hold input of a guest, so it can be
    /// used as a label.
    ///
    /// ```
    /// assert_eq!(capsule_supervisor::Error::NotFound("cargo".into()).kind(), "unknown(not-found)");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CapabilityDenied => "capability-denied",
            Self::InvalidInput(_) => "invalid-input",
            Self::BoundaryEscape => "boundary-escape",
            Self::Quota => "quota",
            Self::TooLarge => "too-large",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::WaitTimeout => "wait-timeout",
            Self::NoSuchProcess => "no-such-process",
            Self::RegistryFull => "registry-full",
            Self::PersistUnsupported => "persist-unsupported",
            Self::NotFound(_) => "unknown(not-found)",
            Self::PermissionDenied(_) => "unknown(permission-denied)",
            Self::ExecFailed(_) => "unknown(exec-failed)",
            Self::LimitUnenforceable(_) => "unknown(limit-unenforceable)",
            Self::InjectionUnsupported(_) => "unknown(injection-unsupported)",
            Self::Host(_) => "unknown(host)",
        }
    }
}

impl From<LaunchError> for Error {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::NotFound(what) => Self::NotFound(what),
            LaunchError::PermissionDenied(what) => Self::PermissionDenied(what),
            LaunchError::ExecFailed(what) => Self::ExecFailed(what),
            LaunchError::WorkingDirectory { escape: true } => Self::BoundaryEscape,
            LaunchError::WorkingDirectory { escape: false } => {
                Self::InvalidInput("cwd is not a directory in the workspace".into())
            }
            LaunchError::Injection(why) => Self::InjectionUnsupported(why),
            LaunchError::Limit(what) => Self::LimitUnenforceable(what),
            LaunchError::Confinement(what) => Self::Host(format!("confinement: {what}")),
            LaunchError::Network(error) => Self::Host(format!("network: {error}")),
            LaunchError::Host(error) => Self::Host(format!("could not start a process: {error}")),
        }
    }
}

/// Refuses a malformed request; `why` names the fault.
pub(super) fn invalid(why: &str) -> Result<(), Error> {
    Err(Error::InvalidInput(why.into()))
}
