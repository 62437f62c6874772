//! `astrid:process` 1.1.0, with the changes: of a request before the adapter gets it, of what the adapter does, and of its answer.
//!
//! Where the real fault would harm the machine that runs the tests (an unconfined child that sends signals to every process), a
//! change makes the child see what it would see then.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use capsule_host::bindings::astrid::io::poll::Pollable;
use capsule_host::bindings::astrid::process1_1_0::host::{
    EnvVar, ErrorCode, ExitInfo, Host, HostProcessHandle, KillResult, LogChunk, LogCursor, LogStream, OverflowPolicy,
    ProcessId, ProcessInfo, ProcessPhase, ProcessResult, ProcessSignal, ReadLogsResult, SpawnRequest,
};
use capsule_host::supervisor::Error;
use capsule_host::{ProcessError, ProcessHandle};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use wasmtime::component::Resource;

use super::Served;
use super::host::zombie;

type Answer<T> = Result<T, ProcessError>;

/// The kinds of spawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Run,
    Background,
    Persistent,
}

/// Puts text before a script.
fn prefix(request: &mut SpawnRequest, text: &str) {
    if let (true, Some(script)) = (request.cmd == "sh", request.args.get_mut(1)) {
        script.insert_str(0, text);
    }
}

/// Has a shell start the program, after this script.
fn through_shell(request: &mut SpawnRequest, script: &str) {
    let program = std::mem::replace(&mut request.cmd, "sh".into());
    let before = ["-c".into(), format!("{script}; exec \"$0\" \"$@\""), program];
    request.args.splice(0..0, before);
}

/// The request with nothing but its command.
fn bare(request: &SpawnRequest) -> SpawnRequest {
    SpawnRequest {
        cmd: request.cmd.clone(),
        args: request.args.clone(),
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        file_injections: Vec::new(),
        label: None,
        keep_stdin_open: None,
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

fn is(error: &ProcessError, kind: &str) -> bool {
    matches!(error, ProcessError::Answer(error) if error.kind() == kind)
}

fn invalid() -> ProcessError {
    Error::InvalidInput("changed".into()).into()
}

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

impl Served<'_> {
    /// What becomes of a request.
    fn request(&self, tier: Tier, request: &mut SpawnRequest) -> Answer<()> {
        let env = |key: &str, value: &str| EnvVar {
            key: key.into(),
            value: value.into(),
        };
        match self.shared.change {
            "the shape of a command is not checked" => request.cmd.retain(|letter| !letter.is_control()),
            "variables are left out" => request.env.clear(),
            "a key that comes twice is left out" => {
                let mut keys = BTreeSet::new();
                request.env.retain(|var| keys.insert(var.key.clone()));
            }
            "a reserved name is left out" => request.env.retain(|var| var.key != "NODE_OPTIONS"),
            "an absolute folder in the workspace is allowed" => {
                let cwd = request.cwd.as_deref().map(Path::new);
                if cwd.is_some_and(|cwd| cwd == self.shared.workspace) {
                    request.cwd = None;
                }
            }
            "a folder that is missing is the workspace" => {
                let workspace = &self.shared.workspace;
                request.cwd = request.cwd.take().filter(|cwd| workspace.join(cwd).exists());
            }
            "NUL is left out" => {
                request
                    .args
                    .iter_mut()
                    .for_each(|arg| arg.retain(|letter| letter != '\0'));
                request
                    .env
                    .iter_mut()
                    .for_each(|var| var.value.retain(|letter| letter != '\0'));
            }
            "too many arguments are cut" => {
                request.args.truncate(10);
                request.env.truncate(4);
            }
            "variables above 256 are left out" => request.env.truncate(256),
            "HOME is the host's" => request.env.insert(0, env("HOME", ".")),
            "a variable of the host's is passed on" => request.env.push(env("SECRET", "x")),
            "a bare command is sought in the workspace" if request.cmd == "planted" => {
                request.cmd = "bin/planted".into()
            }
            "another spelling is granted too" if request.cmd == "cat" => request.cmd = "/bin/cat".into(),
            "the working directory is ignored" => request.cwd = None,
            "a folder that is exchanged leads out" if request.cwd.is_some() => prefix(request, "cd /;"),
            "the gate comes first" if request.cmd == "ungranted" => return Err(Error::CapabilityDenied.into()),
            "a quota comes before the working directory" if request.cwd.is_some() => return Err(Error::Quota.into()),
            "a refused spawn takes a slot" if self.shared.memory().refused > 1 => return Err(Error::Quota.into()),
            "a slot is given back late" if self.shared.memory().waited => return Err(Error::Quota.into()),
            "a prelude is cut" => {
                if let Some(stdin) = &mut request.stdin {
                    stdin.truncate(4 << 20);
                }
            }
            "the last byte of a prelude is lost" => {
                if let Some(stdin) = &mut request.stdin {
                    stdin.pop();
                }
            }
            "a prelude is lost" => request.stdin = None,
            "stdin is always kept open" => request.keep_stdin_open = Some(true),
            "stdin is never kept open" => request.keep_stdin_open = None,
            "all kinds of spawn heed a lifetime of 0" if request.max_lifetime_ms == Some(0) => return Err(invalid()),
            "the size of a ring is ignored" => request.log_ring_bytes = None,
            "overflow always drops the oldest" => request.overflow = Some(OverflowPolicy::DropOldest),
            "stdin is always a pipe" => drop(request.stdin.get_or_insert_default()),
            "spawn-background heeds the command only" if tier == Tier::Background => *request = bare(request),
            "spawn-persistent heeds the command only" if tier == Tier::Persistent => *request = bare(request),
            "a file that is too large is cut" => {
                for file in &mut request.file_injections {
                    file.content.truncate(8 << 20);
                }
            }
            "a file is cut to 1000 bytes" => {
                for file in &mut request.file_injections {
                    file.content.truncate(1000);
                }
            }
            "files above 128 are left out" => request.file_injections.truncate(128),
            "a file takes the place of a variable" if !request.file_injections.is_empty() => request.env.clear(),
            "both streams share a ring" => prefix(request, "exec 2>&1;"),
            "injected files are left out" => request.file_injections.clear(),
            "a lifetime is half as long" => request.max_lifetime_ms = request.max_lifetime_ms.map(|ms| ms / 2),
            "a time of 0 is none" => {
                request.max_lifetime_ms = request.max_lifetime_ms.filter(|ms| *ms > 0);
                request.idle_timeout_ms = request.idle_timeout_ms.filter(|ms| *ms > 0);
            }
            "an idle timeout is half as long" => request.idle_timeout_ms = request.idle_timeout_ms.map(|ms| ms / 2),
            "a call in flight is idle" => request.max_lifetime_ms = request.idle_timeout_ms,
            "a retention is half as long" => request.exit_retention_ms = request.exit_retention_ms.map(|ms| ms / 2),
            "a retention is ignored" => request.exit_retention_ms = None,
            "limits are ignored" => request.limits = None,
            "the limit of open files is ignored" => {
                if let Some(limits) = &mut request.limits {
                    limits.max_open_files = None;
                }
            }
            "the limit of processes is ignored" => {
                if let Some(limits) = &mut request.limits {
                    limits.max_pids = None;
                }
            }
            "a tree has more memory than its limit" if request.limits.take().is_some() => {
                prefix(request, "for i in 1 2 3 4 5 6 7 8; do echo >> had; done; exit 77;");
            }
            "a child sees another's processes" if tier == Tier::Run => {
                prefix(request, "sh -c 'sleep 1000; true' conformance-other & ");
            }
            "a child can write to the system" => prefix(request, "touch() { :; };"),
            "a child has all capabilities" | "a child may gain privileges" => {
                prefix(request, "grep() { printf 'Any:\\t1ff\\n'; }; ");
            }
            "a child has a descriptor of the host's" => through_shell(request, "exec 7</dev/null"),
            "a child ignores a signal" => through_shell(request, "trap '' USR1"),
            _ => {}
        }
        Ok(())
    }

    /// What becomes of the error of a spawn.
    fn refused(&self, error: ProcessError) -> ProcessError {
        self.shared.memory().refused += 1;
        let kind = |kind| is(&error, kind);
        match self.shared.change {
            "a bad shape is denied" if kind("invalid-input") => Error::CapabilityDenied.into(),
            "what cannot be executed is not found" if kind("unknown(permission-denied)") => {
                Error::NotFound("changed".into()).into()
            }
            "a format that is unknown is not found" if kind("unknown(exec-failed)") => {
                Error::NotFound("changed".into()).into()
            }
            "a spawn that is cancelled has timed out" if kind("cancelled") => Error::WaitTimeout.into(),
            _ => error,
        }
    }

    fn exit(&self, exit: &mut ExitInfo) {
        match self.shared.change {
            "an end by a signal is a code" => {
                if let Some(signal) = exit.signal.take() {
                    exit.exit_code = Some(128 + signal);
                }
            }
            "the code of an exit is lost" => exit.exit_code = exit.exit_code.and(Some(0)),
            _ => {}
        }
    }

    fn info(&self, info: &mut ProcessInfo) {
        if let Some(exit) = &mut info.exit {
            self.exit(exit);
        }
        match self.shared.change {
            "a label is cut to 64 bytes" => info.label.truncate(64),
            "a command stands without its arguments" => info.command = "sh".into(),
            "only one stream is buffered" => info.buffered_bytes /= 2,
            "evicted bytes are not counted" => info.bytes_dropped = 0,
            "the last byte comes after the exit" => info.buffered_bytes = info.buffered_bytes.saturating_sub(1),
            "nothing touches a process" => info.idle_ms = info.age_ms,
            "an exited process has no account" if info.exit.is_some() => {
                (info.cpu_ms, info.mem_bytes_peak) = (None, None)
            }
            "every process has the same account" => {
                (info.cpu_ms, info.mem_bytes_peak) = (Some(1000), Some(50_000_000));
            }
            "nothing is accounted" => (info.cpu_ms, info.mem_bytes_peak) = (None, None),
            "a pid is another process's" => info.os_pid = info.os_pid.and(Some(std::process::id())),
            "a pid stays after the exit" => info.os_pid = info.os_pid.or(Some(1)),
            "a pid is that of a zombie" => info.os_pid = info.os_pid.and(Some(zombie())),
            "stdin is open for ever" => info.stdin_open = true,
            _ => {}
        }
    }

    fn output(&self, output: &mut ProcessResult) {
        self.exit(&mut output.exit);
        match self.shared.change {
            "captured output is cut" => output.stdout.truncate(1_000_000),
            "standard error is lost" => output.stderr.clear(),
            _ => {}
        }
    }

    fn logs(&self, logs: &mut ReadLogsResult) {
        if let Some(exit) = &mut logs.exit {
            self.exit(exit);
        }
        match self.shared.change {
            "read-logs does not drain" => {
                let mut memory = self.shared.memory();
                memory.output.push_str(&logs.stdout);
                logs.stdout.clone_from(&memory.output);
            }
            "read-logs confuses the streams" => std::mem::swap(&mut logs.stdout, &mut logs.stderr),
            "invalid bytes are left out" => logs.stdout.retain(|letter| letter != '\u{fffd}'),
            "characters are torn" if logs.stdout == "a" => logs.stdout.push('\u{fffd}'),
            "a process runs after its exit" => logs.running = true,
            _ => {}
        }
    }

    /// What becomes of the answer to a write of so many bytes.
    fn written(&self, wanted: usize, answer: Answer<u32>) -> Answer<u32> {
        match answer {
            Ok(count) if self.is("a write is counted short") => Ok(count.saturating_sub(1)),
            Err(error)
                if is(&error, "closed")
                    && (self.is("a write to a closed stdin succeeds")
                        || self.is("only the first write to a closed stdin fails")
                            && std::mem::replace(&mut self.shared.memory().answered, true)) =>
            {
                Ok(u32::try_from(wanted).unwrap_or(u32::MAX))
            }
            Err(error) if self.is("a write that is cancelled is closed") && is(&error, "cancelled") => {
                Err(Error::Closed.into())
            }
            answer => answer,
        }
    }

    /// What becomes of the answer to a wait, and of what is left when it is over.
    fn waited(&self, mut answer: Answer<ExitInfo>) -> Answer<ExitInfo> {
        let mut memory = self.shared.memory();
        match &mut answer {
            Ok(exit) => {
                self.exit(exit);
                memory.waited = true;
                match self.shared.change {
                    "what a command leaves behind runs on" => {
                        memory.lock = File::open(self.shared.workspace.join("lock")).ok();
                        if let Some(lock) = &memory.lock {
                            // Held by another: then it runs on indeed.
                            flock(lock, FlockOperation::NonBlockingLockExclusive).ok();
                        }
                    }
                    "only one waiter gets the exit" if memory.answered => return Err(Error::WaitTimeout.into()),
                    _ => {}
                }
                memory.answered = true;
            }
            Err(error) if self.is("a wait that is cancelled has timed out") && is(error, "cancelled") => {
                return Err(Error::WaitTimeout.into());
            }
            Err(_) => {}
        }
        answer
    }

    /// The time of a wait.
    fn wait_ms(&self, ms: u64) -> u64 {
        match self.shared.change {
            "a wait is half as long" => ms.min(200) / 2,
            _ => ms,
        }
    }

    /// The shape of an id is checked first.
    fn known(&self, id: &str) -> Answer<()> {
        if self.is("a malformed id is invalid") && id.len() != 52 {
            return Err(invalid());
        }
        Ok(())
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
