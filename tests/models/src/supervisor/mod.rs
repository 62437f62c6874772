//! The supervisor's files, and the nouns that they share with those that are not here.

#[path = "../../../../host/src/supervisor/events.rs"]
pub(crate) mod events;
#[path = "../../../../host/src/supervisor/generation.rs"]
pub(crate) mod generation;
pub(crate) mod life;
pub(crate) mod log;
#[path = "../../../../host/src/supervisor/quota.rs"]
pub(crate) mod quota;
#[path = "../../../../host/src/supervisor/types.rs"]
mod types;
#[path = "../../../../host/src/supervisor/watch.rs"]
pub(crate) mod watch;

pub(crate) use crate::sandbox::ResourceLimits;
pub(crate) use log::ring::Overflow;
pub(crate) use types::{ExitInfo, LogStream, Logs, Owner, Principal, Signal};

pub(crate) mod metrics {
    //! Nothing is counted.

    use std::time::Duration;

    pub(crate) fn read(_: usize) {}
    pub(crate) fn drained(_: usize) {}
    pub(crate) fn dropped(_: u64) {}
    pub(crate) fn exited(_: Duration) {}
}

/// A name that is not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId(pub(crate) String);

impl ProcessId {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// The errors that what is here knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    Cancelled,
    Closed,
    Host(String),
    InvalidInput(String),
    TooLarge,
    WaitTimeout,
}
