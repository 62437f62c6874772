//! The MCP servers that a manifest names for its capsule: the reference's `[[mcp_server]]`.
//!
//! The capsule starts them itself, so it is told of them by its configuration. Their commands are requests like any others: without
//! the person's grant none starts.

use super::declared::{Manifest, McpServer};
use super::document::{BadManifest, Section};

/// The key of the capsule's configuration under which the SDK finds them.
const CONFIG_KEY: &str = "mcp_servers";

/// Reads one, and asks for its command. None for a server that is a component: its tools are this capsule's own actions.
pub(super) fn read(id: Option<String>, mut section: Section<'_>, manifest: &mut Manifest) -> Result<(), BadManifest> {
    let id = id.ok_or_else(|| section.refuse("an `mcp_server` has an `id`, by which the capsule finds it"))?;
    if manifest.mcp_servers.iter().any(|server| server.id == id) {
        return Err(section.refuse(format!("there are two `mcp_server`s with the id {id:?}")));
    }
    let description = section.get("description")?.unwrap_or_default();
    let kind = section.get::<String>("type")?;
    let command = section.get::<String>("command")?.filter(|command| !command.is_empty());
    let args = section.list("args")?;
    let env = section.get("env")?.unwrap_or_default();
    let cwd = section.get("cwd")?;
    let concurrent = section.get("concurrent")?;
    let idle_timeout_ms = section.get("idle-timeout-ms")?;
    if kind.as_deref() != Some("stdio") && (kind.is_some() || command.is_none()) {
        section.finish();
        return Ok(());
    }
    let Some(command) = command else {
        return Err(section.refuse("an `mcp_server` of the type `stdio` has a `command`"));
    };
    if !concurrent.is_none_or(|concurrent| (1..=64).contains(&concurrent)) {
        return Err(section.refuse("a server has 1 to 64 `concurrent` calls"));
    }
    if idle_timeout_ms == Some(0) {
        return Err(section.refuse("an `idle-timeout-ms` of 0 would end the server at once"));
    }
    section.finish();
    if !manifest.allow.contains(&command) {
        manifest.allow.push(command.clone());
    }
    manifest.allow_persistent = true;
    manifest.mcp_servers.push(McpServer {
        id,
        description,
        command,
        args,
        env,
        cwd,
        concurrent,
        idle_timeout_ms,
    });
    Ok(())
}

impl Manifest {
    /// What the capsule's configuration says of them, as key and value.
    pub(crate) fn mcp_config(&self) -> Option<(String, String)> {
        if self.mcp_servers.is_empty() {
            return None;
        }
        let servers = serde_json::to_string(&self.mcp_servers).ok()?;
        Some((CONFIG_KEY.to_owned(), servers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, BadManifest> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Capsule.toml"), text).unwrap();
        Manifest::of_component(&folder.path().join("x.wasm"))
    }

    #[test]
    fn servers_are_told_to_the_capsule_and_their_commands_asked_for() {
        let text = "[[mcp_server]]\nid = 'time'\ntype = 'stdio'\ncommand = 'mcp-server-time'\nargs = ['--local-timezone', 'UTC']\n\
                    [mcp_server.env]\nA = 'b'\n[[mcp_server]]\nid = 'own'\ndescription = 'the actions of this capsule'\n\
                    [[mcp_server]]\nid = 'git'\ncommand = 'git-mcp'\nidle-timeout-ms = 5\nunknown = 1\n\
                    [capabilities]\nhost_process = ['git-mcp']\n";
        let manifest = read(text).unwrap();
        let (key, servers) = manifest.mcp_config().unwrap();
        assert_eq!(key, "mcp_servers");
        let expected = "[{\"id\":\"time\",\"command\":\"mcp-server-time\",\"args\":[\"--local-timezone\",\"UTC\"],\"env\":{\"A\":\"b\"}},\
                        {\"id\":\"git\",\"command\":\"git-mcp\",\"idle_timeout_ms\":5}]";
        assert_eq!(servers, expected);
        assert_eq!(manifest.allow, ["git-mcp", "mcp-server-time"]);
        assert!(manifest.allow_persistent);
        assert_eq!(manifest.reports.len(), 1, "{:?}", manifest.reports);
    }

    #[test]
    fn a_capsule_without_servers_is_told_nothing() {
        let manifest = read("[[mcp_server]]\nid = 'x'\ntype = 'wasm-ipc'\ncommand = 'unused'\n").unwrap();
        assert_eq!((manifest.mcp_config(), &manifest.allow[..]), (None, &[][..]));
    }

    #[test]
    fn what_is_no_server_is_refused_with_its_line() {
        for (text, told) in [
            ("[[mcp_server]]\ntype = 'stdio'\n", "has an `id`"),
            ("[[mcp_server]]\nid = 'a'\ntype = 'stdio'\n", "has a `command`"),
            (
                "[[mcp_server]]\nid = 'a'\ncommand = 'b'\nidle-timeout-ms = 0\n",
                "at once",
            ),
            (
                "[[mcp_server]]\nid = 'a'\ncommand = 'b'\n[[mcp_server]]\nid = 'a'\ncommand = 'c'\n",
                "two",
            ),
            ("[[mcp_server]]\nid = 'a'\ncommand = 1\n", "command"),
            ("[[mcp_server]]\nid = 'a'\ncommand = 'b'\nconcurrent = 0\n", "1 to 64"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("line "), "{error}");
        }
    }
}
