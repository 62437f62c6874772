//! `astrid:process` 1.0.0 and 1.1.0: each function is a recorded call of the supervisor.
//!
//! The versions differ only in their generated types, so one macro writes both. `convert` has the conversions behind each
//! `into`. A call that waits ends when the capsule is unloaded. The supervisor finishes some operations without their caller: a
//! write that was accepted (N4), and a signal, a stop or a kill that has begun.

use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};

use super::CapsuleCtxView;
use super::bindings::astrid;
use super::ctx::call::{Access, ProcessHandle};
use super::error::ProcessError;
use capsule_supervisor::{self as supervisor, ExitReady, Handle, LogsReady, RunOutput};

type Answer<T> = Result<T, ProcessError>;

impl Access<'_> {
    /// An unload drops the run, which ends the child (S8).
    async fn spawn(&mut self, request: supervisor::SpawnRequest) -> Answer<RunOutput> {
        let (state, mut asking) = self.asking(&request.cmd);
        Ok(state.scope.spawn(request, &state.workspace, &mut asking).await?)
    }

    async fn spawn_background(&mut self, request: supervisor::SpawnRequest) -> Answer<Resource<ProcessHandle>> {
        // First, because a refused spawn must not have run anything.
        self.require_room()?;
        let (state, mut asking) = self.asking(&request.cmd);
        let start = state.scope.spawn_background(request, &state.workspace, &mut asking);
        let handle = start.await?;
        Ok(self.push(handle)?)
    }

    async fn spawn_persistent(&mut self, request: supervisor::SpawnRequest) -> Answer<supervisor::ProcessId> {
        let (state, mut asking) = self.asking(&request.cmd);
        let start = state.scope.spawn_persistent(request, &state.workspace, &mut asking);
        let id = start.await?;
        self.note(id.expose());
        Ok(id)
    }
}

macro_rules! serve {
    ($version:ident, $package:ident) => {
        mod $version {
            use super::astrid::$package::host::*;
            use super::*;

            impl Host for CapsuleCtxView<'_> {
                fn convert_error_code(&mut self, error: ProcessError) -> wasmtime::Result<ErrorCode> {
                    match error {
                        ProcessError::Answer(error) => Ok(error.into()),
                        ProcessError::Trap(trap) => Err(trap),
                    }
                }

                async fn spawn(&mut self, request: SpawnRequest) -> Answer<ProcessResult> {
                    let request = request.into();
                    let call = self.call("spawn").spawning(&request);
                    call.wait(async |access| Ok(access.spawn(request).await?.into()))
                        .await
                }

                async fn spawn_background(&mut self, request: SpawnRequest) -> Answer<Resource<ProcessHandle>> {
                    let request = request.into();
                    let call = self.call("spawn-background").spawning(&request);
                    call.wait(async |access| access.spawn_background(request).await)
                        .await
                }

                async fn spawn_persistent(&mut self, request: SpawnRequest) -> Answer<ProcessId> {
                    let request = request.into();
                    let call = self.call("spawn-persistent").spawning(&request);
                    call.wait(async |access| Ok(access.spawn_persistent(request).await?.expose().to_owned()))
                        .await
                }

                fn attach(&mut self, id: ProcessId) -> Answer<Resource<ProcessHandle>> {
                    let call = self.call("attach").about(&id);
                    call.run(|access| Ok(access.push(access.state.scope.attach(&id)?)?))
                }

                fn list_processes(&mut self, label_filter: Option<String>) -> Answer<Vec<ProcessInfo>> {
                    let call = self.call("list-processes");
                    call.run(|access| {
                        let found = access.state.scope.list(label_filter.as_deref());
                        Ok(found.into_iter().map(Into::into).collect())
                    })
                }

                fn status(&mut self, id: ProcessId) -> Answer<ProcessInfo> {
                    let call = self.call("status").about(&id);
                    call.run(|access| Ok(access.state.scope.status(&id)?.into()))
                }

                fn status_many(&mut self, ids: Vec<ProcessId>) -> Answer<Vec<ProcessInfo>> {
                    let call = self.call("status-many").about_all(&ids);
                    call.run(|access| {
                        let found = access.state.scope.status_many(ids.iter().map(String::as_str));
                        Ok(found.into_iter().map(Into::into).collect())
                    })
                }

                fn read_logs(&mut self, id: ProcessId) -> Answer<ReadLogsResult> {
                    let call = self.call("read-logs").about(&id);
                    call.run(|access| Ok(access.state.scope.read_logs(&id)?.into()))
                }

                fn read_since(
                    &mut self,
                    id: ProcessId,
                    which_stream: LogStream,
                    cursor: LogCursor,
                    max_bytes: u32,
                ) -> Answer<LogChunk> {
                    let call = self.call("read-since").about(&id);
                    call.run(|access| {
                        let (stream, token) = (which_stream.into(), cursor.token.as_deref());
                        Ok(access
                            .state
                            .scope
                            .read_since(&id, stream, token, max_bytes)?
                            .into())
                    })
                }

                async fn write_stdin(&mut self, id: ProcessId, data: Vec<u8>) -> Answer<u32> {
                    let call = self.call("write-stdin").about(&id);
                    call.wait(async |access| Ok(access.state.scope.write_stdin(&id, data).await?))
                        .await
                }

                fn close_stdin(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("close-stdin").about(&id);
                    call.run(|access| Ok(access.state.scope.close_stdin(&id)?))
                }

                async fn signal(&mut self, id: ProcessId, signal: ProcessSignal) -> Answer<()> {
                    let call = self.call("signal").about(&id);
                    call.wait(async |access| Ok(access.state.scope.signal(&id, signal.into()).await?))
                        .await
                }

                async fn wait(&mut self, id: ProcessId, timeout_ms: u64) -> Answer<ExitInfo> {
                    let call = self.call("wait").about(&id);
                    let time = Duration::from_millis(timeout_ms);
                    call.wait(async |access| Ok(access.state.scope.wait(&id, time).await?.into()))
                        .await
                }

                async fn stop(&mut self, id: ProcessId, grace_ms: Option<u64>) -> Answer<ExitInfo> {
                    let call = self.call("stop").about(&id);
                    let time = grace_ms.map(Duration::from_millis);
                    call.wait(async |access| Ok(access.state.scope.stop(&id, time).await?.into()))
                        .await
                }

                async fn release_process(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("release-process").about(&id);
                    call.wait(async |access| Ok(access.state.scope.release(&id).await?))
                        .await
                }

                fn watch(&mut self, id: ProcessId, suffix: Option<String>) -> Answer<()> {
                    let call = self.call("watch").about(&id);
                    call.run(|access| Ok(access.state.scope.watch(&id, suffix.as_deref())?))
                }

                fn unwatch(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("unwatch").about(&id);
                    call.run(|access| Ok(access.state.scope.unwatch(&id)?))
                }
            }

            impl HostProcessHandle for CapsuleCtxView<'_> {
                fn read_logs(&mut self, handle: Resource<ProcessHandle>) -> Answer<ReadLogsResult> {
                    let call = self.call("process-handle.read-logs").on(&handle);
                    call.run(|access| Ok(access.get(&handle)?.read_logs()?.into()))
                }

                async fn write_stdin(&mut self, handle: Resource<ProcessHandle>, data: Vec<u8>) -> Answer<u32> {
                    let call = self.call("process-handle.write-stdin").on(&handle);
                    call.wait(async |access| Ok(access.get(&handle)?.write_stdin(data).await?))
                        .await
                }

                fn close_stdin(&mut self, handle: Resource<ProcessHandle>) -> Answer<()> {
                    let call = self.call("process-handle.close-stdin").on(&handle);
                    call.run(|access| Ok(access.get(&handle)?.close_stdin()?))
                }

                async fn signal(&mut self, handle: Resource<ProcessHandle>, signal: ProcessSignal) -> Answer<()> {
                    let call = self.call("process-handle.signal").on(&handle);
                    call.wait(async |access| Ok(access.get(&handle)?.signal(signal.into()).await?))
                        .await
                }

                async fn kill(&mut self, handle: Resource<ProcessHandle>) -> Answer<KillResult> {
                    let call = self.call("process-handle.kill").on(&handle);
                    call.wait(async |access| Ok(access.get(&handle)?.kill().await?.into()))
                        .await
                }

                async fn wait(&mut self, handle: Resource<ProcessHandle>, timeout_ms: Option<u64>) -> Answer<ExitInfo> {
                    let call = self.call("process-handle.wait").on(&handle);
                    let time = timeout_ms.map(Duration::from_millis);
                    call.wait(async |access| Ok(access.get(&handle)?.wait(time).await?.into()))
                        .await
                }

                async fn wait_with_output(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                    timeout_ms: Option<u64>,
                ) -> Answer<ProcessResult> {
                    let call = self.call("process-handle.wait-with-output").on(&handle);
                    let time = timeout_ms.map(Duration::from_millis);
                    call.wait(async |access| Ok(access.get(&handle)?.wait_with_output(time).await?.into()))
                        .await
                }

                fn os_pid(&mut self, handle: Resource<ProcessHandle>) -> Answer<u32> {
                    let call = self.call("process-handle.os-pid").on(&handle);
                    call.run(|access| Ok(access.get(&handle)?.os_pid()?))
                }

                fn subscribe_exit(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let call = self.call("process-handle.subscribe-exit").on(&handle);
                    call.run(|access| access.pollable(Exit(access.get(&handle)?.exit_ready())))
                }

                fn subscribe_logs(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let call = self.call("process-handle.subscribe-logs").on(&handle);
                    call.run(|access| access.pollable(Output(access.get(&handle)?.logs_ready())))
                }

                /// When the guest continues, the process that ends with the handle has ended (S5). An unload does not
                /// wait for this, and the process ends nevertheless.
                async fn drop(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<()> {
                    let call = self.call("process-handle.drop").on(&handle);
                    call.close(handle, Handle::close).await
                }
            }
        }
    };
}

serve!(v1_0, process1_0_0);
serve!(v1_1, process1_1_0);

/// A wait of the supervisor's as a pollable, because the supervisor names no wasm type.
struct Exit(ExitReady);

#[async_trait]
impl Pollable for Exit {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

/// As [`Exit`].
struct Output(LogsReady);

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}
