//! The locks of the files that a model checker runs in many orders of their tasks: `tests/models` compiles the same files with
//! locks that the checker schedules.

pub(crate) use std::sync::{Mutex, MutexGuard};
