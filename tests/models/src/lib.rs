//! The concurrent parts of the supervisor, from its own files, under a model checker.
//!
//! `supervisor/src` is compiled here a second time, file by file. What differs is what the files call: locks that the checker
//! schedules (`sync`), a tokio of which time and readiness are modelled (`tokio/`), and a tree of processes that ends when
//! the checker says so (`os`). Pipes are real. The checker runs a scenario of [`scenarios`] a great many times, in another
//! order each time, and fails where an order ends in a panic, in a task that will not be woken any more, or never.

// The host's files say `tokio_util::sync` and `tokio_util::task`; what those hold here is below.
extern crate self as tokio_util;

mod os;
mod sandbox;
pub mod scenarios;
mod sync;
mod task;
#[path = "../../../supervisor/src/text/mod.rs"]
mod text;
#[path = "../../../supervisor/src/topic.rs"]
mod topic;

#[path = "../../../supervisor/src/events.rs"]
pub(crate) mod events;
#[path = "../../../supervisor/src/generation.rs"]
pub(crate) mod generation;
pub(crate) mod life;
pub(crate) mod log;
#[path = "../../../supervisor/src/owner.rs"]
mod owner;
#[path = "../../../supervisor/src/quota.rs"]
pub(crate) mod quota;
#[path = "../../../supervisor/src/types.rs"]
mod types;
#[path = "../../../supervisor/src/watch.rs"]
pub(crate) mod watch;

pub(crate) use crate::sandbox::ResourceLimits;
pub(crate) use log::ring::Overflow;
pub(crate) use owner::{Owner, Principal};
pub(crate) use types::{ExitInfo, LogStream, Logs, Signal};

pub(crate) mod network {
    //! Trees have no network.

    #[derive(Clone, Debug)]
    pub(crate) struct PublishedPort;

    pub(crate) mod owner_network {
        #[derive(Debug)]
        pub(crate) struct OwnerNetwork;

        impl OwnerNetwork {
            #[expect(clippy::unused_self, reason = "a real one has listeners")]
            pub(crate) fn published(&self) -> &[super::PublishedPort] {
                &[]
            }
        }
    }
}

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
