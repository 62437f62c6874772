//! `astrid:process` 1.0.0 and 1.1.0: the conversions between the generated types of each version and the supervisor's.
//!
//! The generated types have the same shape in two modules, so one macro writes both conversions. The only real difference between
//! the versions (file injections) is its argument. The match of errors names every reason, so that a new reason needs an answer.

use std::time::Duration;

use super::bindings::astrid;
use capsule_supervisor as supervisor;
use capsule_supervisor::internals::lossy;

macro_rules! convert {
    ($version:ident, $package:ident, |$request:ident| $injections:expr) => {
        mod $version {
            use super::astrid::$package::host::*;
            use super::*;

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
                        // The interface is fixed, so an error that is added later has no other case.
                        _ => Self::Unknown(error.to_string()),
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
        }
    };
}

convert!(v1_0, process1_0_0, |_request| Vec::new());
convert!(v1_1, process1_1_0, |request| injections(&mut request.file_injections));

/// Moves the files out of a request.
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

/// Milliseconds, as the interface counts them. A time that does not fit into a `u64` is the largest one.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
