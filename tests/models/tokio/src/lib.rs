//! What the supervisor's files take from tokio, for a model checker that runs every task on one thread and decides at each
//! step who goes on.
//!
//! Channels, notifications, `join!` and `select!` are tokio's own: without its runtime they do nothing but call wakers,
//! which here are the checker's. They are taken to be right, so each of their operations happens at once; the wrapped ones
//! let others go first. What the runtime itself would supply, time and readiness of descriptors, is modelled.

pub mod io;
pub mod runtime;
pub mod sync;
pub mod task;
pub mod time;

pub use tokio::{join, select};

use shuttle::sync::atomic::{AtomicBool, Ordering};

/// Lets any other task run, or none: what happens next is the checker's to choose.
fn let_others_run() {
    // An operation of the checker's, and nothing else.
    AtomicBool::new(false).load(Ordering::SeqCst);
}
