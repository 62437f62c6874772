//! A capsule that does, through the SDK, what a test tells it to do. It has an action for each use of the SDK, and
//! returns the SDK's own error kinds.
//!
//! It is also built for `wasm32-unknown-unknown`, so it must not need WASI.

mod handles;
mod lines;
mod network;
mod rpc;
mod store;
mod surroundings;
mod sync;

use std::io::Write as _;
use std::time::Duration;

use capsule_sdk::{Command, Cursor, Error, ErrorKind, LogStream, Overflow, Process, ProcessId, Signal};
use serde::{Deserialize, Serialize};

capsule_sdk::actions! {
    "run" => run,
    "start" => start,
    "attach" => attach,
    "list" => list,
    "lines" => lines,
    "follow" => follow,
    "check-lines" => lines::check,
    "line-sizes" => lines::sizes,
    "rpc-start" => rpc::start,
    "rpc-calls" => rpc::calls,
    "wait-for-output" => wait_for_output,
    "read-logs" => read_logs,
    "write" => write,
    "close" => close,
    "signal" => signal,
    "wait" => wait,
    "stop" => stop,
    "release" => release,
    "start-then-trap" => start_then_trap,
    "spin" => spin,
    "echo" => surroundings::echo,
    "caller" => surroundings::caller,
    "config" => surroundings::config,
    "talk" => handles::talk,
    "child-lines" => handles::child_lines,
    "drop-child" => handles::drop_child,
    "leave-child" => handles::leave_child,
    "kill-child" => handles::kill_child,
    "kill" => handles::kill,
    "wait-with-output" => handles::wait_with_output,
    "race" => handles::race,
    "inject" => handles::inject,
    "ports" => network::ports,
    "wait-for-port" => network::wait_for_port,
    "published" => network::published,
    "fetch" => network::fetch,
    "store-get" => store::get,
    "store-set" => store::set,
    "store-delete" => store::delete,
    "store-list" => store::list,
    "store-swap" => store::swap,
    "find-or-spawn" => sync::find_or_spawn,
    "lock" => sync::lock,
    "lock-then-trap" => sync::lock_then_trap,
}

/// An error as its kind and its text.
#[derive(Serialize)]
struct Failure {
    kind: &'static str,
    text: String,
}

/// The result of an action. A test checks successes and errors, so neither is a failed call.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<T> {
    Ok(T),
    Err(Failure),
}

type Answer<T> = Result<Outcome<T>, Error>;

fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    answer_of(result, Error::kind)
}

/// As [`answer`], for an error of another interface.
fn answer_of<T, E: ToString>(result: Result<T, E>, kind: fn(&E) -> ErrorKind) -> Answer<T> {
    Ok(match result {
        Ok(value) => Outcome::Ok(value),
        Err(error) => Outcome::Err(Failure {
            kind: kind(&error).as_str(),
            text: error.to_string(),
        }),
    })
}

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
}

impl Spawn {
    fn command(self) -> Command {
        let mut command = Command::new(self.cmd);
        command
            .args(self.args)
            .envs(self.env)
            .keep_stdin_open(self.keep_stdin_open);
        if let Some(cwd) = self.cwd {
            command.current_dir(cwd);
        }
        if let Some(stdin) = self.stdin {
            command.stdin(stdin);
        }
        if let Some(label) = self.label {
            command.label(label);
        }
        if self.backpressure {
            command.overflow(Overflow::Backpressure);
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

fn run(spawn: Spawn) -> Answer<Ran> {
    answer(spawn.command().output().map(|output| Ran {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: output.stdout_lossy().into_owned(),
        stderr: output.stderr_lossy().into_owned(),
    }))
}

fn start(spawn: Spawn) -> Answer<ProcessId> {
    answer(spawn.command().spawn_persistent().map(|process| process.id().clone()))
}

#[derive(Deserialize)]
struct Target {
    id: ProcessId,
    #[serde(default)]
    cursor: Cursor,
    #[serde(default)]
    text: String,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    count: usize,
}

impl Target {
    fn process(&self) -> Result<Process, Error> {
        Process::attach(&self.id)
    }

    fn time(&self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

fn attach(target: Target) -> Answer<()> {
    answer(target.process().map(drop))
}

fn list() -> Answer<Vec<(ProcessId, String)>> {
    let processes = capsule_sdk::list(None);
    answer(processes.map(|infos| infos.into_iter().map(|info| (info.id, info.label)).collect()))
}

#[derive(Serialize)]
struct Text {
    lines: Vec<String>,
    cursor: Cursor,
}

/// The present lines from a cursor on.
fn lines(target: Target) -> Answer<Text> {
    answer((|| {
        let mut log = target.process()?.log(LogStream::Stdout).resume(target.cursor);
        let text = log.lines().collect::<Result<_, _>>()?;
        Ok(Text {
            lines: text,
            cursor: log.cursor(),
        })
    })())
}

/// Waits for `count` lines from a cursor on; fewer if the stream ends.
fn follow(target: Target) -> Answer<Text> {
    answer((|| {
        let mut log = target.process()?.log(LogStream::Stdout).resume(target.cursor.clone());
        let lines = log.follow().at_most(target.time()).lines();
        let text = lines.take(target.count).collect::<Result<_, _>>()?;
        Ok(Text {
            lines: text,
            cursor: log.cursor(),
        })
    })())
}

fn wait_for_output(target: Target) -> Answer<String> {
    answer(
        target
            .process()
            .and_then(|process| process.wait_for_output(&target.text, target.time())),
    )
}

fn read_logs(target: Target) -> Answer<(String, String)> {
    answer(
        target
            .process()
            .and_then(|process| process.read_logs())
            .map(|logs| (logs.stdout, logs.stderr)),
    )
}

fn write(target: Target) -> Answer<()> {
    let written = target
        .process()
        .map(|process| process.stdin().write_all(target.text.as_bytes()));
    answer(written.and_then(|written| written.map_err(|error| Error::Unknown(error.to_string()))))
}

fn close(target: Target) -> Answer<()> {
    answer(target.process().and_then(|process| process.close_stdin()))
}

fn signal(target: Target) -> Answer<()> {
    answer(target.process().and_then(|process| process.signal(Signal::Usr1)))
}

fn wait(target: Target) -> Answer<(Option<i32>, Option<i32>)> {
    let exit = target.process().and_then(|process| process.wait(target.time()));
    answer(exit.map(|exit| (exit.code(), exit.signal())))
}

fn stop(target: Target) -> Answer<(Option<i32>, Option<i32>)> {
    let exit = target.process().and_then(|process| process.stop(target.time()));
    answer(exit.map(|exit| (exit.code(), exit.signal())))
}

fn release(target: Target) -> Answer<()> {
    answer(target.process().and_then(|process| process.release()))
}

/// Panics while a process runs, which the test then finds again.
fn start_then_trap(spawn: Spawn) -> Answer<()> {
    let started = spawn.command().spawn_persistent();
    panic!("on purpose, after {:?}", started.map(|_| "a start"))
}

fn spin() -> Answer<()> {
    #[expect(clippy::empty_loop, reason = "a guest that does nothing but compute")]
    loop {}
}
