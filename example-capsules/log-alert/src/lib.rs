//! Watches the log of a server in the background, and publishes an alert for each line with a 404.
//!
//! The background run has an instance of its own, for as long as the capsule is loaded. It shares no memory with the calls: it finds
//! the server through the host, keeps the alerts in the store, and publishes them for whichever instance or capsule subscribes.

use capsule_sdk::{Command, ExitStatus, Log, Process, ProcessId, ipc, list, net, store, sys};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::{Entry, HashMap};
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

const LABEL: &str = "watched";
const PATTERN: &str = "\" 404 ";
const TOPIC: &str = "log-alert.v1.alert";
/// The alerts since the last `start`, in the store.
const ALERTS: &str = "alerts";
const MOST_ALERTS: usize = 100;

capsule_sdk::background!(watch);
capsule_sdk::actions! {
    "start" => start,
    "get" => get,
    "alerts" => alerts,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alert {
    line: String,
}

/// The background run.
fn watch() -> Result<()> {
    let events = ipc::subscribe(ipc::LIFECYCLE)?;
    sys::signal_ready();
    let mut logs = HashMap::new();
    loop {
        read_on(&mut logs)?;
        // An event only says that it is time to read. Each log is read on from its place, so a lost event loses no line.
        match events.recv(Duration::from_secs(60)) {
            Ok(_) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the new lines of all servers. The map keeps the place in each log.
fn read_on(logs: &mut HashMap<ProcessId, Log>) -> Result<()> {
    let servers = list(Some(LABEL))?;
    logs.retain(|id, _| servers.iter().any(|server| server.id == *id));
    for server in servers {
        let log = match logs.entry(server.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // It may have been stopped since the list was made.
                let Ok(process) = Process::attach(entry.key()) else {
                    continue;
                };
                entry.insert(process.stderr())
            }
        };
        for line in log.lines() {
            match line {
                Ok(line) if line.contains(PATTERN) => alert(line)?,
                Ok(_) => {}
                Err(error) if error.is_gap() => sys::warn(&error.to_string()),
                Err(error) if error.is_gone() => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn alert(line: String) -> Result<()> {
    let alert = Alert { line };
    let mut alerts: Vec<Alert> = store::get_json(ALERTS)?.unwrap_or_default();
    alerts.push(alert.clone());
    let too_many = alerts.len().saturating_sub(MOST_ALERTS);
    alerts.drain(..too_many);
    store::set_json(ALERTS, &alerts)?;
    // After the store: an instance that gets the message finds the alert there.
    if let Err(error) = ipc::publish_json(TOPIC, &alert) {
        sys::warn(&format!("an alert was kept and not published: {error}"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Wait {
    /// How long to wait for the first alert.
    #[serde(default = "ten_seconds")]
    wait_ms: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

/// The alerts since the start of the server. Waits for the first one.
fn alerts(wait: Wait) -> Result<Vec<Alert>> {
    // Before the look into the store, so that no alert falls between the two.
    let published = ipc::subscribe(TOPIC)?;
    let alerts: Vec<Alert> = store::get_json(ALERTS)?.unwrap_or_default();
    if !alerts.is_empty() {
        return Ok(alerts);
    }
    match published.recv(Duration::from_millis(wait.wait_ms)) {
        Ok(_) => Ok(store::get_json(ALERTS)?.unwrap_or_default()),
        Err(error) if error.is_timeout() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Starts the server to watch, over the workspace.
fn start() -> Result<()> {
    store::delete(ALERTS)?;
    let server = Command::new("python3")
        .args(["-u", "-m", "http.server", "8000", "--bind", "127.0.0.1"])
        .label(LABEL)
        .spawn_persistent()?;
    // The host then publishes that there is output.
    server.watch("log-alert")?;
    Ok(server.wait_for_port(8000, Duration::from_secs(20))?)
}

#[derive(Deserialize)]
struct Get {
    path: String,
}

/// Fetches a page of it, and returns the status. The server writes a line for each request.
fn get(get: Get) -> Result<u16> {
    Ok(net::get(8000, &get.path)?.status)
}

fn stop() -> Result<ExitStatus> {
    let server = Process::find(LABEL)?.ok_or("no server is running: `start` one first")?;
    Ok(server.stop(None)?)
}
