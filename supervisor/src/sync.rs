//! The locks of what is checked in every order that its tasks could take: `tests/models` compiles the same files over
//! locks that a model checker schedules.

pub(crate) use std::sync::{Mutex, MutexGuard};
