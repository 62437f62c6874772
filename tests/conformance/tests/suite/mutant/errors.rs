//! The adapter's errors, as a change looks at them and makes them.

use capsule_host::ProcessError;
use capsule_host::supervisor::Error;

pub(super) type Answer<T> = Result<T, ProcessError>;

/// Whether it is the error with this name in the interface.
pub(super) fn is(error: &ProcessError, kind: &str) -> bool {
    matches!(error, ProcessError::Answer(error) if error.kind() == kind)
}

/// A mistake in the arguments.
pub(super) fn invalid() -> ProcessError {
    Error::InvalidInput("changed".into()).into()
}
