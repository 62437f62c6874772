//! `astrid:process` over the supervisor's types, once for both versions; `versions` converts to and from each.
//!
//! Only the calls that add something to the supervisor's have a body here: those that wait, and those that hand out a
//! resource.

use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::ProcessCtxView;
use super::error::ProcessError;
use crate::supervisor::{
    Error, ExitInfo, ExitReady, Handle, Killed, LogsReady, ProcessId, RunOutput, Signal, SpawnRequest,
};

/// What `astrid:process/host.process-handle` stands for. Whatever drops it, the guest, its table or its store, ends a
/// process that was started with it.
pub type ProcessHandle = Handle;

type Answer<T> = Result<T, ProcessError>;

impl ProcessCtxView<'_> {
    /// `spawn`. Unloading drops the run, which ends the child (S8).
    pub(super) async fn run(&mut self, request: SpawnRequest) -> Answer<RunOutput> {
        let run = self.ctx.scope.spawn(request, &self.ctx.workspace, &mut self.hooks);
        Ok(self.ctx.until_unload(run).await.ok_or(Error::Cancelled)??)
    }

    /// `spawn-background`.
    pub(super) async fn start_in_background(&mut self, request: SpawnRequest) -> Answer<Resource<ProcessHandle>> {
        // A spawn that is refused has run nothing, so the room is asked for first. It is not taken meanwhile: the table is
        // ours until this call is over.
        let room = self.table.push(())?;
        self.table.delete(room)?;
        let start = self
            .ctx
            .scope
            .spawn_background(request, &self.ctx.workspace, &mut self.hooks);
        let handle = self.ctx.until_unload(start).await.ok_or(Error::Cancelled)??;
        Ok(self.table.push(handle)?)
    }

    /// `spawn-persistent`.
    pub(super) async fn start(&mut self, request: SpawnRequest) -> Answer<ProcessId> {
        let start = self
            .ctx
            .scope
            .spawn_persistent(request, &self.ctx.workspace, &mut self.hooks);
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

    /// A number that claims to be a handle and is none traps, as misuse of a handle does everywhere.
    pub(super) fn handle(&self, handle: &Resource<ProcessHandle>) -> Answer<&ProcessHandle> {
        Ok(self.table.get(handle)?)
    }

    /// `process-handle.write-stdin`.
    pub(super) async fn handle_write(&mut self, handle: &Resource<ProcessHandle>, data: Vec<u8>) -> Answer<u32> {
        let write = self.table.get(handle)?.write_stdin(data);
        Ok(self.ctx.until_unload(write).await.ok_or(Error::Cancelled)??)
    }

    /// `process-handle.signal`.
    pub(super) async fn handle_send(&mut self, handle: &Resource<ProcessHandle>, signal: Signal) -> Answer<()> {
        let send = self.table.get(handle)?.signal(signal);
        Ok(self.ctx.until_unload(send).await.ok_or(Error::Cancelled)??)
    }

    /// `process-handle.kill`. Once begun, the process is killed without its caller.
    pub(super) async fn handle_kill(&mut self, handle: &Resource<ProcessHandle>) -> Answer<Killed> {
        let kill = self.table.get(handle)?.kill();
        Ok(self.ctx.until_unload(kill).await.ok_or(Error::Cancelled)??)
    }

    /// `process-handle.wait`.
    pub(super) async fn handle_await_exit(
        &mut self,
        handle: &Resource<ProcessHandle>,
        timeout: Option<Duration>,
    ) -> Answer<ExitInfo> {
        let wait = self.table.get(handle)?.wait(timeout);
        Ok(self.ctx.until_unload(wait).await.ok_or(Error::Cancelled)??)
    }

    /// `process-handle.wait-with-output`.
    pub(super) async fn handle_await_output(
        &mut self,
        handle: &Resource<ProcessHandle>,
        timeout: Option<Duration>,
    ) -> Answer<RunOutput> {
        let wait = self.table.get(handle)?.wait_with_output(timeout);
        Ok(self.ctx.until_unload(wait).await.ok_or(Error::Cancelled)??)
    }

    /// The guest drops a handle: what ends with it has ended before the guest goes on (S5).
    pub(super) async fn let_go(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<()> {
        let handle = self.table.delete(handle)?;
        // An unloading does not wait for it; the process ends all the same.
        let _: Option<()> = self.ctx.until_unload(handle.close()).await;
        Ok(())
    }

    /// A pollable that owns what it waits for, so that the handle may go before it (A1).
    pub(super) fn pollable(&mut self, ready: impl Pollable) -> wasmtime::Result<Resource<DynPollable>> {
        let ready = self.table.push(ready)?;
        subscribe(self.table, ready)
    }
}

#[async_trait]
impl Pollable for ExitReady {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

#[async_trait]
impl Pollable for LogsReady {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

/// Milliseconds as the interface counts them; more than a `u64` holds is as good as for ever.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
