//! The checker's locks, where the host has the standard library's; and a token that is the real one.

pub(crate) use real_tokio_util::sync::CancellationToken;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
