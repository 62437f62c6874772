//! The shared parts of the cases: the raw bindings, the macro that makes a case, and common functions.
//!
//! A case is a program of this crate that uses [`case!`]. The first paragraph of its header is its title, and the first
//! part of its name is the clause. The cases know no host. What the interface does not show is seen through what
//! processes leave in the workspace, most of all through [`held`] locks, which the kernel releases when their holder
//! has died.
//!
//! Cases wait for facts, by blocking calls of the host if there is one, and otherwise by repeated checks ([`until`]).
//! The time limit only makes a case fail that would never end.

use std::fmt::Debug;
use std::panic::Location;

/// The generated interfaces.
pub mod bindings {
    wit_bindgen::generate!({
        inline: r"
            package conformance:guest;
            world case {
                import astrid:process/host@1.0.0;
                import astrid:process/host@1.1.0;
                import astrid:io/poll@1.0.0;
                import astrid:ipc/host@1.0.0;
                import astrid:sys/host@1.0.0;
                include astrid:guest/interceptor@1.0.0;
            }
        ",
        path: "wit",
        generate_all,
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

pub use bindings::astrid::io::poll::{self, Pollable};
pub use bindings::astrid::ipc::host as ipc;
pub use bindings::astrid::process1_0_0::host as v1_0;
pub use bindings::astrid::process1_1_0::host::*;
pub use bindings::astrid::sys::host as sys;
pub use bindings::{CapsuleResult, Guest};
pub use serde_json::{self, Value};

/// The time in milliseconds after which an event that must happen is missing.
pub const GIVE_UP: u64 = 60_000;

/// The end of a step: the observation, or the payload of the next step.
pub type Outcome = Result<String, Stop>;

/// Why a step failed.
#[derive(Debug)]
pub enum Stop {
    /// The host does what it must not do, or does not do what it must do.
    Failed(String),
    /// The host refused a process by `quota`. That is a failure unless the case wishes for a higher one, which a host may ignore.
    Quota(String),
    /// The case cannot be tried here.
    NotApplicable(String),
}

impl From<ErrorCode> for Stop {
    #[track_caller]
    fn from(error: ErrorCode) -> Self {
        unexpected_code(&error, Location::caller())
    }
}

impl From<ipc::ErrorCode> for Stop {
    #[track_caller]
    fn from(error: ipc::ErrorCode) -> Self {
        unexpected(&error, Location::caller())
    }
}

impl From<poll::ErrorCode> for Stop {
    #[track_caller]
    fn from(error: poll::ErrorCode) -> Self {
        unexpected(&error, Location::caller())
    }
}

fn unexpected_code(error: &ErrorCode, place: &Location<'_>) -> Stop {
    match unexpected(error, place) {
        Stop::Failed(why) if *error == ErrorCode::Quota => Stop::Quota(why),
        stop => stop,
    }
}

fn unexpected(error: &dyn Debug, place: &Location<'_>) -> Stop {
    Stop::Failed(format!("unexpected {error:?} at line {}", place.line()))
}

/// The signature of a step: with or without the payload.
pub trait Step<Kind> {
    /// Performs it.
    fn go(self, payload: &str) -> Outcome;
}

impl<F: FnOnce() -> Outcome> Step<()> for F {
    fn go(self, _: &str) -> Outcome {
        self()
    }
}

impl<F: FnOnce(&str) -> Outcome> Step<&str> for F {
    fn go(self, payload: &str) -> Outcome {
        self(payload)
    }
}

/// Makes the program a case: `case!(run)`, or `case!(r#"{…the plan…}"#: first, second)`.
#[macro_export]
macro_rules! case {
    ($step:ident) => { $crate::case!("{}": $step); };
    ($plan:literal: $($step:ident),+ $(,)?) => {
        struct Case;

        impl $crate::Guest for Case {
            fn astrid_hook_trigger(action: String, payload: Vec<u8>) -> $crate::CapsuleResult {
                let payload = String::from_utf8_lossy(&payload);
                $crate::answer(env!("CARGO_BIN_NAME"), $plan, match action.as_str() {
                    "plan" => Ok($plan.to_owned()),
                    $(stringify!($step) => $crate::Step::go($step, &payload),)+
                    other => Err($crate::Stop::Failed(format!("this case has no step {other}"))),
                })
            }
        }

        $crate::bindings::export!(Case with_types_in $crate::bindings);

        fn main() {}
    };
}

/// The host's form of the end of a step. The verdict and the name of the case are in the data: a host may answer an action that
/// it does not know with any verdict of its own.
pub fn answer(case: &str, plan: &str, outcome: Outcome) -> CapsuleResult {
    let (verdict, data) = match outcome {
        Ok(data) => ("passed", data),
        Err(Stop::Quota(why)) if plan.contains("\"processes-per-principal\"") && plan.contains("\"wishes\"") => (
            "not-applicable",
            format!("the host admits fewer processes at once than the case needs: {why}"),
        ),
        Err(Stop::Failed(why) | Stop::Quota(why)) => ("failed", why),
        Err(Stop::NotApplicable(reason)) => ("not-applicable", reason),
    };
    CapsuleResult {
        action: "continue".to_owned(),
        data: Some(serde_json::json!({"case": case, "verdict": verdict, "data": data}).to_string()),
    }
}

/// Fails the step with a message unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Stop::Failed(format!($($message)+)));
        }
    };
}

/// Checks that `result` is this error.
pub fn refused<T: Debug>(what: &str, result: Result<T, ErrorCode>, error: &ErrorCode) -> Result<(), Stop> {
    match result {
        Err(got) if got == *error => Ok(()),
        other => fail(format!("{what}: {other:?}, and not {error:?}")),
    }
}

/// Checks that `result` is an `unknown` that begins with this text.
pub fn refused_as<T: Debug>(what: &str, result: Result<T, ErrorCode>, kind: &str) -> Result<(), Stop> {
    match result {
        Err(ErrorCode::Unknown(text)) if text.starts_with(kind) => Ok(()),
        other => fail(format!("{what}: {other:?}, and not {kind}")),
    }
}

/// Ends the step.
pub fn fail<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}

/// A command and its arguments.
pub fn command(cmd: &str, args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        cmd: cmd.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
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

/// A script.
pub fn sh(script: &str) -> SpawnRequest {
    command("sh", &["-c", script])
}

/// A variable of the environment.
pub fn var(key: &str, value: &str) -> EnvVar {
    EnvVar {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// The output of a script, which must succeed.
#[track_caller]
pub fn output(script: &str) -> Outcome {
    let place = Location::caller();
    match spawn(&sh(script)) {
        Ok(done) if done.exit.exit_code == Some(0) => Ok(done.stdout),
        Err(error) => Err(unexpected_code(&error, place)),
        other => fail(format!("line {}: `{script}`: {other:?}", place.line())),
    }
}

/// Makes the file that another branch waits for before it unloads this guest's capsule. The file exists before the
/// answer, so the answer may be `cancelled`. The caller's next call is then cancelled too.
pub fn announce(file: &str) {
    output(&format!("echo > {file}")).ok();
}

/// Whether a script succeeds.
#[track_caller]
pub fn holds(script: &str) -> Result<bool, Stop> {
    let place = Location::caller();
    match spawn(&sh(script)) {
        Ok(done) if done.exit.exit_code.is_some() => Ok(done.exit.exit_code == Some(0)),
        Err(error) => Err(unexpected_code(&error, place)),
        other => fail(format!("line {}: `{script}`: {other:?}", place.line())),
    }
}

/// What a command prints, by each kind of spawn.
#[track_caller]
pub fn every_tier(request: &SpawnRequest) -> Result<[(&'static str, String); 3], Stop> {
    let run = spawn(request)?.stdout;
    let background = spawn_background(request)?.wait_with_output(Some(GIVE_UP))?.stdout;
    let id = spawn_persistent(request)?;
    // To its end, which may come after the exit is seen.
    let persistent = String::from_utf8_lossy(&all(&id)?).into_owned();
    exit_of(&id)?;
    release_process(&id)?;
    Ok([
        ("spawn", run),
        ("spawn-background", background),
        ("spawn-persistent", persistent),
    ])
}

/// Starts a script as a persistent process.
#[track_caller]
pub fn start(script: &str) -> Result<String, Stop> {
    let place = Location::caller();
    spawn_persistent(&sh(script)).map_err(|error| unexpected_code(&error, place))
}

/// Waits for the exit.
#[track_caller]
pub fn exit_of(id: &str) -> Result<ExitInfo, Stop> {
    let place = Location::caller();
    wait(id, GIVE_UP).map_err(|error| unexpected_code(&error, place))
}

/// A normal exit.
pub fn code(code: i32) -> ExitInfo {
    ExitInfo {
        exit_code: Some(code),
        signal: None,
    }
}

/// An end by a signal.
pub fn by_signal(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}

/// The cursor that a chain begins with.
pub fn oldest() -> LogCursor {
    LogCursor { token: None }
}

/// A cursor with this token.
pub fn at(token: &str) -> LogCursor {
    LogCursor {
        token: Some(token.to_owned()),
    }
}

/// All bytes of a stream from a cursor to its end, and the number of lost bytes.
pub fn rest(id: &str, stream: LogStream, mut cursor: LogCursor) -> Result<(Vec<u8>, u64), Stop> {
    let mut all = Vec::new();
    let started = sys::clock_monotonic_ns();
    loop {
        let chunk = read_since(id, stream, &cursor, u32::MAX)?;
        let idle = chunk.data.is_empty();
        all.extend(chunk.data);
        cursor = chunk.next;
        if chunk.drained_eof {
            return Ok((all, chunk.bytes_dropped));
        }
        if idle {
            check!(
                ms_since(started) < GIVE_UP,
                "a stream did not end; {} bytes came",
                all.len()
            );
            pause(2);
        }
    }
}

/// All of standard output. No byte of it may be lost.
pub fn all(id: &str) -> Result<Vec<u8>, Stop> {
    let (all, lost) = rest(id, LogStream::Stdout, oldest())?;
    check!(lost == 0, "{lost} bytes of the output were lost");
    Ok(all)
}

/// Waits until standard output contains this.
pub fn printed(id: &str, text: &str) -> Result<(), Stop> {
    until(&format!("output {text:?}"), || {
        let chunk = read_since(id, LogStream::Stdout, &oldest(), u32::MAX)?;
        Ok(find(&chunk.data, text.as_bytes()).map(|_| ()))
    })
}

/// The position of one in the other.
pub fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

/// Checks repeatedly until there is a result.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Stop>) -> Result<T, Stop> {
    let started = sys::clock_monotonic_ns();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        check!(ms_since(started) < GIVE_UP, "{what}: it did not come to that");
        pause(3);
    }
}

/// The milliseconds since `clock_monotonic_ns` returned this.
pub fn ms_since(started: u64) -> u64 {
    (sys::clock_monotonic_ns() - started) / 1_000_000
}

/// Lets other processes run. No case may depend on how long.
pub fn pause(ms: u64) {
    if sys::sleep_ns(ms * 1_000_000).is_err() {
        // The capsule is being unloaded, and the next call reports it.
    }
}

/// Whether a process holds the lock on a file of the workspace; see [`daemon`].
pub fn held(file: &str) -> Result<bool, Stop> {
    Ok(!holds(&format!("flock -n {file} true"))?)
}

/// Waits until a process holds the lock.
pub fn until_held(file: &str) -> Result<(), Stop> {
    until(&format!("{file} held"), || Ok(held(file)?.then_some(())))
}

/// Waits until the lock is free.
pub fn until_free(file: &str) -> Result<(), Stop> {
    until(&format!("{file} free"), || Ok((!held(file)?).then_some(())))
}

/// Script text that leaves a daemon: it has forked twice, is in a session of its own, ignores all signals that can be
/// ignored, has no descriptor of its parent's, and holds a lock on a file. The script continues when the lock is held.
pub fn daemon(file: &str) -> String {
    format!(
        "rm -f {file}.up; mkfifo {file}.up; \
         (setsid sh -c 'trap \"\" TERM HUP INT USR1 USR2 QUIT; exec 9>{file}; flock 9; exec 0</dev/null 1>/dev/null \
         2>&1; (sh -c \"echo up > {file}.up; while :; do sleep 100; done\" &) ' &); \
         read x < {file}.up"
    )
}

/// The case cannot be tried without this program.
pub fn need(program: &str) -> Result<(), Stop> {
    if holds(&format!("command -v {program} >/dev/null"))? {
        Ok(())
    } else {
        Err(Stop::NotApplicable(format!("commands find no {program} here")))
    }
}

/// Lines without their ends.
pub fn lines(payload: &str) -> Vec<&str> {
    payload.lines().collect()
}

/// The calls with which every case about ids is tried: the answer of each to this id, in words that contain nothing of
/// the id.
pub fn every_answer(id: &str, cursor: &LogCursor) -> Vec<(&'static str, String)> {
    let mut answers = vec![
        ("status", format!("{:?}", status(id))),
        ("status-many", format!("{:?}", status_many(&[id.to_owned()]))),
        ("read-logs", format!("{:?}", read_logs(id))),
        (
            "read-since",
            format!("{:?}", read_since(id, LogStream::Stdout, &oldest(), 100)),
        ),
        (
            "read-since a cursor",
            format!("{:?}", read_since(id, LogStream::Stdout, cursor, 100)),
        ),
        (
            "read-since nothing",
            format!("{:?}", read_since(id, LogStream::Stderr, cursor, 0)),
        ),
        ("write-stdin", format!("{:?}", write_stdin(id, b"x"))),
        ("write-stdin nothing", format!("{:?}", write_stdin(id, b""))),
        (
            "write-stdin too much",
            format!("{:?}", write_stdin(id, &vec![0; (1 << 20) + 1])),
        ),
        ("close-stdin", format!("{:?}", close_stdin(id))),
        ("signal", format!("{:?}", signal(id, ProcessSignal::Term))),
        ("wait", format!("{:?}", wait(id, 0))),
        ("wait long", format!("{:?}", wait(id, GIVE_UP))),
        ("stop", format!("{:?}", stop(id, Some(0)))),
        ("release-process", format!("{:?}", release_process(id))),
    ];
    for (_, text) in &mut answers {
        *text = without(text, id);
    }
    answers
}

/// A text in which an id that stands by itself is replaced. A short one may also be a part of any word.
fn without(text: &str, id: &str) -> String {
    // As the text has it: within quotes.
    let id = id.escape_debug().to_string();
    if id.is_empty() {
        return text.to_owned();
    }
    let (mut rest, mut result) = (text, String::new());
    while let Some((before, after)) = rest.split_once(&id) {
        let joins = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
        let is_a_part = joins(before.chars().next_back()) || joins(after.chars().next());
        result.push_str(before);
        result.push_str(if is_a_part { &id } else { "<id>" });
        rest = after;
    }
    result.push_str(rest);
    result
}

/// The same for the functions that most hosts got later. They are separate, so that their faults show separately.
pub fn every_other_answer(id: &str) -> Vec<(&'static str, String)> {
    let attached = attach(id).map(|_| ());
    [
        ("attach", format!("{attached:?}")),
        ("watch", format!("{:?}", watch(id, None))),
        ("watch as", format!("{:?}", watch(id, Some("known")))),
        ("watch badly", format!("{:?}", watch(id, Some("Not A Suffix")))),
        ("unwatch", format!("{:?}", unwatch(id))),
    ]
    .into_iter()
    .map(|(name, text)| (name, if id.is_empty() { text } else { text.replace(id, "<id>") }))
    .collect()
}

/// A lifecycle event, as it arrived.
#[derive(Clone, Debug)]
pub struct LifecycleEvent {
    /// `exited`, `log-ready` or `stdin-drained`.
    pub kind: String,
    /// The suffix of the watch.
    pub suffix: String,
    /// The payload.
    pub payload: Value,
}

/// A subscription to the lifecycle events that this capsule gets.
pub struct Events {
    subscription: ipc::Subscription,
    came: Vec<LifecycleEvent>,
}

impl Events {
    /// All kinds, under any suffix.
    pub fn subscribe() -> Result<Self, Stop> {
        Ok(Self {
            subscription: ipc::subscribe("astrid.process.v1.*")?,
            came: Vec::new(),
        })
    }

    fn take(&mut self, envelope: ipc::IpcEnvelope) -> Result<(), Stop> {
        check!(
            envelope.dropped == 0 && envelope.lagged == 0,
            "events were lost: {envelope:?}"
        );
        for message in envelope.messages {
            let topic = message.topic.strip_prefix("astrid.process.v1.").unwrap_or_default();
            let (kind, suffix) = topic.split_once('.').unwrap_or_default();
            let payload = serde_json::from_str(&message.payload);
            self.came.push(LifecycleEvent {
                kind: kind.to_owned(),
                suffix: suffix.to_owned(),
                payload: payload.map_err(|error| Stop::Failed(format!("{}: {error}", message.payload)))?,
            });
        }
        Ok(())
    }

    /// Waits until so many of a kind have arrived in total, and returns those.
    pub fn until(&mut self, kind: &str, count: usize) -> Result<Vec<LifecycleEvent>, Stop> {
        let started = sys::clock_monotonic_ns();
        loop {
            let have = self.of(kind)?;
            if have.len() >= count {
                return Ok(have);
            }
            check!(ms_since(started) < GIVE_UP, "of {count} events `{kind}` came {have:?}");
            match self.subscription.recv(1000) {
                Ok(envelope) => self.take(envelope)?,
                Err(ipc::ErrorCode::Timeout) => {}
                Err(other) => return fail(format!("recv: {other:?}")),
            }
        }
    }

    /// All of a kind that have arrived by now.
    pub fn of(&mut self, kind: &str) -> Result<Vec<LifecycleEvent>, Stop> {
        let envelope = self.subscription.poll()?;
        self.take(envelope)?;
        Ok(self.came.iter().filter(|event| event.kind == kind).cloned().collect())
    }

    /// All events that have arrived when a fresh process, watched last, has exited. Earlier events must have arrived by
    /// then.
    pub fn settled(&mut self) -> Result<Vec<LifecycleEvent>, Stop> {
        let id = start("exit 0")?;
        watch(&id, Some("settled"))?;
        exit_of(&id)?;
        let started = sys::clock_monotonic_ns();
        while !self
            .of("exited")?
            .iter()
            .any(|event| event.payload["id"] == id.as_str())
        {
            check!(ms_since(started) < GIVE_UP, "the last event does not come");
            match self.subscription.recv(1000) {
                Ok(envelope) => self.take(envelope)?,
                Err(ipc::ErrorCode::Timeout) => {}
                Err(other) => return fail(format!("recv: {other:?}")),
            }
        }
        let (last, others): (Vec<_>, Vec<_>) = self
            .came
            .iter()
            .cloned()
            .partition(|event| event.payload["id"] == id.as_str());
        check!(
            last.iter().filter(|event| event.kind == "exited").count() == 1,
            "the last exit came {last:?}"
        );
        release_process(&id)?;
        self.came.clone_from(&others);
        Ok(others)
    }
}
