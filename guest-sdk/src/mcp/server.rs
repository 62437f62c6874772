//! A server that runs, and requests to it from any instance.
//!
//! A lock is free when its instance ends, however it ends. What an instance was doing under it may be half done: a process of which
//! the store does not say that it was made ready is ended, and another one started.

use super::{
    Error, Result, ServerConfig,
    exchange::{answer_to, session, skip_to_now, turn, write, writing},
    known::{Known, ends_at_question, keep, known},
    servers,
    start::{First, STATELESS, begin, stateless, wrong},
};
use crate::{Error as Host, ExitStatus, Process, rpc, store, sync, sys};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a server may take to end after its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// The most pages of a list of tools.
const MOST_PAGES: usize = 100;

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
