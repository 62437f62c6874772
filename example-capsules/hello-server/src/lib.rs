//! A capsule with a web server that outlives the call that starts it. Each call runs in an instance of its own and finds the
//! server by its label.

use std::error::Error;
use std::time::Duration;

use capsule_sdk::{Command, ExitStatus, Process, ProcessId, net};

#[cfg(test)]
mod tests;

capsule_sdk::actions! {
    "start" => start,
    "get" => get,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The label by which later calls find the server.
const SERVER: &str = "server";

/// In the network that the processes of this capsule share, where no other program listens.
const PORT: u16 = 8000;

/// How long `start` waits until the server listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the server, unless it runs, and returns once it listens.
fn start() -> Result<ProcessId> {
    let server = Command::new("python3")
        .args(["-m", "http.server", &PORT.to_string(), "--bind", "127.0.0.1"])
        .find_or_spawn(SERVER)?;
    if let Err(error) = server.wait_for_port(PORT, PATIENCE) {
        let said = server.read_logs().map(|logs| logs.stderr).unwrap_or_default();
        // A server that no caller knows of would run on until its idle timeout.
        server.stop(None)?;
        return Err(format!("the server did not start: {error}; it said: {said}").into());
    }
    Ok(server.id().clone())
}

/// Fetches the first page. The host sends the request into the server's network.
fn get() -> Result<String> {
    Ok(net::get(PORT, "/")?.text_lossy().into_owned())
}

/// Ends the server.
fn stop() -> Result<ExitStatus> {
    let server = running()?.ok_or("no server is running: call `start` first")?;
    Ok(server.stop(None)?)
}

fn running() -> Result<Option<Process>> {
    match Process::find(SERVER)? {
        Some(server) if server.try_wait()?.is_none() => Ok(Some(server)),
        Some(_) | None => Ok(None),
    }
}
