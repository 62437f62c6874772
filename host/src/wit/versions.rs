//! `astrid:process` 1.0.0 and 1.1.0: the conversions between the generated types of each version and the supervisor's,
//! and the `Host` traits, whose bodies are one line each.
//!
//! The generated types differ by module though not in shape, so one macro writes both; what the versions really differ
//! in (file injections) is its only argument. The error match names every reason, so a new one must pick its answer.

use wasmtime::component::Resource;
use wasmtime_wasi_io::poll::DynPollable;

use super::error::ProcessError;
use super::process::millis;
use super::{ProcessCtxView, bindings::astrid};
use crate::supervisor;
use crate::text::lossy;

macro_rules! serve {
    ($version:ident, $package:ident, |$request:ident| $injections:expr) => {
        mod $version {
            use std::time::Duration;

            use super::astrid::$package::host::*;
            use super::*;

            type Answer<T> = Result<T, ProcessError>;

            impl From<supervisor::Error> for ErrorCode {
                fn from(error: supervisor::Error) -> Self {
                    use supervisor::Error as E;
                    match error {
                        E::CapabilityDenied => Self::CapabilityDenied,
                        E::InvalidInput(_) => Self::InvalidInput,
                        E::BoundaryEscape => Self::BoundaryEscape,
                        E::Quota => Self::Quota,
                        E::TooLarge => Self::TooLarge,
                        E::Closed => Self::Closed,
                        E::Cancelled => Self::Cancelled,
                        E::WaitTimeout => Self::WaitTimeout,
                        E::NoSuchProcess => Self::NoSuchProcess,
                        E::RegistryFull => Self::RegistryFull,
                        E::PersistUnsupported => Self::PersistUnsupported,
                        E::NotFound(_)
                        | E::PermissionDenied(_)
                        | E::ExecFailed(_)
                        | E::LimitUnenforceable(_)
                        | E::InjectionUnsupported(_)
                        | E::Host(_) => Self::Unknown(error.to_string()),
                    }
                }
            }

            impl From<SpawnRequest> for supervisor::SpawnRequest {
                fn from(mut request: SpawnRequest) -> Self {
                    let $request = &mut request;
                    let file_injections = $injections;
                    Self {
                        cmd: request.cmd,
                        args: request.args,
                        stdin: request.stdin,
                        env: request.env.into_iter().map(|var| (var.key, var.value)).collect(),
                        cwd: request.cwd,
                        limits: request.limits.map(|limits| supervisor::ResourceLimits {
                            max_memory_bytes: limits.max_memory_bytes,
                            max_cpu_secs: limits.max_cpu_secs,
                            max_pids: limits.max_pids,
                            max_open_files: limits.max_open_files,
                        }),
                        file_injections,
                        label: request.label,
                        keep_stdin_open: request.keep_stdin_open.unwrap_or(false),
                        overflow: match request.overflow {
                            None | Some(OverflowPolicy::DropOldest) => supervisor::Overflow::DropOldest,
                            Some(OverflowPolicy::Backpressure) => supervisor::Overflow::Backpressure,
                        },
                        log_ring_bytes: request.log_ring_bytes,
                        max_lifetime: request.max_lifetime_ms.map(Duration::from_millis),
                        idle_timeout: request.idle_timeout_ms.map(Duration::from_millis),
                        exit_retention: request.exit_retention_ms.map(Duration::from_millis),
                    }
                }
            }

            impl From<ProcessSignal> for supervisor::Signal {
                fn from(signal: ProcessSignal) -> Self {
                    match signal {
                        ProcessSignal::Term => Self::Term,
                        ProcessSignal::Hup => Self::Hup,
                        ProcessSignal::Usr1 => Self::Usr1,
                        ProcessSignal::Usr2 => Self::Usr2,
                        ProcessSignal::Int => Self::Int,
                        ProcessSignal::Stop => Self::Stop,
                        ProcessSignal::Cont => Self::Cont,
                    }
                }
            }

            impl From<LogStream> for supervisor::LogStream {
                fn from(stream: LogStream) -> Self {
                    match stream {
                        LogStream::Stdout => Self::Stdout,
                        LogStream::Stderr => Self::Stderr,
                    }
                }
            }

            impl From<supervisor::ExitInfo> for ExitInfo {
                fn from(exit: supervisor::ExitInfo) -> Self {
                    Self {
                        exit_code: exit.exit_code,
                        signal: exit.signal,
                    }
                }
            }

            impl From<supervisor::RunOutput> for ProcessResult {
                fn from(run: supervisor::RunOutput) -> Self {
                    Self {
                        stdout: lossy(run.stdout),
                        stderr: lossy(run.stderr),
                        exit: run.exit.into(),
                    }
                }
            }

            impl From<supervisor::Killed> for KillResult {
                fn from(killed: supervisor::Killed) -> Self {
                    Self {
                        killed: killed.killed,
                        exit: Some(killed.exit.into()),
                        stdout: lossy(killed.stdout),
                        stderr: lossy(killed.stderr),
                    }
                }
            }

            impl From<supervisor::Logs> for ReadLogsResult {
                fn from(logs: supervisor::Logs) -> Self {
                    Self {
                        stdout: logs.stdout,
                        stderr: logs.stderr,
                        running: logs.running,
                        exit: logs.exit.map(Into::into),
                    }
                }
            }

            impl From<supervisor::LogChunk> for LogChunk {
                fn from(chunk: supervisor::LogChunk) -> Self {
                    Self {
                        data: chunk.data,
                        next: LogCursor {
                            token: Some(chunk.next),
                        },
                        bytes_dropped: chunk.bytes_dropped,
                        drained_eof: chunk.drained_eof,
                    }
                }
            }

            impl From<supervisor::Phase> for ProcessPhase {
                fn from(phase: supervisor::Phase) -> Self {
                    match phase {
                        supervisor::Phase::Starting => Self::Starting,
                        supervisor::Phase::Running => Self::Running,
                        supervisor::Phase::Exited => Self::Exited,
                    }
                }
            }

            impl From<supervisor::ProcessInfo> for ProcessInfo {
                fn from(info: supervisor::ProcessInfo) -> Self {
                    Self {
                        id: info.id.expose().to_owned(),
                        label: info.label,
                        command: info.command,
                        os_pid: info.os_pid,
                        phase: info.phase.into(),
                        exit: info.exit.map(Into::into),
                        age_ms: millis(info.age),
                        idle_ms: millis(info.idle),
                        buffered_bytes: info.buffered_bytes,
                        bytes_dropped: info.bytes_dropped,
                        stdin_open: info.stdin_open,
                        cpu_ms: info.cpu.map(millis),
                        mem_bytes_peak: info.mem_bytes_peak,
                    }
                }
            }

            impl Host for ProcessCtxView<'_> {
                fn convert_error_code(&mut self, error: ProcessError) -> wasmtime::Result<ErrorCode> {
                    match error {
                        ProcessError::Answer(error) => Ok(error.into()),
                        ProcessError::Trap(trap) => Err(trap),
                    }
                }

                async fn spawn(&mut self, request: SpawnRequest) -> Answer<ProcessResult> {
                    Ok(self.run(request.into()).await?.into())
                }

                async fn spawn_background(&mut self, request: SpawnRequest) -> Answer<Resource<ProcessHandle>> {
                    self.start_in_background(request.into()).await
                }

                async fn spawn_persistent(&mut self, request: SpawnRequest) -> Answer<ProcessId> {
                    Ok(self.start(request.into()).await?.expose().to_owned())
                }

                fn attach(&mut self, id: ProcessId) -> Answer<Resource<ProcessHandle>> {
                    let handle = self.ctx.scope.attach(&id)?;
                    Ok(self.table.push(handle)?)
                }

                fn list_processes(&mut self, label_filter: Option<String>) -> Answer<Vec<ProcessInfo>> {
                    Ok(self
                        .ctx
                        .scope
                        .list(label_filter.as_deref())
                        .into_iter()
                        .map(Into::into)
                        .collect())
                }

                fn status(&mut self, id: ProcessId) -> Answer<ProcessInfo> {
                    Ok(self.ctx.scope.status(&id)?.into())
                }

                fn status_many(&mut self, ids: Vec<ProcessId>) -> Answer<Vec<ProcessInfo>> {
                    let found = self.ctx.scope.status_many(ids.iter().map(String::as_str));
                    Ok(found.into_iter().map(Into::into).collect())
                }

                fn read_logs(&mut self, id: ProcessId) -> Answer<ReadLogsResult> {
                    Ok(self.ctx.scope.read_logs(&id)?.into())
                }

                fn read_since(
                    &mut self,
                    id: ProcessId,
                    which_stream: LogStream,
                    cursor: LogCursor,
                    max_bytes: u32,
                ) -> Answer<LogChunk> {
                    let scope = &self.ctx.scope;
                    Ok(scope
                        .read_since(&id, which_stream.into(), cursor.token.as_deref(), max_bytes)?
                        .into())
                }

                async fn write_stdin(&mut self, id: ProcessId, data: Vec<u8>) -> Answer<u32> {
                    self.write(&id, data).await
                }

                fn close_stdin(&mut self, id: ProcessId) -> Answer<()> {
                    Ok(self.ctx.scope.close_stdin(&id)?)
                }

                async fn signal(&mut self, id: ProcessId, signal: ProcessSignal) -> Answer<()> {
                    self.send(&id, signal.into()).await
                }

                async fn wait(&mut self, id: ProcessId, timeout_ms: u64) -> Answer<ExitInfo> {
                    Ok(self
                        .await_exit(&id, Duration::from_millis(timeout_ms))
                        .await?
                        .into())
                }

                async fn stop(&mut self, id: ProcessId, grace_ms: Option<u64>) -> Answer<ExitInfo> {
                    Ok(self.end(&id, grace_ms.map(Duration::from_millis)).await?.into())
                }

                async fn release_process(&mut self, id: ProcessId) -> Answer<()> {
                    self.forget(&id).await
                }

                fn watch(&mut self, id: ProcessId, suffix: Option<String>) -> Answer<()> {
                    Ok(self.ctx.scope.watch(&id, suffix.as_deref())?)
                }

                fn unwatch(&mut self, id: ProcessId) -> Answer<()> {
                    Ok(self.ctx.scope.unwatch(&id)?)
                }
            }

            impl HostProcessHandle for ProcessCtxView<'_> {
                fn read_logs(&mut self, handle: Resource<ProcessHandle>) -> Answer<ReadLogsResult> {
                    Ok(self.handle(&handle)?.read_logs()?.into())
                }

                async fn write_stdin(&mut self, handle: Resource<ProcessHandle>, data: Vec<u8>) -> Answer<u32> {
                    self.handle_write(&handle, data).await
                }

                fn close_stdin(&mut self, handle: Resource<ProcessHandle>) -> Answer<()> {
                    Ok(self.handle(&handle)?.close_stdin()?)
                }

                async fn signal(&mut self, handle: Resource<ProcessHandle>, signal: ProcessSignal) -> Answer<()> {
                    self.handle_send(&handle, signal.into()).await
                }

                async fn kill(&mut self, handle: Resource<ProcessHandle>) -> Answer<KillResult> {
                    Ok(self.handle_kill(&handle).await?.into())
                }

                async fn wait(&mut self, handle: Resource<ProcessHandle>, timeout_ms: Option<u64>) -> Answer<ExitInfo> {
                    let timeout = timeout_ms.map(Duration::from_millis);
                    Ok(self.handle_await_exit(&handle, timeout).await?.into())
                }

                async fn wait_with_output(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                    timeout_ms: Option<u64>,
                ) -> Answer<ProcessResult> {
                    let timeout = timeout_ms.map(Duration::from_millis);
                    Ok(self.handle_await_output(&handle, timeout).await?.into())
                }

                fn os_pid(&mut self, handle: Resource<ProcessHandle>) -> Answer<u32> {
                    Ok(self.handle(&handle)?.os_pid()?)
                }

                fn subscribe_exit(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let ready = self.table.get(&handle)?.exit_ready();
                    self.pollable(ready)
                }

                fn subscribe_logs(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let ready = self.table.get(&handle)?.logs_ready();
                    self.pollable(ready)
                }

                async fn drop(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<()> {
                    self.let_go(handle).await
                }
            }
        }
    };
}

serve!(v1_0, process1_0_0, |_request| Vec::new());
serve!(v1_1, process1_1_0, |request| injections(&mut request.file_injections));

/// Takes the files out of a request.
fn injections(files: &mut Vec<astrid::process1_1_0::host::FileInjection>) -> Vec<supervisor::FileInjection> {
    use astrid::process1_1_0::host::InjectionPlacement;
    let files = std::mem::take(files).into_iter();
    files
        .map(|file| {
            let placement = match file.placement {
                InjectionPlacement::EnvPointer(name) => supervisor::Placement::EnvPointer(name),
                InjectionPlacement::FixedPath(path) => supervisor::Placement::FixedPath(path),
            };
            supervisor::FileInjection::new(file.content, placement)
        })
        .collect()
}
