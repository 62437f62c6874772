//! MCP servers behind actions: each starts on its first use and serves every later call, of whichever instance.
//!
//! The servers are those of the manifest. `capsule_sdk::mcp` does the work; here is what a caller sees of it.

use capsule_sdk::mcp::{self, Server};
use capsule_sdk::{ExitStatus, ProcessId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{error::Error, time::Duration};

capsule_sdk::actions! {
    "servers" => servers,
    "tools" => tools,
    "call" => call,
    "logs" => logs,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many lines of its standard error are told.
const LINES: usize = 100;

#[derive(Serialize)]
struct State {
    id: String,
    description: String,
    /// The process; none if it does not run.
    running: Option<Running>,
}

#[derive(Serialize)]
struct Running {
    process: ProcessId,
    /// Its number on the host's machine.
    pid: Option<u32>,
    revision: String,
    info: Value,
}

/// The servers of the manifest, and which of them run.
fn servers(_: ()) -> Result<Vec<State>> {
    mcp::servers()?.into_iter().map(state).collect()
}

fn state(config: mcp::ServerConfig) -> Result<State> {
    let running = match Server::find(&config.id)? {
        None => None,
        Some(server) => Some(Running {
            process: server.process().id().clone(),
            pid: server.process().os_pid()?,
            revision: server.revision().to_owned(),
            info: server.info().clone(),
        }),
    };
    Ok(State {
        id: config.id,
        description: config.description,
        running,
    })
}

#[derive(Deserialize)]
struct Of {
    server: String,
    #[serde(default = "one_minute")]
    timeout_ms: u64,
}

fn one_minute() -> u64 {
    60_000
}

/// The tools of a server.
fn tools(of: Of) -> Result<Vec<Value>> {
    let timeout = Duration::from_millis(of.timeout_ms);
    Ok(Server::named(&of.server, timeout)?.list_tools(timeout)?)
}

#[derive(Deserialize)]
struct Call {
    server: String,
    tool: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default = "one_minute")]
    timeout_ms: u64,
}

// ANCHOR: call
/// Calls a tool. The time is that of the start, if the server has to be started, and then that of the call.
fn call(call: Call) -> Result<Value> {
    let timeout = Duration::from_millis(call.timeout_ms);
    Ok(Server::named(&call.server, timeout)?.call_tool(&call.tool, &call.arguments, timeout)?)
}
// ANCHOR_END: call

#[derive(Deserialize)]
struct Which {
    server: String,
}

/// The newest lines of a server's standard error.
fn logs(which: Which) -> Result<Vec<String>> {
    let server = running(&which.server)?;
    let lines: Vec<_> = server
        .process()
        .stderr()
        .lines()
        .filter_map(capsule_sdk::Result::ok)
        .collect();
    Ok(lines.into_iter().rev().take(LINES).rev().collect())
}

/// Ends a server. Its next use starts it anew.
fn stop(which: Which) -> Result<ExitStatus> {
    Ok(running(&which.server)?.stop()?)
}

fn running(id: &str) -> Result<Server> {
    Ok(Server::find(id)?.ok_or_else(|| format!("the server {id:?} does not run"))?)
}
