//! `astrid:io`: pollables, which are `wasmtime_wasi_io`'s, and errors as objects.
//!
//! This file adds the limits of the interface (an empty list would trap in wasmtime), ascending indices, and an
//! end when the capsule is unloaded. These calls leave no record; `call` gives the reason.

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi_io::bindings::wasi::io::poll as wasi;
use wasmtime_wasi_io::poll::DynPollable;

use super::CapsuleCtxView;
use super::bindings::astrid::io::{error, poll};
use super::error::{IoError, PollError};

/// The most pollables in one `poll`.
const MAX_POLLABLES: usize = 256;

impl poll::Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: PollError) -> wasmtime::Result<poll::ErrorCode> {
        Ok(match error {
            PollError::Empty => poll::ErrorCode::InvalidInput,
            PollError::TooMany => poll::ErrorCode::TooLarge,
            PollError::Cancelled => poll::ErrorCode::Cancelled,
            PollError::Trap(trap) => return Err(trap),
        })
    }

    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>, PollError> {
        if pollables.is_empty() {
            return Err(PollError::Empty);
        }
        if pollables.len() > MAX_POLLABLES {
            return Err(PollError::TooMany);
        }
        let ready = wasi::Host::poll(&mut *self.table, pollables);
        let mut ready = self.ctx.until_unload(ready).await?.map_err(PollError::Trap)?;
        // They are grouped by the object that they wait for, not ordered by their place in the list.
        ready.sort_unstable();
        Ok(ready)
    }
}

impl poll::HostPollable for CapsuleCtxView<'_> {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wasi::HostPollable::ready(&mut *self.table, pollable).await
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> Result<(), PollError> {
        let block = wasi::HostPollable::block(&mut *self.table, pollable);
        self.ctx.until_unload(block).await?.map_err(PollError::Trap)
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        <ResourceTable as wasi::HostPollable>::drop(self.table, pollable)
    }
}

impl error::Host for CapsuleCtxView<'_> {}

impl error::HostError for CapsuleCtxView<'_> {
    fn to_debug_string(&mut self, error: Resource<IoError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.description().to_owned())
    }

    fn drop(&mut self, error: Resource<IoError>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}
