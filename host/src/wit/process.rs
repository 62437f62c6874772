//! `astrid:process` over the supervisor's types, once for both versions; `versions` converts to and from each.
//!
//! Only the calls that add something to the supervisor's have a body here: those that wait, and those of later issues.

use std::time::Duration;

use wasmtime::component::Resource;

use super::ProcessCtxView;
use super::ctx::HooksGate;
use super::error::ProcessError;
use crate::supervisor::{Error, ExitInfo, ProcessId, RunOutput, Signal, SpawnRequest};

/// What `astrid:process/host.process-handle` stands for. There can be none yet: nothing hands one out.
#[derive(Clone, Copy, Debug)]
pub enum ProcessHandle {}

type Answer<T> = Result<T, ProcessError>;

impl ProcessCtxView<'_> {
    /// `spawn`. Unloading drops the run, which ends the child (S8).
    pub(super) async fn run(&mut self, request: SpawnRequest) -> Answer<RunOutput> {
        let mut gate = HooksGate {
            hooks: self.hooks,
            owner: self.ctx.scope.owner(),
        };
        let run = self.ctx.scope.spawn(request, &self.ctx.workspace, &mut gate);
        Ok(self.ctx.until_unload(run).await.ok_or(Error::Cancelled)??)
    }

    /// `spawn-persistent`.
    pub(super) async fn start(&mut self, request: SpawnRequest) -> Answer<ProcessId> {
        let mut gate = HooksGate {
            hooks: self.hooks,
            owner: self.ctx.scope.owner(),
        };
        let start = self.ctx.scope.spawn_persistent(request, &self.ctx.workspace, &mut gate);
        Ok(self.ctx.until_unload(start).await.ok_or(Error::Cancelled)??)
    }

    /// `write-stdin`. A write that was accepted is finished even when the capsule is unloaded meanwhile (N4).
    pub(super) async fn write(&mut self, id: &str, data: Vec<u8>) -> Answer<u32> {
        let write = self.ctx.scope.write_stdin(id, data);
        Ok(self.ctx.until_unload(write).await.ok_or(Error::Cancelled)??)
    }

    /// `signal`.
    pub(super) async fn send(&mut self, id: &str, signal: Signal) -> Answer<()> {
        let send = self.ctx.scope.signal(id, signal);
        Ok(self.ctx.until_unload(send).await.ok_or(Error::Cancelled)??)
    }

    /// `wait`. The supervisor clamps the time.
    pub(super) async fn await_exit(&mut self, id: &str, timeout: Duration) -> Answer<ExitInfo> {
        let wait = self.ctx.scope.wait(id, timeout);
        Ok(self.ctx.until_unload(wait).await.ok_or(Error::Cancelled)??)
    }

    /// `stop`. Once begun, the ending goes on without its caller.
    pub(super) async fn end(&mut self, id: &str, grace: Option<Duration>) -> Answer<ExitInfo> {
        let stop = self.ctx.scope.stop(id, grace);
        Ok(self.ctx.until_unload(stop).await.ok_or(Error::Cancelled)??)
    }

    /// `release-process`.
    pub(super) async fn forget(&mut self, id: &str) -> Answer<()> {
        let release = self.ctx.scope.release(id);
        Ok(self.ctx.until_unload(release).await.ok_or(Error::Cancelled)??)
    }

    /// Any method of a handle: no guest can hold one, so a number that claims to be one is no entry of the table, and
    /// traps as misuse of a handle does everywhere.
    pub(super) fn on_handle<T>(&self, handle: &Resource<ProcessHandle>) -> Answer<T> {
        match *self.table.get(handle)? {}
    }
}

/// The answer of a call that a later issue builds.
pub(super) const fn unimplemented<T>(what: &'static str) -> Answer<T> {
    Err(ProcessError::Answer(Error::Unimplemented(what)))
}

/// Milliseconds as the interface counts them; more than a `u64` holds is as good as for ever.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
