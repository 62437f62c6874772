//! Requests to a process that several instances use at once.

use std::time::Duration;

use capsule_sdk::rpc::{self, Client};
use capsule_sdk::{Command, Error, Overflow, ProcessId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Target, answer};

#[derive(Deserialize)]
pub(crate) struct Start {
    script: String,
}

/// Starts a server whose rings are small, and which waits when they are full.
pub(crate) fn start(start: Start) -> Answer<ProcessId> {
    let mut command = Command::new("python3");
    command
        .args(["-c", &start.script])
        .overflow(Overflow::Backpressure)
        .log_ring_bytes(64 * 1024)
        .keep_stdin_open(true);
    answer(command.spawn_persistent().map(|process| process.id().clone()))
}

/// Sends `count` requests whose parameter is their number and `text`, and returns their results in that order.
pub(crate) fn calls(target: Target) -> Answer<Vec<Value>> {
    answer((|| {
        let server = target.process()?;
        let (mut stdout, mut stderr) = (server.stdout(), server.stderr());
        stdout.skip_available()?;
        let mut client = Client::new(&mut stdout, server.stdin()).map_err(failed)?;
        let mut ids = Vec::new();
        for number in 0..target.count {
            ids.push(client.send("echo", &json!([number, target.text])).map_err(failed)?);
        }
        let mut results = Vec::new();
        for id in ids {
            let mut left = target.ms;
            results.push(loop {
                match client.wait(&id, Duration::from_millis(100)) {
                    Err(error) if error.is_timeout() && left > 0 => left = left.saturating_sub(100),
                    other => break other.map_err(failed)?,
                }
                stderr.skip_available()?;
            });
        }
        Ok(results)
    })())
}

fn failed(error: rpc::Error) -> Error {
    match error {
        rpc::Error::Host(error) => error,
        other @ (rpc::Error::Refused { .. } | rpc::Error::Ended | _) => Error::Unknown(other.to_string()),
    }
}
