//! The tools' functions.
//!
//! These constraints shape them:
//! - A caller sees only `Capsule.toml` beside this. So a misspelt argument is an error that lists the right ones, and no argument is
//!   changed silently but numbers above their documented maximum.
//! - Output is bytes, and a result is JSON. So output that is UTF-8 is returned as text, and other output as base64. A character
//!   that is cut at the end of a read is not reason enough for base64: its bytes wait in the cursor for the rest.
//! - A deadline that passes is an answer and no error, because the process runs on.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use capsule_sdk::{Command, Cursor, Error, ExitStatus, LogStream, Overflow, Phase, Process, ProcessId, Signal};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// The most bytes of a read, so that no result fills a caller's context.
const READ_MAX: usize = 64 << 10;
/// The bytes of a read that names no number.
const READ_DEFAULT: usize = 16 << 10;
/// The longest wait of a call: what the host allows.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The wait of `wait` where the call names none. Many clients give up after a minute.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// So much of each stream is kept. With it, as many processes as the host retains for a capsule fit into the memory that it gives.
const RING: u32 = 960 << 10;
/// How often a start makes room for itself: once for each process that the host retains for a capsule.
const ROUNDS: usize = 32;
/// Longer than the host allows, so that the host's maximum holds: a process lasts for as long as the agent's session.
const LONG: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    label: Option<String>,
    stdin: Option<String>,
    #[serde(default)]
    keep_stdin_open: bool,
    #[serde(default)]
    overflow: WhenFull,
}

/// What becomes of output for which there is no room.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WhenFull {
    #[default]
    DropOldest,
    Backpressure,
}

#[derive(Debug, Serialize)]
pub(crate) struct Started {
    id: ProcessId,
}

pub(crate) fn start(start: Start) -> Result<Started> {
    let mut command = Command::new(start.command);
    command
        .args(start.args)
        .envs(start.env)
        .keep_stdin_open(start.keep_stdin_open)
        .overflow(match start.overflow {
            WhenFull::DropOldest => Overflow::DropOldest,
            WhenFull::Backpressure => Overflow::Backpressure,
        })
        .log_ring_bytes(RING)
        .idle_timeout(LONG)
        .exit_retention(LONG);
    if let Some(cwd) = start.cwd {
        command.current_dir(cwd);
    }
    if let Some(label) = start.label {
        command.label(label);
    }
    if let Some(stdin) = start.stdin {
        command.stdin(stdin);
    }
    let mut started = command.spawn_persistent();
    // Calls at once may choose the same process, and take each other's room. Each round removes one that has exited.
    for _ in 0..ROUNDS {
        if !matches!(started, Err(Error::RegistryFull)) || !release_oldest()? {
            break;
        }
        started = command.spawn_persistent();
    }
    Ok(Started {
        id: started?.id().clone(),
    })
}

/// Removes the process that was started first of those that have exited. False if none has exited.
fn release_oldest() -> Result<bool> {
    let exited = capsule_sdk::list(None)?
        .into_iter()
        .find(|info| info.phase == Phase::Exited);
    let Some(info) = exited else {
        return Ok(false);
    };
    match Process::attach(&info.id).and_then(|process| process.release()) {
        // Another call has removed it.
        Err(error) if error.is_gone() => Ok(true),
        released => Ok(released.map(|()| true)?),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadFrom {
    process: String,
    #[serde(default)]
    stream: Stream,
    #[serde(default)]
    cursor: String,
    max_bytes: Option<u64>,
    wait_seconds: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    #[default]
    Stdout,
    Stderr,
}

#[derive(Debug, Serialize)]
pub(crate) struct Chunk {
    #[serde(flatten)]
    output: Bytes,
    cursor: String,
    end: bool,
    lost_bytes: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Bytes {
    Text(String),
    Base64(String),
}

pub(crate) fn read(read: ReadFrom) -> Result<Chunk> {
    let wait = seconds("wait_seconds", read.wait_seconds)?
        .unwrap_or_default()
        .min(WAIT_MAX);
    let most = read
        .max_bytes
        .map_or(READ_DEFAULT, |most| usize::try_from(most).unwrap_or(READ_MAX));
    // A character must fit in.
    let most = most.clamp(4, READ_MAX);
    let Place { mut rest, cursor } = read.cursor.parse()?;
    let process = find(&read.process)?;
    let stream = match read.stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
    };
    let mut log = process.log(stream).resume(cursor);
    let lost_before = log.dropped();
    let kept = rest.len();
    rest.resize(most.max(kept), 0);
    let (_, room) = rest.split_at_mut(kept);
    let read = log.follow().at_most(wait).read(room);
    let count = match read {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::TimedOut => 0,
        Err(error) => return Err(Error::from(error).into()),
    };
    rest.truncate(kept + count);
    let mut lost_bytes = log.dropped().saturating_sub(lost_before);
    if lost_bytes > 0 && count > 0 {
        // What follows is not the rest of this character, so the character is lost, too.
        rest.drain(..kept);
        lost_bytes += kept as u64;
    }
    let end = log.at_end()?;
    let cut = if end { 0 } else { cut_character(&rest) };
    let place = Place {
        rest: rest.split_off(rest.len() - cut),
        cursor: log.cursor(),
    };
    Ok(Chunk {
        output: Bytes::of(rest),
        cursor: place.to_string(),
        end,
        lost_bytes,
    })
}

impl Bytes {
    fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(BASE64.encode(error.as_bytes())),
        }
    }
}

/// How many bytes at the end are the beginning of a character. What is before them does not matter: else one byte that is not UTF-8
/// would cut all later characters at the ends of reads.
fn cut_character(bytes: &[u8]) -> usize {
    let is_beginning = |count: &usize| {
        let tail = &bytes[bytes.len() - count..];
        std::str::from_utf8(tail).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(is_beginning).unwrap_or(0)
}

/// What a tool's cursor holds: the SDK's, and before it the beginning of a character that was read and not returned.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    rest: Vec<u8>,
    cursor: Cursor,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.rest.is_empty() {
            write!(f, "{}+", HEXLOWER.encode(&self.rest))?;
        }
        write!(f, "{}", self.cursor)
    }
}

impl std::str::FromStr for Place {
    type Err = Box<dyn StdError>;

    fn from_str(text: &str) -> Result<Self> {
        let (rest, cursor) = text.split_once('+').unwrap_or(("", text));
        let cursor = cursor.parse::<Cursor>()?;
        let rest = HEXLOWER.decode(rest.as_bytes()).ok().filter(|rest| rest.len() < 4);
        let rest = rest.ok_or(capsule_sdk::ParseCursorError)?;
        Ok(Self { rest, cursor })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteTo {
    process: String,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    close: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Written {
    written_bytes: usize,
}

pub(crate) fn write(write: WriteTo) -> Result<Written> {
    let bytes = match (write.text, write.base64) {
        (Some(_), Some(_)) => return Err("give `text` or `base64`, and not both".into()),
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => BASE64
            .decode(base64.as_bytes())
            .map_err(|error| format!("`base64`: {error}"))?,
        (None, None) if write.close => Vec::new(),
        (None, None) => return Err("give `text`, `base64` or `close`".into()),
    };
    let process = find(&write.process)?;
    if !bytes.is_empty()
        && let Err(error) = process.write(&bytes)
    {
        if error == Error::Closed {
            let why = "closed: its standard input is closed: it was started without `keep_stdin_open`, it was closed, or the \
                       process reads no more";
            return Err(why.into());
        }
        return Err(error.into());
    }
    if write.close {
        process.close_stdin()?;
    }
    Ok(Written {
        written_bytes: bytes.len(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitFor {
    process: String,
    timeout_seconds: Option<f64>,
}

/// Whether it runs, and how it ended.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
}

impl State {
    fn of(exit: Option<ExitStatus>) -> Self {
        Self {
            running: exit.is_none(),
            exit_code: exit.and_then(|exit| exit.code()),
            signal: exit.and_then(|exit| exit.signal()),
        }
    }
}

pub(crate) fn wait(wait: WaitFor) -> Result<State> {
    let timeout = seconds("timeout_seconds", wait.timeout_seconds)?
        .unwrap_or(WAIT_DEFAULT)
        .min(WAIT_MAX);
    match find(&wait.process)?.wait(timeout) {
        Ok(exit) => Ok(State::of(Some(exit))),
        Err(error) if error.is_timeout() => Ok(State::of(None)),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    process: String,
    grace_seconds: Option<f64>,
}

pub(crate) fn stop(stop: Stop) -> Result<State> {
    let grace = seconds("grace_seconds", stop.grace_seconds)?;
    Ok(State::of(Some(find(&stop.process)?.stop(grace)?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendSignal {
    process: String,
    signal: SignalName,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum SignalName {
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGHUP")]
    Hup,
    #[serde(rename = "SIGINT")]
    Int,
    #[serde(rename = "SIGUSR1")]
    Usr1,
    #[serde(rename = "SIGUSR2")]
    Usr2,
    #[serde(rename = "SIGSTOP")]
    Stop,
    #[serde(rename = "SIGCONT")]
    Cont,
}

pub(crate) fn signal(send: SendSignal) -> Result<()> {
    let signal = match send.signal {
        SignalName::Term => Signal::Term,
        SignalName::Hup => Signal::Hup,
        SignalName::Int => Signal::Int,
        SignalName::Usr1 => Signal::Usr1,
        SignalName::Usr2 => Signal::Usr2,
        SignalName::Stop => Signal::Stop,
        SignalName::Cont => Signal::Cont,
    };
    Ok(find(&send.process)?.signal(signal)?)
}

#[derive(Debug, Serialize)]
pub(crate) struct Processes {
    processes: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    id: ProcessId,
    label: String,
    command: String,
    #[serde(flatten)]
    state: State,
    age_seconds: u64,
    stdin_open: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListAll {}

pub(crate) fn list(_: ListAll) -> Result<Processes> {
    let processes = capsule_sdk::list(None)?.into_iter().map(|info| Listed {
        id: info.id,
        label: info.label,
        command: info.command,
        state: State::of(info.exit),
        age_seconds: info.age.as_secs(),
        stdin_open: info.stdin_open,
    });
    Ok(Processes {
        processes: processes.collect(),
    })
}

/// The process with this id, or the last one that was started with this label.
fn find(name: &str) -> Result<Process> {
    let Ok(id) = name.parse::<ProcessId>();
    match Process::attach(&id) {
        Err(error) if error.is_gone() => {
            let labelled = Process::find(name)?;
            labelled.ok_or_else(|| {
                "no-such-process: no process has this id or label: it was stopped, or it exited an hour ago or more; process_list \
                 shows all"
                    .into()
            })
        }
        found => Ok(found?),
    }
}

fn seconds(name: &str, seconds: Option<f64>) -> Result<Option<Duration>> {
    let duration = |seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{name}` is a number of seconds, 0 or more"))
    };
    Ok(seconds.map(duration).transpose()?)
}
