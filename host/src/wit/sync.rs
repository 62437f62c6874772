//! `capsule:sync`: the locks that an owner's instances take from each other.
//!
//! A lock that is held is in the store's table, so it is freed with the instance, however that ends.

use std::time::Duration;

use wasmtime::component::Resource;

use super::CapsuleCtxView;
use super::bindings::capsule::sync::lock::{ErrorCode, Host, HostGuard};
use super::ctx::call::LockGuard;
use super::error::LockError;
use crate::locks;

impl Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: LockError) -> wasmtime::Result<ErrorCode> {
        Ok(match error {
            LockError::Answer(locks::LockError::InvalidInput(_)) => ErrorCode::InvalidInput(error.to_string()),
            LockError::Answer(locks::LockError::Timeout) => ErrorCode::Timeout,
            LockError::Answer(locks::LockError::Quota) => ErrorCode::Quota,
            LockError::Answer(locks::LockError::NotAuthenticated) => ErrorCode::NotAuthenticated,
            LockError::Unavailable => ErrorCode::Unavailable,
            LockError::Cancelled => ErrorCode::Cancelled,
            LockError::Trap(trap) => return Err(trap),
        })
    }

    async fn acquire(&mut self, name: String, timeout_ms: u64) -> Result<Resource<LockGuard>, LockError> {
        let call = self.call("acquire").of_key(&name, None);
        let time = Duration::from_millis(timeout_ms);
        call.wait(async |access| {
            // Before the wait: the guest would wait in vain.
            access.require_room()?;
            let state = &*access.state;
            let locks = state.locks.as_ref().ok_or(LockError::Unavailable)?;
            let guard = locks.acquire(state.scope.owner(), &name, time).await?;
            Ok(access.push(guard)?)
        })
        .await
    }
}

impl HostGuard for CapsuleCtxView<'_> {
    fn drop(&mut self, guard: Resource<LockGuard>) -> wasmtime::Result<()> {
        self.call("guard.drop").run(|access| {
            let guard = access.delete(guard)?;
            access.note_key(guard.name());
            Ok(())
        })
    }
}
