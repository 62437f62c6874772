//! Which servers there are, and how they are started.

use super::{Error, Result};
use crate::{Command, Overflow, sys};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// The key of the capsule's configuration.
const KEY: &str = "mcp_servers";

/// A frame may be longer than the ring of a stream, but not what all instances have not yet read. This is the most that a host keeps.
const RING: u32 = 8 * 1024 * 1024;

/// How a server is started.
///
/// ```
/// let config: capsule_sdk::mcp::ServerConfig = serde_json::from_str(
///     r#"{ "id": "time", "command": "mcp-server-time", "args": ["--local-timezone", "UTC"] }"#,
/// )?;
/// assert_eq!(config.idle_timeout_ms, 600_000);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerConfig {
    /// Its name within the capsule.
    pub id: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The program, as it is granted.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment, besides what the host gives. Variables that change what a program loads, such as `PYTHONPATH`, are
    /// refused by the host.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its working directory, relative to the workspace: the workspace if not set.
    #[serde(default)]
    pub cwd: Option<String>,
    /// How many calls may be under way at once: 8 if not set. The answers of all together should fit into 8 MiB, so a server whose
    /// answers have several megabytes should have 1; see [`crate::mcp`].
    #[serde(default = "eight")]
    pub concurrent: u32,
    /// It is ended when it was not used for so many milliseconds: 600,000 if not set.
    #[serde(default = "ten_minutes")]
    pub idle_timeout_ms: u64,
}

fn eight() -> u32 {
    8
}

fn ten_minutes() -> u64 {
    600_000
}

/// The servers of the capsule's configuration: the value `mcp_servers`, a JSON array. `capsule run` makes it of the manifest's
/// `[[mcp_server]]` tables; an embedder sets it in the load options.
///
/// # Errors
/// [`Error::Config`] if there is no such value, or it is none; the errors of [`sys::config`].
///
/// ```no_run
/// for server in capsule_sdk::mcp::servers()? {
///     println!("{}: {}", server.id, server.description);
/// }
/// # Ok::<(), capsule_sdk::mcp::Error>(())
/// ```
pub fn servers() -> Result<Vec<ServerConfig>> {
    let configured = sys::config(KEY)?.ok_or_else(|| {
        Error::Config(format!(
            "this capsule has no MCP servers: its configuration lacks `{KEY}`, which `capsule run` makes of the manifest's [[mcp_server]]"
        ))
    })?;
    serde_json::from_str(&configured).map_err(|error| Error::Config(format!("`{KEY}` in the configuration: {error}")))
}

impl ServerConfig {
    /// The label of its process. Another configuration is another process, and never one that runs with the old one.
    pub(super) fn label(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let id: String = self.id.chars().filter(char::is_ascii_graphic).take(64).collect();
        format!("mcp-{id}-{:016x}", hasher.finish())
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.command);
        command
            .args(self.args.iter().cloned())
            .envs(self.env.clone())
            .keep_stdin_open(true)
            .overflow(Overflow::Backpressure)
            .log_ring_bytes(RING)
            .idle_timeout(Duration::from_millis(self.idle_timeout_ms));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }
}
