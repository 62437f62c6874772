//! The network: a web server in the private network of the capsule, and a request to it without a process.

use std::time::Duration;

use capsule_sdk::{Command, ProcessId, net};
use serde::Deserialize;

use crate::Result;

// ANCHOR: server
/// Starts a web server over the workspace, and returns when it listens.
pub(crate) fn serve() -> Result<ProcessId> {
    let server = Command::new("python3")
        .args(["-m", "http.server", "8000"])
        .find_or_spawn("web")?;
    server.wait_for_port(8000, Duration::from_secs(20))?;
    Ok(server.id().clone())
}

#[derive(Deserialize)]
pub(crate) struct Fetch {
    path: String,
}

/// Another instance. The host sends the request into the network that the server is in.
pub(crate) fn fetch(fetch: Fetch) -> Result<String> {
    Ok(net::get(8000, &fetch.path)?.text_lossy().into_owned())
}
// ANCHOR_END: server
