//! The concurrent parts of the supervisor, from its own files, under a model checker.
//!
//! `host/src` is compiled here a second time, file by file. What differs is what the files call: locks that the checker
//! schedules (`sync`), a tokio of which time and readiness are modelled (`tokio/`), and a tree of processes that ends when
//! the checker says so (`os`). Pipes are real. The checker runs a scenario of [`scenarios`] a great many times, in another
//! order each time, and fails where an order ends in a panic, in a task that will not be woken any more, or never.

// The host's files say `tokio_util::sync` and `tokio_util::task`; what those hold here is below.
extern crate self as tokio_util;

mod os;
mod sandbox;
pub mod scenarios;
mod supervisor;
mod sync;
mod task;
#[path = "../../../host/src/text/mod.rs"]
mod text;
#[path = "../../../host/src/topic.rs"]
mod topic;
