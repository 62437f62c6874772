//! A capsule written against the published `astrid-sdk`, the way its documentation shows: a unit struct, commands whose
//! arguments and results are JSON, errors with `?`. What it does is what a test tells it.

use std::time::Duration;

// What the SDK does not wrap is in the bindings that it is made of.
use astrid_sdk::astrid_sys::astrid::{io::poll as raw_poll, process1_1_0::host as raw};
use astrid_sdk::prelude::*;
use astrid_sdk::process::{
    Command, ExitInfo, LogCursor, LogStream, OverflowPolicy, ProcessId, ProcessInfo, ResourceLimits, Signal, attach,
};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Foreign;

#[derive(Deserialize)]
struct Spawn {
    cmd: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<(String, String)>,
    cwd: Option<String>,
    stdin: Option<String>,
    label: Option<String>,
    #[serde(default)]
    keep_stdin_open: bool,
    #[serde(default)]
    backpressure: bool,
    open_files: Option<u32>,
    /// Variables that point to a file, and its content.
    #[serde(default)]
    env_files: Vec<(String, String)>,
    /// Paths of files, and their content.
    #[serde(default)]
    files: Vec<(String, String)>,
}

impl Spawn {
    fn command(self) -> Command {
        let mut command = Command::new(self.cmd)
            .args(self.args)
            .keep_stdin_open(self.keep_stdin_open);
        for (key, value) in self.env {
            command = command.env(key, value);
        }
        for (variable, content) in self.env_files {
            command = command.inject_env_file(variable, content);
        }
        for (path, content) in self.files {
            command = command.inject_file_at(path, content);
        }
        if let Some(cwd) = self.cwd {
            command = command.cwd(cwd);
        }
        if let Some(stdin) = self.stdin {
            command = command.stdin(stdin);
        }
        if let Some(label) = self.label {
            command = command.label(label);
        }
        if self.backpressure {
            command = command.overflow(OverflowPolicy::Backpressure).log_ring_bytes(4096);
        }
        if let Some(open_files) = self.open_files {
            command = command.limits(ResourceLimits {
                max_open_files: Some(open_files),
                ..ResourceLimits::default()
            });
        }
        command
    }
}

#[derive(Serialize)]
struct Ran {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
}

type Exit = (Option<i32>, Option<i32>);

fn exit(info: ExitInfo) -> Exit {
    (info.exit_code, info.signal)
}

impl From<process::Output> for Ran {
    fn from(output: process::Output) -> Self {
        Self {
            code: output.exit.exit_code,
            signal: output.exit.signal,
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    id: ProcessId,
    label: String,
    command: String,
    has_pid: bool,
    exit: Option<Exit>,
    stdin_open: bool,
}

impl From<ProcessInfo> for Listed {
    fn from(info: ProcessInfo) -> Self {
        Self {
            id: info.id,
            label: info.label,
            command: info.command,
            has_pid: info.os_pid.is_some(),
            exit: info.exit.map(exit),
            stdin_open: info.stdin_open,
        }
    }
}

#[derive(Deserialize)]
struct Target {
    id: ProcessId,
    #[serde(default)]
    text: String,
    #[serde(default)]
    ms: u64,
}

impl Target {
    fn time(&self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

#[derive(Deserialize)]
struct Read {
    id: ProcessId,
    #[serde(default)]
    stderr: bool,
    #[serde(default)]
    cursor: LogCursor,
    max: u32,
}

#[derive(Serialize)]
struct Chunk {
    data: Vec<u8>,
    text: String,
    next: LogCursor,
    dropped: u64,
    eof: bool,
}

#[derive(Deserialize)]
struct Dialogue {
    spawn: Spawn,
    says: Vec<String>,
}

#[derive(Serialize)]
struct Heard {
    answers: Vec<String>,
    pid: u32,
    rest: Ran,
}

#[derive(Serialize)]
struct Killed {
    killed: bool,
    exit: Option<Exit>,
    stdout: String,
    again: bool,
}

#[derive(Deserialize)]
struct Watched {
    spawn: Spawn,
    suffix: Option<String>,
}

#[derive(Serialize)]
struct Told {
    id: ProcessId,
    topics: Vec<String>,
    payloads: Vec<serde_json::Value>,
    verified: Vec<Option<String>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Count {
    text: String,
}

fn raw_error(error: raw::ErrorCode) -> SysError {
    SysError::HostError(format!("{error:?}"))
}

#[capsule]
impl Foreign {
    #[astrid::command("run")]
    fn run_to_its_end(&self, spawn: Spawn) -> Result<Ran, SysError> {
        Ok(spawn.command().spawn()?.into())
    }

    #[astrid::command("start")]
    fn start(&self, spawn: Spawn) -> Result<ProcessId, SysError> {
        Ok(spawn.command().spawn_persistent()?.id().clone())
    }

    #[astrid::command("list")]
    fn list(&self) -> Result<Vec<Listed>, SysError> {
        Ok(process::list(None)?.into_iter().map(Listed::from).collect())
    }

    #[astrid::command("status")]
    fn status(&self, target: Target) -> Result<Listed, SysError> {
        Ok(attach(target.id).status()?.into())
    }

    #[astrid::command("status-many")]
    fn status_many(&self, ids: Vec<ProcessId>) -> Result<Vec<Listed>, SysError> {
        Ok(process::status_many(&ids)?.into_iter().map(Listed::from).collect())
    }

    #[astrid::command("read")]
    fn read(&self, ask: Read) -> Result<Chunk, SysError> {
        let stream = if ask.stderr {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        };
        let chunk = attach(ask.id).read_since(stream, &ask.cursor, ask.max)?;
        Ok(Chunk {
            text: String::from_utf8_lossy(&chunk.data).into_owned(),
            data: chunk.data,
            next: chunk.next,
            dropped: chunk.bytes_dropped,
            eof: chunk.drained_eof,
        })
    }

    #[astrid::command("read-logs")]
    fn read_logs(&self, target: Target) -> Result<(String, String, bool, Option<Exit>), SysError> {
        let logs = attach(target.id).read_logs()?;
        Ok((logs.stdout, logs.stderr, logs.running, logs.exit.map(exit)))
    }

    #[astrid::command("write")]
    fn write(&self, target: Target) -> Result<u32, SysError> {
        attach(target.id).write_stdin(target.text.as_bytes())
    }

    #[astrid::command("close")]
    fn close(&self, target: Target) -> Result<(), SysError> {
        attach(target.id).close_stdin()
    }

    #[astrid::command("signal")]
    fn signal(&self, target: Target) -> Result<(), SysError> {
        attach(target.id).signal(Signal::Usr1)
    }

    #[astrid::command("wait")]
    fn wait(&self, target: Target) -> Result<Exit, SysError> {
        let time = target.time();
        attach(target.id).wait(time).map(exit)
    }

    #[astrid::command("stop")]
    fn stop(&self, target: Target) -> Result<Exit, SysError> {
        let time = target.time();
        attach(target.id).stop(Some(time)).map(exit)
    }

    #[astrid::command("release")]
    fn release(&self, target: Target) -> Result<(), SysError> {
        attach(target.id).release()
    }

    /// Line by line with a child of this call's own. That SDK has no way to wait for output, so it asks again.
    #[astrid::command("dialogue")]
    fn dialogue(&self, dialogue: Dialogue) -> Result<Heard, SysError> {
        let child = dialogue.spawn.command().spawn_background()?;
        let pid = child.os_pid()?;
        let mut answers = Vec::new();
        for line in dialogue.says {
            child.write_stdin(line.as_bytes())?;
            let mut answer = String::new();
            while !answer.ends_with('\n') {
                let logs = child.read_logs()?;
                answer += &logs.stdout;
                if !logs.running {
                    break;
                }
                time::sleep(Duration::from_millis(1))?;
            }
            answers.push(answer);
        }
        child.close_stdin()?;
        let rest = child.wait_with_output(Some(Duration::from_secs(30)))?.into();
        Ok(Heard { answers, pid, rest })
    }

    #[astrid::command("background")]
    fn background(&self, spawn: Spawn) -> Result<Exit, SysError> {
        spawn.command().spawn_background()?.wait(None).map(exit)
    }

    /// Leaves a child behind, which must not outlive the call.
    #[astrid::command("leave")]
    fn leave(&self, spawn: Spawn) -> Result<u32, SysError> {
        let child = spawn.command().spawn_background()?;
        let pid = child.os_pid()?;
        std::mem::forget(child);
        Ok(pid)
    }

    #[astrid::command("kill")]
    fn kill(&self, spawn: Spawn) -> Result<Killed, SysError> {
        let child = spawn.command().spawn_background()?;
        child.signal(Signal::Stop)?;
        child.signal(Signal::Cont)?;
        let result = child.kill()?;
        Ok(Killed {
            killed: result.killed,
            exit: result.exit.map(exit),
            stdout: result.stdout,
            again: child.kill()?.killed,
        })
    }

    /// Output and exit of an attached process, as an event loop waits for them.
    #[astrid::command("poll")]
    fn poll(&self, target: Target) -> Result<(String, Exit), SysError> {
        let handle = raw::attach(target.id.as_str()).map_err(raw_error)?;
        let (mut text, exited, logs) = (String::new(), handle.subscribe_exit(), handle.subscribe_logs());
        loop {
            let ready = raw_poll::poll(&[&exited, &logs]).map_err(|error| SysError::HostError(format!("{error:?}")))?;
            text += &handle.read_logs().map_err(raw_error)?.stdout;
            if ready.contains(&0) {
                let exit = handle.wait(Some(0)).map_err(raw_error)?;
                return Ok((text, (exit.exit_code, exit.signal)));
            }
        }
    }

    /// Starts a process, watches it, and hears of its end.
    #[astrid::command("watch")]
    fn watch(&self, watched: Watched) -> Result<Told, SysError> {
        let events = ipc::subscribe("astrid.process.v1.exited.*")?;
        let process = watched.spawn.command().spawn_persistent()?;
        raw::watch(process.id().as_str(), watched.suffix.as_deref()).map_err(raw_error)?;
        let told = events.recv(30_000)?;
        let id = process.id().clone();
        process.release()?;
        Ok(Told {
            id,
            topics: told.messages.iter().map(|message| message.topic.clone()).collect(),
            verified: told
                .messages
                .iter()
                .map(|message| message.principal.verified().map(str::to_owned))
                .collect(),
            payloads: told
                .messages
                .iter()
                .map(|message| serde_json::from_str(&message.payload))
                .collect::<Result<_, _>>()?,
        })
    }

    /// How a wait for a message that does not come is answered.
    #[astrid::command("hear-nothing")]
    fn hear_nothing(&self) -> Result<usize, SysError> {
        let heard = ipc::subscribe("foreign.v1.nothing.*")?.recv(1)?;
        Ok(heard.messages.len())
    }

    /// A tool answers on a topic of its own.
    #[astrid::tool("count_words")]
    fn count_words(&self, count: Count) -> Result<usize, SysError> {
        let output = Command::new("wc").arg("-w").stdin(count.text).spawn()?;
        let words = output.stdout.trim().parse();
        words.map_err(|_| SysError::ApiError(format!("wc said {:?}", output.stderr)))
    }

    /// Starts a process whose end this capsule is woken for.
    #[astrid::command("start-watched")]
    fn start_watched(&self, watched: Watched) -> Result<ProcessId, SysError> {
        let process = watched.spawn.command().spawn_persistent()?;
        raw::watch(process.id().as_str(), watched.suffix.as_deref()).map_err(raw_error)?;
        Ok(process.id().clone())
    }

    /// Called by the host with the event, and by no other: it leaves a note where a test can see it.
    #[astrid::interceptor("on-exit")]
    fn on_exit(&self, event: serde_json::Value) -> Result<(), SysError> {
        let note = Command::new("sh").args(["-c", "cat > note.tmp; mv note.tmp note"]);
        note.stdin(event.to_string()).spawn()?;
        Ok(())
    }
}
