//! The parts of tokio that the supervisor's files use, for a model checker that runs every task on one thread and
//! chooses the next task at each step.
//!
//! Channels, notifications, `join!` and `select!` are tokio's own. Without its runtime they only call wakers, which are
//! the checker's here. They are assumed to be correct, so each of their operations is one step; the wrapped ones let
//! other tasks run first. What the runtime would provide, time and readiness of descriptors, is modelled.

pub mod io;
pub mod runtime;
pub mod sync;
pub mod task;
pub mod time;

pub use tokio::{join, select};

use shuttle::sync::atomic::{AtomicBool, Ordering};

/// Lets any other task run, or none. The checker chooses.
fn let_others_run() {
    // This is an operation of the checker without further effect.
    AtomicBool::new(false).load(Ordering::SeqCst);
}
