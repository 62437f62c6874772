//! A PostgreSQL server for other processes of the capsule: started once, ready when its own client says so, stopped without a loss.
//!
//! Its data is in the folder `pgdata` of the workspace, so it outlives the server, the capsule and the host. The clients are
//! processes too, in the network of the capsule that nothing else reaches, so the server asks for no password.

use capsule_sdk::{Command, ExitStatus, Output, Process, Signal};
use serde::Deserialize;
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

const LABEL: &str = "postgres";
/// The port of PostgreSQL, unless its configuration says otherwise.
const PORT: u16 = 5432;
/// A server that was not stopped in order repairs its files when it starts.
const START: Duration = Duration::from_secs(60);

capsule_sdk::actions! {
    "start" => start,
    "query" => query,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A program of PostgreSQL.
fn program(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", include_str!("postgres.sh"), "postgres.sh", name]);
    command
}

/// The output of a program that succeeded.
fn succeeded(output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(output.stdout_lossy().into_owned());
    }
    Err(format!("{}: {}", output.status, output.stderr_lossy().trim()).into())
}

/// Starts the server, and returns once it takes connections. The first start makes its folder.
fn start() -> Result<()> {
    succeeded(program("initdb").output()?)?;
    let server = program("postgres").find_or_spawn(LABEL)?;
    server
        .wait_for_port(PORT, START)
        .map_err(|error| failed(&server, &error))?;
    // It listens before it takes connections.
    loop {
        let ready = program("pg_isready").output()?;
        match ready.status.code() {
            Some(0) => return Ok(()),
            // It is starting. Its end would end this pause.
            Some(1) => match server.wait(Duration::from_millis(100)) {
                Ok(_) => return Err(failed(&server, &"it ended")),
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(error.into()),
            },
            _ => return Err(failed(&server, &ready.stdout_lossy().trim())),
        }
    }
}

/// What went wrong, with what the server wrote. It writes to standard error.
fn failed(server: &Process, why: &dyn std::fmt::Display) -> Box<dyn Error> {
    let said: Vec<_> = server.stderr().lines().map_while(capsule_sdk::Result::ok).collect();
    format!("the server did not start: {why}; it wrote: {}", said.join("\n")).into()
}

#[derive(Deserialize)]
struct Query {
    sql: String,
}

/// Runs SQL, and returns the rows as lines of comma-separated values.
fn query(query: Query) -> Result<Vec<String>> {
    let rows = succeeded(program("psql").stdin(query.sql).output()?)?;
    Ok(rows.lines().map(str::to_owned).collect())
}

/// Stops the server, and returns once its data is on the disk.
fn stop() -> Result<ExitStatus> {
    let server = Process::find(LABEL)?.ok_or("no server is running: `start` one first")?;
    // To PostgreSQL, SIGINT means: end all sessions, write everything and exit. `Process::stop` sends SIGTERM, which waits for the
    // sessions, and SIGKILL a few seconds later.
    server.signal(Signal::Int)?;
    let exit = server.wait(Duration::from_secs(30))?;
    server.release()?;
    Ok(exit)
}
