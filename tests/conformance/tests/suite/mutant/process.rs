//! `astrid:process` 1.1.0, with the changes of what each function does.

use capsule_host::bindings::astrid::io::poll::Pollable;
use capsule_host::bindings::astrid::process1_1_0::host::{
    ErrorCode, ExitInfo, Host, HostProcessHandle, KillResult, LogChunk, LogCursor, LogStream, ProcessId, ProcessInfo,
    ProcessPhase, ProcessResult, ProcessSignal, ReadLogsResult, SpawnRequest,
};
use capsule_host::supervisor::Error;
use capsule_host::{ProcessError, ProcessHandle};
use rustix::process::{Pid, Signal, kill_process};
use wasmtime::component::Resource;

use super::errors::{Answer, invalid, is};
use super::request::Tier;
use super::served::Served;

/// The result of a command that did not run.
fn nothing(code: i32) -> ProcessResult {
    ProcessResult {
        stdout: String::new(),
        stderr: String::new(),
        exit: ExitInfo {
            exit_code: Some(code),
            signal: None,
        },
    }
}

impl Host for Served<'_> {
    fn convert_error_code(&mut self, error: ProcessError) -> wasmtime::Result<ErrorCode> {
        Host::convert_error_code(&mut self.host, error)
    }

    async fn spawn(&mut self, mut request: SpawnRequest) -> Answer<ProcessResult> {
        self.request(Tier::Run, &mut request)?;
        match Host::spawn(&mut self.host, request).await {
            Ok(mut output) => {
                if self.is("127 is a program that is missing") && output.exit.exit_code == Some(127) {
                    return Err(Error::NotFound("changed".into()).into());
                }
                self.output(&mut output);
                Ok(output)
            }
            Err(error) if self.is("a missing program is an exit") && is(&error, "unknown(not-found)") => {
                Ok(nothing(127))
            }
            Err(error) if self.is("too much output is cut") && is(&error, "too-large") => Ok(nothing(0)),
            Err(error) => Err(self.refused(error)),
        }
    }

    async fn spawn_background(&mut self, mut request: SpawnRequest) -> Answer<Resource<ProcessHandle>> {
        self.request(Tier::Background, &mut request)?;
        if self.is("a missing program is an exit") {
            request.cmd = "sh".into();
            request.args = vec!["-c".into(), "exit 127".into()];
        }
        let handle = Host::spawn_background(&mut self.host, request).await;
        handle.map_err(|error| self.refused(error))
    }

    async fn spawn_persistent(&mut self, mut request: SpawnRequest) -> Answer<ProcessId> {
        self.request(Tier::Persistent, &mut request)?;
        match Host::spawn_persistent(&mut self.host, request).await {
            Ok(id) => {
                self.shared.memory().ids.push(id.clone());
                Ok(match self.shared.change {
                    "an id is a character shorter" => id[..51].to_owned(),
                    "an id is in capitals" => id.to_uppercase(),
                    "ids begin alike" => format!("a{}", &id[1..]),
                    _ => id,
                })
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    fn attach(&mut self, id: ProcessId) -> Answer<Resource<ProcessHandle>> {
        self.known(&id)?;
        let handle = Host::attach(&mut self.host, id.clone())?;
        self.shared.memory().attached.insert(handle.rep(), id);
        Ok(handle)
    }

    fn list_processes(&mut self, label_filter: Option<String>) -> Answer<Vec<ProcessInfo>> {
        let folded = self.is("the filter ignores case");
        let filter = label_filter
            .clone()
            .filter(|_| !folded && !self.is("the filter is ignored"));
        let mut list = Host::list_processes(&mut self.host, filter)?;
        if let (true, Some(text)) = (folded, label_filter) {
            list.retain(|info| info.label.to_lowercase().contains(&text.to_lowercase()));
        }
        match self.shared.change {
            "the list is in another order" => list.reverse(),
            "the list leaves out what has exited" => list.retain(|info| info.exit.is_none()),
            _ => {}
        }
        list.iter_mut().for_each(|info| self.info(info));
        Ok(list)
    }

    fn status(&mut self, id: ProcessId) -> Answer<ProcessInfo> {
        self.known(&id)?;
        let mut info = Host::status(&mut self.host, id)?;
        self.info(&mut info);
        Ok(info)
    }

    fn status_many(&mut self, ids: Vec<ProcessId>) -> Answer<Vec<ProcessInfo>> {
        if self.is("status-many touches") {
            for id in &ids {
                Host::read_logs(&mut self.host, id.clone())?;
            }
        }
        let mut found = Host::status_many(&mut self.host, ids.clone())?;
        if self.is("status-many finds one at most") {
            found.retain(|info| ids.first() == Some(&info.id));
        }
        Ok(found)
    }

    fn read_logs(&mut self, id: ProcessId) -> Answer<ReadLogsResult> {
        self.known(&id)?;
        let mut logs = Host::read_logs(&mut self.host, id)?;
        self.logs(&mut logs);
        Ok(logs)
    }

    fn read_since(
        &mut self,
        id: ProcessId,
        mut which_stream: LogStream,
        mut cursor: LogCursor,
        mut max_bytes: u32,
    ) -> Answer<LogChunk> {
        match self.shared.change {
            "read-since confuses the streams" => {
                which_stream = match which_stream {
                    LogStream::Stdout => LogStream::Stderr,
                    LogStream::Stderr => LogStream::Stdout,
                }
            }
            "max-bytes is ignored" => max_bytes = u32::MAX,
            "max-bytes of 0 is all" if max_bytes == 0 => max_bytes = u32::MAX,
            "acknowledged bytes go at once" => {
                let mut memory = self.shared.memory();
                if cursor.token.is_some() {
                    memory.token.clone_from(&cursor.token);
                } else {
                    cursor.token.clone_from(&memory.token);
                }
            }
            _ => {}
        }
        let read = |host: &mut _, cursor| Host::read_since(host, id.clone(), which_stream, cursor, max_bytes);
        let again = cursor.token.is_some();
        let mut chunk = match read(&mut self.host, cursor) {
            Err(error) if again && self.is("a bad token is the beginning") && is(&error, "no-such-process") => {
                read(&mut self.host, LogCursor { token: None })?
            }
            chunk => chunk?,
        };
        match self.shared.change {
            "a read loses a byte" => drop(chunk.data.pop()),
            "a read repeats a byte" => {
                if let Some(first) = chunk.data.first().copied() {
                    chunk.data.insert(0, first);
                }
            }
            "a read has other bytes" => chunk.data.iter_mut().for_each(|byte| *byte &= 0x7f),
            "a read drains" => drop(Host::read_logs(&mut self.host, id)?),
            "a read is of any size" => {
                while max_bytes > 4 << 20 && !chunk.drained_eof {
                    let more = read(&mut self.host, chunk.next.clone())?;
                    chunk.data.extend(more.data);
                    (chunk.next, chunk.drained_eof) = (more.next, more.drained_eof);
                }
            }
            "lost bytes are not counted" => chunk.bytes_dropped = 0,
            "lost bytes are those of one chunk" => {
                let before = std::mem::replace(&mut self.shared.memory().lost, chunk.bytes_dropped);
                chunk.bytes_dropped = chunk.bytes_dropped.saturating_sub(before);
            }
            "output goes at the exit" if Host::status(&mut self.host, id.clone())?.exit.is_some() => chunk.data.clear(),
            "each chunk is the last" => chunk.drained_eof = true,
            "an exit is the end of a stream" => {
                let exited = Host::status(&mut self.host, id)?.phase == ProcessPhase::Exited;
                chunk.drained_eof |= exited;
            }
            _ => {}
        }
        Ok(chunk)
    }

    async fn write_stdin(&mut self, id: ProcessId, mut data: Vec<u8>) -> Answer<u32> {
        self.known(&id)?;
        let wanted = data.len();
        match self.shared.change {
            "the last byte of a write is lost" => drop(data.pop()),
            "an empty write is invalid" if data.is_empty() => return Err(invalid()),
            "a write that is too large is begun" if wanted > 1 << 20 => {
                Host::write_stdin(&mut self.host, id.clone(), vec![b'x']).await?;
            }
            "a write is made in two parts" => {
                let rest = data.split_off(wanted / 2);
                Host::write_stdin(&mut self.host, id.clone(), data).await?;
                data = rest;
            }
            "a write is made twice" => {
                Host::write_stdin(&mut self.host, id.clone(), data.clone()).await?;
            }
            _ => {}
        }
        let made = data.len();
        let answer = Host::write_stdin(&mut self.host, id, data).await;
        let answer = answer.map(|count| {
            let cut = wanted.saturating_sub(made);
            count.saturating_add(u32::try_from(cut).unwrap_or_default())
        });
        self.written(wanted, answer)
    }

    fn close_stdin(&mut self, id: ProcessId) -> Answer<()> {
        self.known(&id)?;
        if self.is("close-stdin cannot be repeated") && !self.shared.memory().closed.insert(id.clone()) {
            return Err(Error::Closed.into());
        }
        Host::close_stdin(&mut self.host, id)
    }

    async fn signal(&mut self, id: ProcessId, sig: ProcessSignal) -> Answer<()> {
        self.known(&id)?;
        let sig = match (self.shared.change, sig) {
            ("USR1 and USR2 are confused", ProcessSignal::Usr1) => ProcessSignal::Usr2,
            ("USR1 and USR2 are confused", ProcessSignal::Usr2) => ProcessSignal::Usr1,
            ("STOP is not sent", ProcessSignal::Stop) => return Ok(()),
            ("a signal goes to the command only", ProcessSignal::Hup) => {
                let pid = Host::status(&mut self.host, id)?.os_pid;
                let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
                // A host that is no superuser may not send one to a user of its tree's.
                kill_process(pid.ok_or_else(invalid)?, Signal::HUP).ok();
                return Ok(());
            }
            ("signals of an exited process fail", _) => {
                if Host::status(&mut self.host, id.clone())?.exit.is_some() {
                    return Err(Error::Closed.into());
                }
                sig
            }
            _ => sig,
        };
        Host::signal(&mut self.host, id, sig).await
    }

    async fn wait(&mut self, id: ProcessId, timeout_ms: u64) -> Answer<ExitInfo> {
        self.known(&id)?;
        let time = self.wait_ms(timeout_ms);
        let answer = Host::wait(&mut self.host, id.clone(), time).await;
        if self.is("an exit shows when all is read") && Host::status(&mut self.host, id.clone())?.buffered_bytes > 0 {
            return Err(Error::WaitTimeout.into());
        }
        let answer = self.waited(answer);
        if self.is("a wait releases") && answer.is_ok() {
            Host::release_process(&mut self.host, id).await?;
        }
        answer
    }

    async fn stop(&mut self, id: ProcessId, grace_ms: Option<u64>) -> Answer<ExitInfo> {
        self.known(&id)?;
        match self.shared.change {
            "stop does nothing" => {
                Host::status(&mut self.host, id)?;
                return Ok(ExitInfo {
                    exit_code: None,
                    signal: Some(9),
                });
            }
            "stop leaves the id" | "stop is a kill" => {
                let exit = Host::wait(&mut self.host, id.clone(), 0).await;
                if exit.is_ok() {
                    return exit;
                }
                let handle = Host::attach(&mut self.host, id.clone())?;
                let killed = HostProcessHandle::kill(&mut self.host, handle).await?;
                if self.is("stop is a kill") {
                    Host::release_process(&mut self.host, id).await?;
                }
                return killed.exit.ok_or_else(invalid);
            }
            _ => {}
        }
        let grace = match self.shared.change {
            "stop has half the grace" => grace_ms.map(|ms| ms / 2),
            _ => grace_ms,
        };
        let mut exit = Host::stop(&mut self.host, id, grace).await?;
        self.exit(&mut exit);
        if self.is("stop always ends by TERM") {
            exit = ExitInfo {
                exit_code: None,
                signal: Some(15),
            };
        }
        Ok(exit)
    }

    async fn release_process(&mut self, id: ProcessId) -> Answer<()> {
        self.known(&id)?;
        if self.is("a release does nothing") {
            return Ok(());
        }
        if self.is("an id is unknown when it was released") {
            Host::status(&mut self.host, id.clone())?;
        }
        Host::release_process(&mut self.host, id).await
    }

    fn watch(&mut self, id: ProcessId, suffix: Option<String>) -> Answer<()> {
        self.known(&id)?;
        let first = self.shared.memory().watched.insert(id.clone());
        if self.is("the first suffix stays") && !first {
            return Ok(());
        }
        let suffix = match self.shared.change {
            "an event has another suffix than the id" => suffix.or_else(|| Some("none".into())),
            _ => suffix,
        };
        match Host::watch(&mut self.host, id, suffix) {
            Err(error) if self.is("a suffix is not checked") && is(&error, "invalid-input") => Ok(()),
            answer => answer,
        }
    }

    fn unwatch(&mut self, id: ProcessId) -> Answer<()> {
        self.known(&id)?;
        if self.is("unwatch does nothing") {
            return Ok(());
        }
        Host::unwatch(&mut self.host, id)
    }
}

impl Served<'_> {
    /// Another borrow of a handle that the guest lends for the call.
    fn again(handle: &Resource<ProcessHandle>) -> Resource<ProcessHandle> {
        Resource::new_borrow(handle.rep())
    }

    fn is_attached(&self, handle: &Resource<ProcessHandle>) -> Option<ProcessId> {
        self.shared.memory().attached.get(&handle.rep()).cloned()
    }
}

impl HostProcessHandle for Served<'_> {
    fn read_logs(&mut self, handle: Resource<ProcessHandle>) -> Answer<ReadLogsResult> {
        let mut logs = match HostProcessHandle::read_logs(&mut self.host, handle) {
            Err(error) if self.is("a handle of a process that is gone says so") && is(&error, "closed") => {
                return Err(Error::NoSuchProcess.into());
            }
            logs => logs?,
        };
        self.logs(&mut logs);
        Ok(logs)
    }

    async fn write_stdin(&mut self, handle: Resource<ProcessHandle>, data: Vec<u8>) -> Answer<u32> {
        let wanted = data.len();
        let answer = HostProcessHandle::write_stdin(&mut self.host, handle, data).await;
        self.written(wanted, answer)
    }

    fn close_stdin(&mut self, handle: Resource<ProcessHandle>) -> Answer<()> {
        HostProcessHandle::close_stdin(&mut self.host, handle)
    }

    async fn signal(&mut self, handle: Resource<ProcessHandle>, sig: ProcessSignal) -> Answer<()> {
        HostProcessHandle::signal(&mut self.host, handle, sig).await
    }

    async fn kill(&mut self, handle: Resource<ProcessHandle>) -> Answer<KillResult> {
        let id = self.is_attached(&handle);
        let mut result = HostProcessHandle::kill(&mut self.host, handle).await?;
        if let Some(exit) = &mut result.exit {
            self.exit(exit);
        }
        match (self.shared.change, id) {
            ("kill says again that it killed", _) => result.killed = true,
            ("kill loses the output", _) => result.stdout.clear(),
            ("kill releases", Some(id)) => Host::release_process(&mut self.host, id).await?,
            _ => {}
        }
        Ok(result)
    }

    async fn wait(&mut self, handle: Resource<ProcessHandle>, timeout_ms: Option<u64>) -> Answer<ExitInfo> {
        let time = match timeout_ms {
            None if self.is("a wait without bound is always allowed") && self.is_attached(&handle).is_some() => {
                Some(60_000)
            }
            time => time,
        };
        let answer = HostProcessHandle::wait(&mut self.host, handle, time).await;
        self.waited(answer)
    }

    async fn wait_with_output(
        &mut self,
        handle: Resource<ProcessHandle>,
        timeout_ms: Option<u64>,
    ) -> Answer<ProcessResult> {
        let again = Self::again(&handle);
        let time = match timeout_ms {
            None if self.is("wait-with-output may be without bound") && self.is_attached(&handle).is_some() => {
                Some(60_000)
            }
            time => time,
        };
        match HostProcessHandle::wait_with_output(&mut self.host, handle, time).await {
            Ok(mut output) => {
                self.output(&mut output);
                if self.is("wait-with-output does not drain") {
                    let mut memory = self.shared.memory();
                    memory.output.push_str(&output.stdout);
                    output.stdout.clone_from(&memory.output);
                }
                Ok(output)
            }
            Err(error) => {
                if self.is("a wait that times out drains") && is(&error, "wait-timeout") {
                    HostProcessHandle::read_logs(&mut self.host, again)?;
                }
                Err(error)
            }
        }
    }

    fn os_pid(&mut self, handle: Resource<ProcessHandle>) -> Answer<u32> {
        match HostProcessHandle::os_pid(&mut self.host, handle) {
            Err(error) if self.is("a handle has a pid after the exit") && is(&error, "closed") => Ok(1),
            Ok(pid) if self.is("a handle has another pid") => Ok(pid.saturating_add(1)),
            pid => pid,
        }
    }

    fn subscribe_exit(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<Resource<Pollable>> {
        HostProcessHandle::subscribe_exit(&mut self.host, handle)
    }

    fn subscribe_logs(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<Resource<Pollable>> {
        HostProcessHandle::subscribe_logs(&mut self.host, handle)
    }

    async fn drop(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<()> {
        self.shared.memory().handle_dropped = true;
        let attached = self.shared.memory().attached.remove(&handle.rep());
        match (self.shared.change, attached) {
            ("a dropped handle ends nothing", None) => return Ok(()),
            ("a dropped handle ends an attached process", Some(_)) => {
                let again = Self::again(&handle);
                HostProcessHandle::kill(&mut self.host, again).await.ok();
            }
            _ => {}
        }
        HostProcessHandle::drop(&mut self.host, handle).await
    }
}
