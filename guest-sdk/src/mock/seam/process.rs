//! `astrid:process/host`.

use super::poll::{Pollable, What};
use crate::{
    LogStream as Which, ProcessId, Signal,
    mock::world::{self, World},
};
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

fn info(world: &World, process: &world::MockProcess, index: usize, id: &ProcessId) -> ProcessInfo {
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
