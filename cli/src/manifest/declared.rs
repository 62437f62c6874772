//! What a manifest says, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use capsule_host::bus::Pattern;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::languages::declared::Build;
use crate::{ceilings, network};

/// The declarations. Each may be left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// The name of the capsule.
    pub(crate) id: Option<String>,
    /// Messages that start an instance.
    pub(super) interceptors: Vec<(Pattern, String)>,
    /// Whether `run` is started.
    pub(crate) background: bool,
    /// Where it publishes.
    pub(crate) publish: Vec<Pattern>,
    /// The topics that it subscribes to.
    pub(crate) subscribe: Vec<Pattern>,
    /// The requests for `--allow`. They grant nothing, and neither do the following.
    pub(crate) allow: Vec<String>,
    /// The request for `--allow-persistent`.
    pub(crate) allow_persistent: bool,
    /// The requests for `--visible`, in the same form.
    pub(crate) visible: Vec<String>,
    /// The request for `--commits`.
    pub(crate) commits: bool,
    /// The network that its processes need.
    pub(crate) network: network::Declared,
    /// The most resources that its processes need.
    pub(crate) limits: ceilings::Declared,
    /// The actions that are meant to be called, in the order of the file.
    pub(crate) actions: Vec<Action>,
    /// How the component is built where cargo does not build it.
    pub(crate) build: Option<Build>,
    /// The MCP servers that the capsule starts.
    pub(super) mcp_servers: Vec<McpServer>,
    /// The components that the file names.
    pub(super) components: Vec<Named>,
    /// The files that decided this, whether they exist or not.
    pub(crate) files: Vec<PathBuf>,
    /// What has no effect in them, one line for each.
    pub(super) reports: Vec<String>,
}

/// An action, as it is described to callers that do not know the capsule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// The JSON schema of its payload, which is an object. None if any object will do.
    pub(crate) input: Option<Map<String, Value>>,
    /// Whether it changes nothing.
    pub(crate) read_only: bool,
}

/// A component, as a `Capsule.toml` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: Option<String>,
    /// Relative to the folder of the manifest.
    pub(super) file: PathBuf,
    /// Whether other components use it, so that it cannot be called itself.
    pub(super) is_library: bool,
    /// What it asks for by itself.
    pub(super) capabilities: Capabilities,
}

/// The part of the reference's `capabilities` that has a meaning here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) allow: Vec<String>,
    pub(super) allow_persistent: bool,
    pub(super) publish: Vec<Pattern>,
    pub(super) subscribe: Vec<Pattern>,
}

/// A server that is a process and speaks over its standard input and output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct McpServer {
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    pub(super) command: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle_timeout_ms: Option<u64>,
}
