//! A server that runs, and requests to it from any instance.
//!
//! These constraints shape it:
//! - Every instance reads the whole output from where it stood before its request, and under back-pressure reading on gives up what
//!   came before. So instances read in turn, under a lock that goes to the one that has waited longest: none runs ahead of the others.
//! - A lock is free when its instance ends, however it ends. What an instance was doing under it may be half done: a process of
//!   which the store does not say that it was made ready is ended, and another one started.
//! - A server also waits while its standard error is full, so an instance that waits for an answer reads that stream too.
//! - A write has no deadline in the interface, and waits while the server does not read. So no instance writes while it has the turn:
//!   what cannot be written keeps no other one from its answer.
//! - A server may write as fast as it is read, so a turn has an end: so many frames, so many reads.

use super::{Error, Result, ServerConfig, servers};
use crate::{
    Cursor, Error as Host, ExitStatus, Log, Process, ProcessId, Stdin,
    jsonl::{Frame, Reader, Writer},
    rpc::{self, Client, Look, RequestId},
    stdin::MOST,
    store, sync, sys,
    text::lossy,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// The revision without a handshake.
const STATELESS: &str = "2026-07-28";
/// The newest revision with one.
const WITH_HANDSHAKE: &str = "2025-11-25";

/// How soon an answer is seen, at the latest, after the first moments.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long a server may take to end after its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// The most pages of a list of tools.
const MOST_PAGES: usize = 100;
/// How many requests of a server are remembered as answered, and how many are answered in one turn, so that none of them is forgotten.
/// An instance sees one again only if it has waited since before its answer.
const MOST_ANSWERED: usize = 128;
/// The most bytes of the id of a server's request.
const LONGEST_ID: usize = 256;
/// How many processes of one server are remembered: those of as many hosts. All together must fit into a value of the store.
const MOST_KNOWN: usize = 8;
/// The most bytes that are kept of what a server says of itself.
const MOST_INFO: usize = 1024;
/// The most bytes of a cursor that is kept.
const MOST_CURSOR: usize = 1024;
/// So many bytes are read again before a newer cursor is kept, because a change of the store takes as long as the disk does.
const NEWS: usize = 256 * 1024;
/// The most frames of a turn.
const TURN_FRAMES: u32 = 4096;
/// The most reads of a turn: they are of 64 KiB each, and longer ones within a long frame, of which all together have 8 MiB.
const TURN_READS: u32 = 12;
/// How much of its standard error is told when a server cannot be used.
const TOLD: usize = 20;
/// The same in bytes.
const MOST_TOLD: usize = 16 * 1024;
/// Reads of 64 KiB at most, which together are more than the host keeps.
const EXPLAINING_READS: usize = 256;

type Session = Client<Log, Stdin>;

/// A server that runs. Dropping it changes nothing: it runs on, for later instances.
///
/// ```no_run
/// # fn main() -> capsule_sdk::mcp::Result<()> {
/// use std::time::Duration;
///
/// let server = capsule_sdk::mcp::Server::named("time", Duration::from_secs(30))?;
/// for tool in server.list_tools(Duration::from_secs(10))? {
///     println!("{}", tool["name"]);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    label: String,
    process: Process,
    known: Known,
}

/// What is known of a process that was made ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    process: ProcessId,
    revision: String,
    /// What it says of itself.
    info: Value,
    /// Hashes of the ids of its own requests that were answered, the newest last.
    #[serde(default)]
    served: Vec<u64>,
    /// A place in its output that was recent once.
    #[serde(default)]
    place: Cursor,
}

impl Server {
    /// The server of the capsule's configuration with this id. It is started if it does not run.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no such server; those of [`connect`](Self::connect).
    ///
    /// ```no_run
    /// let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn named(id: &str, timeout: Duration) -> Result<Self> {
        Self::connect(configured(id)?, timeout)
    }

    /// A server, which is started if it does not run, and asked which protocol it speaks. Of all instances that do this at once, one
    /// does, and the others wait for it.
    ///
    /// # Errors
    /// If it cannot be started, does not answer in time, or answers with another protocol: it is ended then, and the next call tries
    /// again.
    ///
    /// ```no_run
    /// use capsule_sdk::mcp::{Server, ServerConfig};
    ///
    /// fn any(config: ServerConfig) -> capsule_sdk::mcp::Result<Server> {
    ///     Server::connect(config, std::time::Duration::from_secs(30))
    /// }
    /// ```
    pub fn connect(config: ServerConfig, timeout: Duration) -> Result<Self> {
        let label = config.label();
        let deadline = sys::monotonic().saturating_add(timeout);
        let _starting = sync::lock(&format!("start {label}"), timeout)?;
        match Process::find_running(&label)? {
            Some(process) => match known(&label, process.id())? {
                Some(known) => {
                    return Ok(Self {
                        config,
                        label,
                        process,
                        known,
                    });
                }
                // The instance that started it has ended before it was ready.
                None => drop(process.stop(Duration::ZERO)),
            },
            None => release_ended(&label)?,
        }
        let ends_at_question = ends_at_question(&label);
        let mut begun = None;
        if store::get(&ends_at_question)?.is_none() {
            begun = begin(&config, &label, First::Question, deadline)?;
        }
        let (process, known) = match begun {
            Some(begun) => begun,
            // It may know nothing but the handshake, and has ended.
            None => match begin(&config, &label, First::Handshake, deadline) {
                Ok(Some(begun)) => {
                    store::set(&ends_at_question, "")?;
                    begun
                }
                Ok(None) => return Err(rpc::Error::Ended.into()),
                Err(error) => {
                    // Another release of it may know the question, and nothing but that.
                    store::delete(&ends_at_question)?;
                    return Err(error);
                }
            },
        };
        Ok(Self {
            config,
            label,
            process,
            known,
        })
    }

    /// The server of the capsule's configuration with this id, if it runs. It is not started.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no such server in the configuration; the errors of the host.
    ///
    /// ```no_run
    /// if let Some(server) = capsule_sdk::mcp::Server::find("git")? {
    ///     server.stop()?;
    /// }
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn find(id: &str) -> Result<Option<Self>> {
        let config = configured(id)?;
        let label = config.label();
        let Some(process) = Process::find_running(&label)? else {
            return Ok(None);
        };
        let known = known(&label, process.id())?;
        Ok(known.map(|known| Self {
            config,
            label,
            process,
            known,
        }))
    }

    /// How it was started.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// println!("{}", server.config().command);
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// The revision of the protocol that is spoken, such as `2026-07-28`.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// println!("{}", server.revision());
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.known.revision
    }

    /// What it says of itself: its name and version.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// println!("{}", server.info()["name"]);
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    #[must_use]
    pub const fn info(&self) -> &Value {
        &self.known.info
    }

    /// Its process, to see its state or what it writes to standard error. Its standard output and input are the protocol's.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// for line in server.process().stderr().lines() {
    ///     println!("{}", line?);
    /// }
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Its tools, as it describes them: each has a `name` and an `inputSchema`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// let tools = server.list_tools(std::time::Duration::from_secs(10))?;
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn list_tools(&self, timeout: Duration) -> Result<Vec<Value>> {
        let deadline = sys::monotonic().saturating_add(timeout);
        let (mut tools, mut params) = (Vec::new(), Map::new());
        for _ in 0..MOST_PAGES {
            let left = deadline.saturating_sub(sys::monotonic());
            let mut page = self.request("tools/list", Value::Object(params), left)?;
            match page.get_mut("tools").map(Value::take) {
                Some(Value::Array(more)) => tools.extend(more),
                _ => return Err(self.wrong("its answer to `tools/list` has no tools")),
            }
            params = match page.get_mut("nextCursor").map(Value::take) {
                Some(cursor @ Value::String(_)) => Map::from_iter([("cursor".to_owned(), cursor)]),
                _ => return Ok(tools),
            };
        }
        Err(self.wrong("its list of tools has no end"))
    }

    /// Calls a tool, and returns its whole result: `content`, `structuredContent` where there is one, and `isError`.
    ///
    /// # Errors
    /// As [`request`](Self::request). A tool that fails is a result, whose `isError` is true.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// let arguments = serde_json::json!({ "repo_path": "." });
    /// let status = server.call_tool("git_status", &arguments, std::time::Duration::from_secs(10))?;
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn call_tool(&self, tool: &str, arguments: &Value, timeout: Duration) -> Result<Value> {
        let mut params = json!({ "name": tool });
        if let (Some(params), false) = (params.as_object_mut(), arguments.is_null()) {
            params.insert("arguments".to_owned(), arguments.clone());
        }
        self.request("tools/call", params, timeout)
    }

    /// Sends any request and waits for its result. Others, of this instance or another one, may be open.
    ///
    /// # Errors
    /// [`rpc::Error::Refused`] with the server's own reason, [`rpc::Error::Ended`] if the server ends before the answer,
    /// [`Host::WaitTimeout`] after the time: the server is told that the answer is no longer wanted.
    /// [`Host::Lost`] if the answer may be among what this instance was too late to read, and [`Host::LineTooLong`] for an answer of
    /// more than 16 MiB.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// let params = serde_json::json!({ "uri": "file:///README.md" });
    /// let resource = server.request("resources/read", params, std::time::Duration::from_secs(10))?;
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn request(&self, method: &str, params: Value, timeout: Duration) -> Result<Value> {
        let deadline = sys::monotonic().saturating_add(timeout);
        let _place = self.place(deadline)?;
        let mut output = self.process.stdout();
        {
            let _turn = turn(&self.label, deadline)?;
            skip_to_now(&mut output, &self.label, &self.process)?;
        }
        let mut session = session(&self.process, output)?;
        let (id, line) = session.prepare(method, self.addressed(params))?;
        write(
            &mut session,
            &line,
            &self.label,
            &self.process,
            &writing(&self.label, deadline)?,
        )?;
        let answer = answer_to(&mut session, &id, &self.label, &self.process, deadline);
        if answer.as_ref().is_err_and(Error::is_timeout) {
            let cancelled = self.addressed(json!({ "requestId": id.as_str(), "reason": "timeout" }));
            let line = rpc::notification("notifications/cancelled", cancelled)?;
            // It is a courtesy, for which nothing waits.
            if let Ok(writing) = writing(&self.label, sys::monotonic()) {
                drop(write(&mut session, &line, &self.label, &self.process, &writing));
            }
        }
        let answer = answer?;
        match answer.get("resultType").and_then(Value::as_str) {
            None | Some("complete") => Ok(answer),
            Some(other) => Err(self.wrong(&format!(
                "its result is {other:?}: it wants input, which this client does not give"
            ))),
        }
    }

    /// Ends it: its input first, then the process. The next use starts it anew.
    ///
    /// # Errors
    /// Those of the host.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::mcp::Server::named("git", std::time::Duration::from_secs(30))?;
    /// println!("{:?}", server.stop()?);
    /// # Ok::<(), capsule_sdk::mcp::Error>(())
    /// ```
    pub fn stop(&self) -> Result<ExitStatus> {
        let _starting = sync::lock(&format!("start {}", self.label), GRACE * 10)?;
        self.process.close_stdin()?;
        match self.process.wait(GRACE) {
            Ok(_) | Err(Host::WaitTimeout) => {}
            Err(error) => return Err(error.into()),
        }
        let exit = self.process.stop(None)?;
        keep(&self.label, self.process.id(), None)?;
        Ok(exit)
    }

    /// A place among the calls that may be under way at once.
    fn place(&self, deadline: Duration) -> Result<sync::Guard> {
        let count = self.config.concurrent.max(1);
        let name = |place: u32| format!("call {place} {}", self.label);
        for place in 0..count {
            match sync::lock(&name(place), Duration::ZERO) {
                Err(sync::Error::Timeout) => {}
                taken => return Ok(taken?),
            }
        }
        // Those that wait are spread over the places.
        let random = sys::random_bytes(4)?;
        let random = random.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let left = deadline.saturating_sub(sys::monotonic());
        Ok(sync::lock(&name(random % count), left)?)
    }

    fn addressed(&self, params: Value) -> Value {
        if self.known.revision == STATELESS {
            stateless(params)
        } else {
            params
        }
    }

    fn wrong(&self, reason: &str) -> Error {
        wrong(&self.config, reason)
    }
}

/// Those that crashed would use up the ids that the host retains.
fn release_ended(label: &str) -> Result<()> {
    for info in crate::list(Some(label))? {
        if info.label == label && info.exit.is_some() {
            match Process::attach(&info.id).and_then(|process| process.release()) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

fn configured(id: &str) -> Result<ServerConfig> {
    let servers = servers()?;
    let names: Vec<_> = servers.iter().map(|server| server.id.clone()).collect();
    servers.into_iter().find(|server| server.id == id).ok_or_else(|| {
        Error::Config(format!(
            "there is no MCP server {id:?}; there are: {}",
            names.join(", ")
        ))
    })
}

fn key(label: &str) -> String {
    format!("mcp {label}")
}

/// The key that exists if the server ends at the question which tells the revision.
fn ends_at_question(label: &str) -> String {
    format!("mcp-handshake {label}")
}

/// The key that exists while a request of several writes is being written, and after one that was not finished.
fn long_write(label: &str) -> String {
    format!("mcp-write {label}")
}

/// What is known of this very process.
fn known(label: &str, process: &ProcessId) -> Result<Option<Known>> {
    let all = store::get(&key(label))?;
    let all = all.as_deref().and_then(|all| serde_json::from_slice(all).ok());
    let all: Vec<Known> = all.unwrap_or_default();
    Ok(all.into_iter().find(|known| known.process == *process))
}

/// Keeps what is known of a process, in place of what was known before; forgets it if that is nothing. Another host that runs this
/// capsule has a process of its own, and the same store.
fn keep(label: &str, process: &ProcessId, known: Option<&Known>) -> Result<()> {
    let key = key(label);
    loop {
        let before = store::get(&key)?;
        let all = before.as_deref().and_then(|all| serde_json::from_slice(all).ok());
        let mut all: Vec<Known> = all.unwrap_or_default();
        all.retain(|other| other.process != *process);
        all.extend(known.cloned());
        // Of hosts that were killed, entries stay.
        all.drain(..all.len().saturating_sub(MOST_KNOWN));
        let after = serde_json::to_vec(&all).map_err(|error| store::Error::Json(error.to_string()))?;
        if let store::Swap::Swapped = store::compare_and_set(&key, before.as_deref(), Some(&after))? {
            return Ok(());
        }
    }
}

/// The right to read on, until it is dropped.
fn turn(label: &str, deadline: Duration) -> Result<sync::Guard> {
    let left = deadline.saturating_sub(sys::monotonic());
    Ok(sync::lock(&format!("read {label}"), left)?)
}

/// The right to write, until it is dropped: a request may be longer than one write.
fn writing(label: &str, deadline: Duration) -> Result<sync::Guard> {
    let left = deadline.saturating_sub(sys::monotonic());
    Ok(sync::lock(&format!("write {label}"), left)?)
}

fn session(process: &Process, output: Log) -> Result<Session> {
    let input = Writer::new(process.stdin()).sole_writer(true);
    Ok(Client::over(Reader::new(output), input)?)
}

/// A request with what the stateless revision wants to know each time.
fn stateless(mut params: Value) -> Value {
    if params.is_null() {
        params = json!({});
    }
    if let Some(params) = params.as_object_mut() {
        let meta = params.entry("_meta").or_insert_with(|| json!({}));
        if let Some(meta) = meta.as_object_mut() {
            let mut add = |name: &str, value: Value| meta.insert(format!("io.modelcontextprotocol/{name}"), value);
            add("protocolVersion", json!(STATELESS));
            add("clientInfo", client());
            add("clientCapabilities", json!({}));
        }
    }
    params
}

fn client() -> Value {
    json!({ "name": "capsule-sdk", "version": env!("CARGO_PKG_VERSION") })
}

fn wrong(config: &ServerConfig, reason: &str) -> Error {
    Error::Protocol {
        id: config.id.clone(),
        reason: reason.to_owned(),
    }
}

/// Writes a line. A longer one takes several writes, and an instance may end between two of them: then the next line would be joined to
/// what was written. So the next writer ends the fragment first, which the server refuses as no message.
fn write(session: &mut Session, line: &[u8], label: &str, process: &Process, _writing: &sync::Guard) -> Result<()> {
    let key = long_write(label);
    let unfinished = store::get(&key)?.is_some_and(|of| of == process.id().expose().as_bytes());
    if unfinished {
        session.write_line(b"\n").map_err(ended)?;
    }
    let is_long = line.len() > MOST;
    if is_long {
        store::set(&key, process.id().expose())?;
    }
    session.write_line(line).map_err(ended)?;
    if unfinished || is_long {
        store::delete(&key)?;
    }
    Ok(())
}

/// Goes on behind what is here. The caller has the turn.
fn skip_to_now(output: &mut Log, label: &str, process: &Process) -> Result<()> {
    let known = known(label, process.id())?;
    let place = known.as_ref().map(|known| known.place.clone()).unwrap_or_default();
    *output = process.stdout().resume(place);
    let read = match output.skip() {
        // The place may be none of this stream: the store is the capsule's.
        Err(Host::NoSuchProcess) => {
            *output = process.stdout();
            output.skip()
        }
        read => read,
    };
    if read.map_err(gone)? >= NEWS
        && let Some(mut known) = known
    {
        let place = output.cursor();
        if place.to_string().len() <= MOST_CURSOR {
            known.place = place;
            keep(label, process.id(), Some(&known))?;
        }
    }
    Ok(())
}

/// What a new process is told first.
#[derive(Clone, Copy, PartialEq)]
enum First {
    /// Which revisions it speaks.
    Question,
    Handshake,
}

/// Starts a server and makes it ready. None if it ended after the question which tells its revision.
fn begin(config: &ServerConfig, label: &str, first: First, deadline: Duration) -> Result<Option<(Process, Known)>> {
    let process = config.command().label(label).spawn_persistent()?;
    let ready = made_ready(config, label, &process, first, deadline).and_then(|known| {
        keep(label, process.id(), Some(&known))?;
        Ok(known)
    });
    match ready {
        Ok(known) => Ok(Some((process, known))),
        Err(Error::Rpc(rpc::Error::Ended)) if first == First::Question => {
            drop(process.stop(Duration::ZERO));
            Ok(None)
        }
        Err(error) => {
            let error = explained(error, config, &process);
            drop(process.stop(Duration::ZERO));
            Err(error)
        }
    }
}

/// Finds out which revision a new process speaks, and begins with it.
fn made_ready(
    config: &ServerConfig,
    label: &str,
    process: &Process,
    first: First,
    deadline: Duration,
) -> Result<Known> {
    let mut session = session(process, process.stdout())?;
    let known = |revision: &str, info: Value| Known {
        process: process.id().clone(),
        revision: revision.chars().take(32).collect(),
        info: if info.to_string().len() <= MOST_INFO {
            info
        } else {
            Value::Null
        },
        served: Vec::new(),
        place: Cursor::default(),
    };
    if first == First::Question {
        let now = sys::monotonic();
        // A server that knows only its own methods may leave others unanswered, so this has half of the time.
        let half = now + deadline.saturating_sub(now) / 2;
        match asked(
            &mut session,
            "server/discover",
            stateless(json!({})),
            label,
            process,
            half,
        ) {
            Ok(discovered) => {
                let versions = discovered.get("supportedVersions").and_then(Value::as_array);
                if versions.is_some_and(|versions| versions.iter().any(|version| version == STATELESS)) {
                    let info = discovered.pointer("/_meta/io.modelcontextprotocol~1serverInfo");
                    return Ok(known(STATELESS, info.cloned().unwrap_or_default()));
                }
            }
            Err(Error::Rpc(rpc::Error::Refused { .. })) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error),
        }
    }
    let hello = json!({ "protocolVersion": WITH_HANDSHAKE, "capabilities": {}, "clientInfo": client() });
    let mut hello = asked(&mut session, "initialize", hello, label, process, deadline)?;
    let Some(revision) = hello.get("protocolVersion").and_then(Value::as_str).map(str::to_owned) else {
        return Err(wrong(
            config,
            "its answer to `initialize` has no version of the protocol",
        ));
    };
    let line = rpc::notification("notifications/initialized", Value::Null)?;
    write(&mut session, &line, label, process, &writing(label, deadline)?)?;
    let info = hello.get_mut("serverInfo").map(Value::take);
    Ok(known(&revision, info.unwrap_or_default()))
}

/// The answer of a process that is not ready yet.
fn asked(
    session: &mut Session,
    method: &str,
    params: Value,
    label: &str,
    process: &Process,
    deadline: Duration,
) -> Result<Value> {
    let (id, line) = session.prepare(method, params)?;
    write(session, &line, label, process, &writing(label, deadline)?)?;
    answer_to(session, &id, label, process, deadline)
}

/// Waits for an answer, in turn with the other instances that wait for one.
fn answer_to(
    session: &mut Session,
    id: &RequestId,
    label: &str,
    process: &Process,
    deadline: Duration,
) -> Result<Value> {
    let mut pause = Duration::from_millis(1);
    let mut missing = None;
    let mut stderr = process.stderr();
    let mut asked = VecDeque::new();
    loop {
        let turn = turn(label, deadline)?;
        let found = session.look(id, TURN_FRAMES, TURN_READS);
        let served = serve(session, &mut asked, turn, label, process);
        let is_more = match found {
            // What was asked for is here, whatever became of the server's own requests.
            Ok(Look::Answer(answer)) => return Ok(answer),
            Ok(look) => {
                served?;
                look == Look::More
            }
            // The answer may be what is missing, or come later.
            Err(rpc::Error::Host(error)) if error.is_gap() => {
                missing = Some(error);
                true
            }
            Err(error) => return Err(ended(error)),
        };
        stderr.skip_available().map_err(gone)?;
        let left = deadline.saturating_sub(sys::monotonic());
        if left.is_zero() {
            session.forget(id);
            return Err(missing.unwrap_or(Host::WaitTimeout).into());
        }
        if is_more {
            pause = Duration::from_millis(1);
        } else {
            sys::sleep(pause.min(left))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A request of the server.
struct Asked {
    id: Value,
    is_ping: bool,
}

impl Asked {
    fn of(frame: Frame) -> Option<Self> {
        let Frame::Json(mut message) = frame else { return None };
        let is_ping = message.get("method")?.as_str()? == "ping";
        let id = message.get_mut("id")?.take();
        let is_id = match &id {
            Value::Number(_) => true,
            Value::String(id) => id.len() <= LONGEST_ID,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        is_id.then_some(Self { id, is_ping })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.id.to_string().hash(&mut hasher);
        hasher.finish()
    }
}

/// Answers the server's own requests, each once. While another instance writes they stay in `asked`, for later.
///
/// Under the turn they are noted as answered, and without it they are written.
fn serve(
    session: &mut Session,
    asked: &mut VecDeque<Asked>,
    turn: sync::Guard,
    label: &str,
    process: &Process,
) -> Result<()> {
    asked.extend(session.take_incoming().into_iter().filter_map(Asked::of));
    // A server that asks without end is not answered without end.
    asked.drain(..asked.len().saturating_sub(rpc::MOST_INCOMING));
    if asked.is_empty() {
        return Ok(());
    }
    let writing = match writing(label, sys::monotonic()) {
        Err(error) if error.is_timeout() => return Ok(()),
        writing => writing?,
    };
    let mut now: Vec<_> = asked.drain(..asked.len().min(MOST_ANSWERED)).collect();
    // A process that is not ready yet has one reader, and nothing is known of it.
    if let Some(mut known) = known(label, process.id())? {
        now.retain(|asked| {
            let hash = asked.hash();
            let is_new = !known.served.contains(&hash);
            if is_new {
                known.served.push(hash);
            }
            is_new
        });
        if !now.is_empty() {
            known.served.drain(..known.served.len().saturating_sub(MOST_ANSWERED));
            keep(label, process.id(), Some(&known))?;
        }
    }
    drop(turn);
    for Asked { id, is_ping } in now {
        let line = if is_ping {
            rpc::response(&id, json!({}))
        } else {
            rpc::refusal(&id, -32601, "this client has no such method")
        };
        write(session, &line?, label, process, &writing)?;
    }
    Ok(())
}

/// A server that another instance has stopped, or whose end is no longer known, has ended.
fn ended(error: rpc::Error) -> Error {
    if matches!(error, rpc::Error::Host(Host::NoSuchProcess | Host::Closed)) {
        rpc::Error::Ended.into()
    } else {
        error.into()
    }
}

fn gone(error: Host) -> Error {
    ended(error.into())
}

/// Of a server that was just started and cannot be used, what it says.
fn explained(error: Error, config: &ServerConfig, process: &Process) -> Error {
    let mut stderr = process.stderr();
    let mut said = Vec::new();
    for _ in 0..EXPLAINING_READS {
        match stderr.read_chunk() {
            Ok(chunk) if !chunk.is_empty() => said.extend(chunk),
            Ok(_) | Err(_) => break,
        }
        said.drain(..said.len().saturating_sub(MOST_TOLD));
    }
    let said = lossy(said);
    let said: Vec<_> = said.lines().collect();
    let said = said
        .get(said.len().saturating_sub(TOLD)..)
        .unwrap_or_default()
        .join("\n");
    if error == Error::Rpc(rpc::Error::Ended) {
        wrong(config, &format!("it ended at once; it said: {said}"))
    } else if error.is_timeout() {
        wrong(config, &format!("it did not answer in time; it said: {said}"))
    } else {
        error
    }
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::{
        Command,
        mock::{Host, Script},
    };

    /// Another instance may be held up in a write, by a server that does not read.
    #[test]
    fn a_busy_writer_holds_no_instance_from_its_answer() {
        let host = Host::new();
        host.command("server", |_| {
            Script::new().on_input(|line| {
                let request: Value = serde_json::from_slice(line).unwrap();
                let ping = json!({ "id": 1, "method": "ping" });
                format!("{ping}\n{}\n", json!({ "id": request["id"], "result": 2 })).into_bytes()
            })
        });
        let server = Command::new("server").keep_stdin_open(true).spawn_persistent().unwrap();
        let mut session = session(&server, server.stdout()).unwrap();
        let (id, line) = session.prepare("m", Value::Null).unwrap();
        session.write_line(&line).unwrap();
        let busy = writing("l", Duration::ZERO).unwrap();
        let answer = answer_to(&mut session, &id, "l", &server, Duration::from_secs(60));
        assert_eq!((answer, host.now()), (Ok(json!(2)), Duration::ZERO));
        drop(busy);
    }
}
