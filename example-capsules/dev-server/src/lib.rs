//! A web server over the workspace that outlives the instance that started it.
//!
//! Each action runs in an instance of its own, so nothing is remembered here: what a later action
//! needs (the id, the port, what was logged) is found again through the host. Every action takes
//! an `id`; without one it finds the server by its label, so that the calls of one command line
//! need pass nothing on.
//!
//! It needs `python3` allowed, and persistent processes. The server listens on port 8000 of the network that all processes of
//! this capsule share. A person who wants to open it in a browser publishes that port: `capsule run --publish 8000 …`.

use capsule_sdk::net::PublishedAddress;
use capsule_sdk::{Command, Cursor, ExitStatus, LogStream, Process, ProcessId, net};
use serde::{Deserialize, Serialize};
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

const LABEL: &str = "dev-server";

/// Python has to be loaded from disk, which takes a while on a busy machine.
const START: Duration = Duration::from_secs(20);

capsule_sdk::actions! {
    "start" => start,
    "get" => get,
    "wait" => wait,
    "status" => status,
    "logs" => logs,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    id: Option<ProcessId>,
}

#[derive(Deserialize)]
struct Start {
    /// 0 is any that is free.
    #[serde(default = "usual_port")]
    port: u16,
}

/// Always the same, so that it can be published before the server starts. All processes of this capsule share a network, and no
/// other program listens there.
fn usual_port() -> u16 {
    8000
}

#[derive(Serialize)]
struct Started {
    id: ProcessId,
    port: u16,
    /// Where a browser on this machine finds it; none if its port is not published.
    url: Option<String>,
}

/// Starts the server, and returns once it listens.
fn start(start: Start) -> Result<Started> {
    let server = Command::new("python3")
        .args([
            "-u",
            "-m",
            "http.server",
            &start.port.to_string(),
            "--bind",
            "127.0.0.1",
        ])
        .label(LABEL)
        .spawn_persistent()?;
    match port(&server, START) {
        Ok(port) => Ok(Started {
            id: server.id().clone(),
            port,
            url: url(port),
        }),
        Err(error) => {
            let said: Vec<_> = server.stderr().lines().map_while(capsule_sdk::Result::ok).collect();
            // A server whose id no caller has would run on until its idle timeout.
            server.stop(None)?;
            Err(format!("the server did not come up: {error}; it said: {}", said.join("\n")).into())
        }
    }
}

/// The URL of a published port.
fn url(port: u16) -> Option<String> {
    let published = net::published();
    let published = published.iter().find(|published| published.port == port)?;
    match &published.address {
        PublishedAddress::Tcp(address) => Some(format!("http://{address}/")),
        // No browser opens one.
        PublishedAddress::Unix(_) => None,
    }
}

/// The port it listens on, from its first line: `Serving HTTP on 127.0.0.1 port N (…) ...`.
fn port(server: &Process, timeout: Duration) -> Result<u16> {
    let mut output = server.stdout();
    output.wait_for_output("Serving HTTP on 127.0.0.1 port ", timeout)?;
    let port = output.wait_for_output(" ", timeout)?;
    Ok(port.trim().parse().map_err(|_| format!("`{port}` is not a port"))?)
}

#[derive(Deserialize)]
struct Get {
    #[serde(default)]
    id: Option<ProcessId>,
    #[serde(default = "root")]
    path: String,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Serialize)]
struct Page {
    status: u16,
    body: String,
}

/// Fetches a path of it. The host sends the request, into the network that the server is in.
fn get(get: Get) -> Result<Page> {
    let port = port(&find(get.id)?, START)?;
    let answer =
        net::get(port, &get.path).map_err(|error| format!("cannot fetch {:?} from port {port}: {error}", get.path))?;
    Ok(Page {
        status: answer.status,
        body: answer.text_lossy().into_owned(),
    })
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    id: Option<ProcessId>,
    #[serde(default = "five_minutes")]
    wait_ms: u64,
}

/// The longest wait of a host, unless it says otherwise.
fn five_minutes() -> u64 {
    5 * 60 * 1000
}

#[derive(Serialize)]
struct Waited {
    id: ProcessId,
    /// None if it runs on.
    exit: Option<ExitStatus>,
}

/// Waits for its end, so that the command line does not end it while a person looks at its pages.
fn wait(wait: Wait) -> Result<Waited> {
    let server = find(wait.id)?;
    let exit = match server.wait(Duration::from_millis(wait.wait_ms)) {
        Ok(exit) => Some(exit),
        Err(error) if error.is_timeout() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Waited {
        id: server.id().clone(),
        exit,
    })
}

#[derive(Serialize)]
struct Status {
    id: ProcessId,
    label: String,
    command: String,
    phase: &'static str,
    exit: Option<ExitStatus>,
    age_ms: u128,
    idle_ms: u128,
}

/// What the host knows of it.
fn status(which: Which) -> Result<Status> {
    let info = find(which.id)?.status()?;
    Ok(Status {
        id: info.id,
        label: info.label,
        command: info.command,
        phase: info.phase.as_str(),
        exit: info.exit,
        age_ms: info.age.as_millis(),
        idle_ms: info.idle.as_millis(),
    })
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    id: Option<ProcessId>,
    #[serde(default)]
    cursor: Cursor,
    #[serde(default)]
    stream: Stream,
    /// How long to wait for the first line, if there is none yet.
    #[serde(default = "one_second")]
    wait_ms: u64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    Stdout,
    /// Where http.server writes a line for each request.
    #[default]
    Stderr,
}

fn one_second() -> u64 {
    1000
}

#[derive(Serialize)]
struct Log {
    lines: Vec<String>,
    cursor: Cursor,
    bytes_dropped: u64,
}

/// The lines since a cursor, and the cursor for the next time.
///
/// The line of a request may still be on its way when its answer has arrived, so this waits a
/// moment for the first one.
fn logs(since: Since) -> Result<Log> {
    let server = find(since.id)?;
    let stream = match since.stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
    };
    let patience = Duration::from_millis(since.wait_ms);
    let mut log = server.log(stream).resume(since.cursor);
    let first = log.follow().at_most(patience).lines().next();
    let first = first.filter(|line| !matches!(line, Err(error) if error.is_timeout()));
    let mut lines = Vec::new();
    for line in first.into_iter().chain(log.lines()) {
        match line {
            Ok(line) => lines.push(line),
            // The number of lost bytes is in the answer.
            Err(error) if error.is_gap() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Log {
        lines,
        cursor: log.cursor(),
        bytes_dropped: log.dropped(),
    })
}

#[derive(Serialize)]
struct Stopped {
    id: ProcessId,
    exit: ExitStatus,
}

/// Ends it.
fn stop(which: Which) -> Result<Stopped> {
    let server = find(which.id)?;
    let exit = server.stop(None)?;
    Ok(Stopped {
        id: server.id().clone(),
        exit,
    })
}

fn find(id: Option<ProcessId>) -> Result<Process> {
    match id {
        Some(id) => Ok(Process::attach(&id)?),
        None => Ok(Process::find(LABEL)?.ok_or("no server is running: `start` one first")?),
    }
}
