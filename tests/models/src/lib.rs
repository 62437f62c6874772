//! The concurrent parts of the supervisor, compiled from its own files, under a model checker.
//!
//! `supervisor/src` is compiled here a second time, file by file, with other dependencies: locks that the checker
//! schedules (`sync`), a tokio with a model of time and readiness (`tokio/`), and a process tree that ends when the
//! checker decides it (`os`). Pipes are real. The checker runs each of the [`scenarios`] many times, in another order
//! each time. It fails if an order ends in a panic, in a task that is never woken again, or not at all.

// The host's files name `tokio_util::sync` and `tokio_util::task`. Their items here are below.
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
    //! No metrics are counted.

    use std::time::Duration;

    pub(crate) fn read(_: usize) {}
    pub(crate) fn drained(_: usize) {}
    pub(crate) fn dropped(_: u64) {}
    pub(crate) fn exited(_: Duration) {}
}

/// A name, which is not secret here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId(pub(crate) String);

impl ProcessId {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// The errors of the files that are compiled here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    Cancelled,
    Closed,
    Host(String),
    InvalidInput(String),
    TooLarge,
    WaitTimeout,
}
