//! The start of a server: which revision of the protocol it speaks, and the handshake.
//!
//! A server of the older revisions may refuse the question that tells the newest one, leave it unanswered, or end at it. The first two
//! are told apart by half of the time, and the last one by starting the server once more.

use super::{
    Error, Result, ServerConfig,
    exchange::{Session, answer_to, session, write, writing},
    known::{Known, keep},
};
use crate::{Process, rpc, sys, text::lossy};
use serde_json::{Value, json};
use std::time::Duration;

/// The revision without a handshake.
pub(super) const STATELESS: &str = "2026-07-28";
/// The newest revision with one.
const WITH_HANDSHAKE: &str = "2025-11-25";

/// How much of its standard error is told when a server cannot be used.
const TOLD: usize = 20;
/// The same in bytes.
const MOST_TOLD: usize = 16 * 1024;
/// Reads of 64 KiB at most, which together are more than the host keeps.
const EXPLAINING_READS: usize = 256;

/// What a new process is told first.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum First {
    /// Which revisions it speaks.
    Question,
    Handshake,
}

/// Starts a server and makes it ready. None if it ended after the question which tells its revision.
pub(super) fn begin(
    config: &ServerConfig,
    label: &str,
    first: First,
    deadline: Duration,
) -> Result<Option<(Process, Known)>> {
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
                    return Ok(Known::new(process, STATELESS, info.cloned().unwrap_or_default()));
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
    Ok(Known::new(process, &revision, info.unwrap_or_default()))
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

/// A request with what the stateless revision wants to know each time.
pub(super) fn stateless(mut params: Value) -> Value {
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

pub(super) fn wrong(config: &ServerConfig, reason: &str) -> Error {
    Error::Protocol {
        id: config.id.clone(),
        reason: reason.to_owned(),
    }
}
