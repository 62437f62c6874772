//! The mock in the place of the host's imports: the same functions and methods, with the same
//! types where those are plain data.

use super::world;

/// `astrid:io/poll`.
pub(crate) mod poll {
    use super::world::{self, World};
    pub(crate) use crate::wit::generated::astrid::io::poll::ErrorCode;
    use crate::wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError;
    use std::rc::Weak;

    #[derive(Debug)]
    pub(crate) struct Pollable {
        pub(super) what: What,
        /// Gone with its parent, a handle or a subscription: then it is ready.
        pub(super) parent: Weak<()>,
    }

    /// By their places in the world.
    #[derive(Clone, Copy, Debug)]
    pub(super) enum What {
        Exit(usize),
        Logs(usize),
        Messages(usize),
    }

    impl Pollable {
        fn is_ready(&self, world: &World) -> bool {
            if self.parent.strong_count() == 0 {
                return true;
            }
            let process = |index: usize| world.processes.get(index);
            match self.what {
                What::Exit(index) => process(index).is_none_or(|process| process.exit_ready()),
                What::Logs(index) => process(index).is_none_or(|process| process.logs_ready()),
                What::Messages(index) => match world.queues.get(index) {
                    Some(Some(queue)) => !queue.messages.is_empty() || queue.dropped > 0,
                    Some(None) | None => true,
                },
            }
        }

        pub(crate) fn ready(&self) -> bool {
            world::with(|world| {
                world.advance_to(world.now);
                self.is_ready(world)
            })
        }

        pub(crate) fn block(&self) -> Result<(), ErrorCode> {
            poll(&[self]).map(drop)
        }
    }

    pub(crate) fn poll(pollables: &[&Pollable]) -> Result<Vec<u32>, ErrorCode> {
        match pollables.len() {
            0 => return Err(ErrorCode::InvalidInput),
            1..=256 => {}
            _ => return Err(ErrorCode::TooLarge),
        }
        let mut ready = Vec::new();
        let waited = world::wait(None, &format!("a poll of {pollables:?}"), |world| {
            ready = (0..)
                .zip(pollables)
                .filter(|(_, p)| p.is_ready(world))
                .map(|(index, _)| index)
                .collect();
            !ready.is_empty()
        });
        match waited {
            Ok(_) => Ok(ready),
            Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
            Err(other) => Err(ErrorCode::Unknown(other.to_string())),
        }
    }
}

/// `astrid:process/host`.
pub(crate) mod process {
    use super::{
        poll::{Pollable, What},
        world::{self, World},
    };
    use crate::{LogStream as Which, ProcessId, Signal};
    use std::{rc::Rc, time::Duration};

    // What is defined below hides the generated functions and the handle.
    pub(crate) use crate::wit::generated::astrid::process1_1_0::host::*;

    type Answer<T> = Result<T, ErrorCode>;

    const MOST_STDIN: usize = 1024 * 1024;
    const MOST_READ: usize = 4 * 1024 * 1024;

    fn touched<R>(index: usize, use_it: impl FnOnce(&mut World) -> R) -> R {
        world::with(|world| {
            world.advance_to(world.now);
            world.process(index).touched = world.now;
            use_it(world)
        })
    }

    fn by_id<R>(id: &str, use_it: impl FnOnce(&mut World, usize) -> R) -> Answer<R> {
        let index = world::with(|world| {
            world.advance_to(world.now);
            world.find(id)
        })?;
        Ok(touched(index, |world| use_it(world, index)))
    }

    fn drain(world: &mut World, index: usize) -> ReadLogsResult {
        let process = world.process(index);
        let over = process.exit.is_some();
        ReadLogsResult {
            stdout: process.stdout.drain(over),
            stderr: process.stderr.drain(over),
            running: !over,
            exit: process.exit,
        }
    }

    fn wait_for(index: usize, timeout: Option<u64>) -> Answer<ExitInfo> {
        let program = world::with(|world| world.process(index).run.program.clone());
        let timeout = timeout.map(Duration::from_millis);
        world::wait(timeout, &format!("the exit of `{program}`"), |world| {
            world.process(index).exit_ready()
        })?;
        touched(index, |world| {
            let process = world.process(index);
            match process.exit {
                Some(exit) => Ok(exit),
                None if process.gone => Err(ErrorCode::NoSuchProcess),
                None => Err(ErrorCode::WaitTimeout),
            }
        })
    }

    fn write(index: usize, data: &[u8]) -> Answer<u32> {
        if data.len() > MOST_STDIN {
            return Err(ErrorCode::TooLarge);
        }
        if !touched(index, |world| world.process(index).run.input_open) {
            return Err(ErrorCode::Closed);
        }
        world::feed(index, data);
        u32::try_from(data.len()).map_err(|_| ErrorCode::TooLarge)
    }

    fn send(world: &mut World, index: usize, signal: ProcessSignal) {
        let signal = match signal {
            ProcessSignal::Term => Signal::Term,
            ProcessSignal::Hup => Signal::Hup,
            ProcessSignal::Usr1 => Signal::Usr1,
            ProcessSignal::Usr2 => Signal::Usr2,
            ProcessSignal::Int => Signal::Int,
            ProcessSignal::Stop => Signal::Stop,
            ProcessSignal::Cont => Signal::Cont,
        };
        world.signal(index, signal);
    }

    #[derive(Debug)]
    pub(crate) struct ProcessHandle {
        index: usize,
        attached: bool,
        alive: Rc<()>,
    }

    impl ProcessHandle {
        fn new(index: usize, attached: bool) -> Self {
            Self {
                index,
                attached,
                alive: Rc::new(()),
            }
        }

        fn pollable(&self, what: What) -> Pollable {
            Pollable {
                what,
                parent: Rc::downgrade(&self.alive),
            }
        }

        fn here<R>(&self, use_it: impl FnOnce(&mut World, usize) -> R) -> Answer<R> {
            touched(self.index, |world| {
                if world.process(self.index).gone {
                    return Err(ErrorCode::Closed);
                }
                Ok(use_it(world, self.index))
            })
        }

        pub(crate) fn read_logs(&self) -> Answer<ReadLogsResult> {
            self.here(drain)
        }

        pub(crate) fn write_stdin(&self, data: &[u8]) -> Answer<u32> {
            self.here(|_, _| ())?;
            write(self.index, data)
        }

        pub(crate) fn close_stdin(&self) -> Answer<()> {
            self.here(World::end_input)
        }

        pub(crate) fn signal(&self, signal: ProcessSignal) -> Answer<()> {
            self.here(|world, index| send(world, index, signal))
        }

        pub(crate) fn kill(&self) -> Answer<KillResult> {
            self.here(|world, index| {
                let killed = world.process(index).exit.is_none();
                world.end(index, world::signalled(9), "killed", None);
                let left = drain(world, index);
                KillResult {
                    killed,
                    exit: left.exit,
                    stdout: left.stdout,
                    stderr: left.stderr,
                }
            })
        }

        pub(crate) fn wait(&self, timeout: Option<u64>) -> Answer<ExitInfo> {
            if self.attached && timeout.is_none() {
                return Err(ErrorCode::InvalidInput);
            }
            self.here(|_, _| ())?;
            wait_for(self.index, timeout)
        }

        pub(crate) fn wait_with_output(&self, timeout: Option<u64>) -> Answer<ProcessResult> {
            let exit = self.wait(timeout)?;
            let left = self.read_logs()?;
            Ok(ProcessResult {
                stdout: left.stdout,
                stderr: left.stderr,
                exit,
            })
        }

        pub(crate) fn os_pid(&self) -> Answer<u32> {
            let running = self.here(|world, index| world.process(index).exit.is_none())?;
            if running {
                Ok(os_pid(self.index))
            } else {
                Err(ErrorCode::Closed)
            }
        }

        pub(crate) fn subscribe_exit(&self) -> Pollable {
            self.pollable(What::Exit(self.index))
        }

        pub(crate) fn subscribe_logs(&self) -> Pollable {
            self.pollable(What::Logs(self.index))
        }
    }

    impl Drop for ProcessHandle {
        fn drop(&mut self) {
            if !self.attached {
                world::with_if_any(|world| {
                    world.end(self.index, world::signalled(9), "killed", None);
                    world.forget(self.index);
                });
            }
        }
    }

    fn os_pid(index: usize) -> u32 {
        u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1000)
    }

    pub(crate) fn spawn(request: &SpawnRequest) -> Answer<ProcessResult> {
        // Dropping the handle forgets it, as on a host that hands everything over at once.
        let index = world::start(request, false, false)?;
        ProcessHandle::new(index, false).wait_with_output(None)
    }

    pub(crate) fn spawn_background(request: &SpawnRequest) -> Answer<ProcessHandle> {
        let index = world::start(request, false, request.keep_stdin_open == Some(true))?;
        Ok(ProcessHandle::new(index, false))
    }

    pub(crate) fn spawn_persistent(request: &SpawnRequest) -> Answer<String> {
        let index = world::start(request, true, request.keep_stdin_open == Some(true))?;
        let id = world::with(|world| world.process(index).run.id.clone());
        id.map(|id| id.expose().to_owned()).ok_or(ErrorCode::NoSuchProcess)
    }

    pub(crate) fn attach(id: &str) -> Answer<ProcessHandle> {
        by_id(id, |_, index| ProcessHandle::new(index, true))
    }

    fn info(world: &World, process: &world::Process, index: usize, id: &ProcessId) -> ProcessInfo {
        let run = &process.run;
        ProcessInfo {
            id: id.expose().to_owned(),
            label: run.label.clone().unwrap_or_else(|| run.program.clone()),
            command: [std::slice::from_ref(&run.program), &run.args].concat().join(" "),
            os_pid: process.exit.is_none().then(|| os_pid(index)),
            phase: if process.exit.is_some() {
                ProcessPhase::Exited
            } else {
                ProcessPhase::Running
            },
            exit: process.exit,
            age_ms: ms(world.now.saturating_sub(process.started)),
            idle_ms: ms(world.now.saturating_sub(process.touched)),
            buffered_bytes: (process.stdout.buffered() + process.stderr.buffered()) as u64,
            bytes_dropped: process.stdout.evicted + process.stderr.evicted,
            stdin_open: run.input_open,
            cpu_ms: None,
            mem_bytes_peak: None,
        }
    }

    fn ms(duration: Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn list_processes(filter: Option<&str>) -> Answer<Vec<ProcessInfo>> {
        world::with(|world| {
            world.advance_to(world.now);
            let all = world.processes.iter().enumerate().filter(|(_, process)| !process.gone);
            let infos = all.filter_map(|(index, process)| Some(info(world, process, index, process.run.id.as_ref()?)));
            Ok(infos
                .filter(|info| info.label.contains(filter.unwrap_or_default()))
                .collect())
        })
    }

    pub(crate) fn status(id: &str) -> Answer<ProcessInfo> {
        let all = list_processes(None)?;
        all.into_iter()
            .find(|info| info.id == id)
            .ok_or(ErrorCode::NoSuchProcess)
    }

    pub(crate) fn status_many(ids: &[String]) -> Answer<Vec<ProcessInfo>> {
        Ok(ids.iter().filter_map(|id| status(id).ok()).collect())
    }

    pub(crate) fn read_logs(id: &str) -> Answer<ReadLogsResult> {
        by_id(id, drain)
    }

    pub(crate) fn read_since(id: &str, which: LogStream, cursor: &LogCursor, max_bytes: u32) -> Answer<LogChunk> {
        by_id(id, |world, index| {
            let process = world.process(index);
            let over = process.exit.is_some();
            let (stream, name) = match which {
                LogStream::Stdout => (process.stream(Which::Stdout), "out"),
                LogStream::Stderr => (process.stream(Which::Stderr), "err"),
            };
            let (at, lost) = match &cursor.token {
                Some(token) => place(token, index, name).ok_or(ErrorCode::NoSuchProcess)?,
                None => (stream.oldest(), 0),
            };
            let from = at.max(stream.oldest());
            let lost = lost + (from - at);
            let data = stream.read(from, (max_bytes as usize).min(MOST_READ));
            let to = from + data.len();
            Ok(LogChunk {
                drained_eof: over && to == stream.end(),
                data,
                next: LogCursor {
                    token: Some(format!("mock.{index}.{name}.{to}.{lost}")),
                },
                bytes_dropped: lost as u64,
            })
        })?
    }

    fn place(token: &str, index: usize, stream: &str) -> Option<(usize, usize)> {
        let rest = token.strip_prefix(&format!("mock.{index}.{stream}."))?;
        let (at, lost) = rest.split_once('.')?;
        Some((at.parse().ok()?, lost.parse().ok()?))
    }

    pub(crate) fn write_stdin(id: &str, data: &[u8]) -> Answer<u32> {
        write(by_id(id, |_, index| index)?, data)
    }

    pub(crate) fn close_stdin(id: &str) -> Answer<()> {
        by_id(id, World::end_input)
    }

    pub(crate) fn signal(id: &str, signal: ProcessSignal) -> Answer<()> {
        by_id(id, |world, index| send(world, index, signal))
    }

    pub(crate) fn wait(id: &str, timeout_ms: u64) -> Answer<ExitInfo> {
        wait_for(by_id(id, |_, index| index)?, Some(timeout_ms))
    }

    pub(crate) fn stop(id: &str, grace_ms: Option<u64>) -> Answer<ExitInfo> {
        let index = by_id(id, |world, index| {
            world.blame(index, "stopped");
            world.signal(index, Signal::Term);
            index
        })?;
        let grace = grace_ms.unwrap_or(5_000).min(30_000);
        let ended = wait_for(index, Some(grace));
        world::with(|world| {
            world.end(index, world::signalled(9), "stopped", None);
            world.forget(index);
            match ended {
                Err(ErrorCode::WaitTimeout) => world.process(index).exit.ok_or(ErrorCode::NoSuchProcess),
                other => other,
            }
        })
    }

    pub(crate) fn release_process(id: &str) -> Answer<()> {
        let released = by_id(id, |world, index| {
            let exited = world.process(index).exit.is_some();
            if exited {
                world.forget(index);
            }
            exited
        });
        match released {
            Ok(true) | Err(ErrorCode::NoSuchProcess) => Ok(()),
            Ok(false) => Err(ErrorCode::InvalidInput),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn watch(id: &str, suffix: Option<&str>) -> Answer<()> {
        by_id(id, |world, index| {
            world.watch(index, Some(suffix.unwrap_or(id).to_owned()));
        })
    }

    pub(crate) fn unwatch(id: &str) -> Answer<()> {
        by_id(id, |world, index| world.watch(index, None))
    }
}

/// `astrid:ipc/host`.
pub(crate) mod ipc {
    use super::{
        poll::{Pollable, What},
        world,
    };
    use crate::{ipc::Sender, wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError};
    use std::{rc::Rc, time::Duration};

    pub(crate) use crate::wit::generated::astrid::ipc::host::*;

    #[derive(Debug)]
    pub(crate) struct Subscription {
        index: usize,
        alive: Rc<()>,
    }

    impl Subscription {
        pub(crate) fn poll(&self) -> Result<IpcEnvelope, ErrorCode> {
            world::with(|world| {
                world.advance_to(world.now);
                let queue = world
                    .queues
                    .get_mut(self.index)
                    .and_then(Option::as_mut)
                    .ok_or(ErrorCode::Closed)?;
                Ok(IpcEnvelope {
                    messages: std::mem::take(&mut queue.messages),
                    dropped: std::mem::take(&mut queue.dropped),
                    lagged: queue.lagged,
                })
            })
        }

        pub(crate) fn recv(&self, timeout_ms: u64) -> Result<IpcEnvelope, ErrorCode> {
            let timeout = Some(Duration::from_millis(timeout_ms));
            let came = world::wait(timeout, "a message", |world| match world.queues.get(self.index) {
                Some(Some(queue)) => !queue.messages.is_empty() || queue.dropped > 0,
                Some(None) | None => true,
            });
            match came {
                Ok(true) => self.poll(),
                Ok(false) => Err(ErrorCode::Timeout),
                Err(ProcessError::Cancelled) => {
                    let text = "cancelled: the capsule is being unloaded";
                    Err(ErrorCode::Unknown(text.to_owned()))
                }
                Err(other) => Err(ErrorCode::Unknown(other.to_string())),
            }
        }

        pub(crate) fn subscribe_readiness(&self) -> Pollable {
            Pollable {
                what: What::Messages(self.index),
                parent: Rc::downgrade(&self.alive),
            }
        }
    }

    impl Drop for Subscription {
        fn drop(&mut self) {
            world::with_if_any(|world| {
                if let Some(queue) = world.queues.get_mut(self.index) {
                    *queue = None;
                }
            });
        }
    }

    pub(crate) fn publish(topic: &str, payload: &str) -> Result<(), ErrorCode> {
        world::with(|world| {
            let sender = world.principal.clone().map_or(Sender::System, Sender::Verified);
            world.deliver(topic, payload, "capsule", sender);
        });
        Ok(())
    }

    pub(crate) fn publish_as(topic: &str, payload: &str, principal: &str) -> Result<(), ErrorCode> {
        let sender = Sender::Claimed(principal.to_owned());
        world::with(|world| world.deliver(topic, payload, "capsule", sender));
        Ok(())
    }

    pub(crate) fn subscribe(pattern: &str) -> Result<Subscription, ErrorCode> {
        world::with(|world| {
            world.queues.push(Some(world::Queue {
                pattern: pattern.to_owned(),
                messages: Vec::new(),
                dropped: 0,
                lagged: 0,
            }));
            Ok(Subscription {
                index: world.queues.len() - 1,
                alive: Rc::new(()),
            })
        })
    }

    pub(crate) fn get_interceptor_bindings() -> Result<Vec<InterceptorBinding>, ErrorCode> {
        world::with(|world| {
            let bindings = (1..)
                .zip(&world.bindings)
                .map(|(handle_id, (topic, action))| InterceptorBinding {
                    handle_id,
                    action: action.clone(),
                    topic: topic.clone(),
                });
            Ok(bindings.collect())
        })
    }
}

/// `astrid:sys/host`.
pub(crate) mod sys {
    use super::world;
    use crate::{sys::Level, wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError};
    use std::time::Duration;

    pub(crate) use crate::wit::generated::astrid::sys::host::*;

    /// The mock's time zero, in milliseconds since 1970: the start of 2026.
    const EPOCH_MS: u64 = 1_767_225_600_000;

    pub(crate) fn get_config(key: &str) -> Result<Option<String>, ErrorCode> {
        Ok(world::with(|world| world.config.get(key).cloned()))
    }

    pub(crate) fn get_caller() -> Result<CallerContext, ErrorCode> {
        Ok(CallerContext {
            principal: world::with(|world| world.principal.clone()),
            source_id: "mock".to_owned(),
            timestamp: "2026-01-01T00:00:00Z".to_owned(),
        })
    }

    pub(crate) fn log(level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Trace => Level::Trace,
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        };
        world::with(|world| world.log.push((level, message.to_owned())));
    }

    pub(crate) fn signal_ready() {}

    pub(crate) fn clock_ms() -> u64 {
        let now = world::with(|world| world.now);
        EPOCH_MS + u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2)
    }

    pub(crate) fn clock_monotonic_ns() -> u64 {
        let now = world::with(|world| world.now);
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn sleep_ns(duration_ns: u64) -> Result<(), ErrorCode> {
        match world::wait(Some(Duration::from_nanos(duration_ns)), "a time", |_| false) {
            Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
            Err(other) => Err(ErrorCode::Unknown(other.to_string())),
            Ok(_) => Ok(()),
        }
    }

    /// The same in every test: splitmix64.
    pub(crate) fn random_bytes(length: u64) -> Result<Vec<u8>, ErrorCode> {
        let length = usize::try_from(length).map_err(|_| ErrorCode::TooLarge)?;
        let bytes = std::iter::repeat_with(|| {
            let seed = world::with(|world| {
                world.random = world.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                world.random
            });
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)).to_le_bytes()
        });
        Ok(bytes.flatten().take(length).collect())
    }

    pub(crate) fn check_capsule_capability(_: &CapabilityCheckRequest) -> Result<CapabilityCheckResponse, ErrorCode> {
        Ok(CapabilityCheckResponse { allowed: false })
    }

    pub(crate) fn enumerate_capabilities() -> Vec<String> {
        ["process", "process-persistent"].map(String::from).into()
    }
}
