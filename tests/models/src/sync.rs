//! The checker's locks in place of the standard library's, and the real cancellation token.

pub(crate) use real_tokio_util::sync::CancellationToken;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
