//! From bytes to a capsule: compile once, link once, and begin to listen.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::bindings::EntryIndices;
use super::builder::Runtime;
use super::capsule::Capsule;
use super::error::{LoadError, describe};
use super::grants::Grants;
use super::interceptor::Interceptor;
use super::state::State;
use crate::sandbox::Workspace;
use crate::supervisor::Principal;

/// Eight bytes that every core module begins with, and no component does.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The entry point of a capsule that has something to do for as long as it is loaded.
const RUN: &str = "run";

/// How a capsule is loaded. The fields beyond the first two may come from [`LoadOptions::new`]:
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use capsule_host::runtime::{Grants, Interceptor, LoadOptions};
/// use capsule_host::sandbox::Workspace;
///
/// let options = LoadOptions {
///     grants: Grants { commands: vec!["make".into()], persistent: true, ..Grants::default() },
///     // Every build that ends starts `report`, though nobody may have waited for it.
///     interceptors: vec![Interceptor { topic: "astrid.process.v1.exited.*".parse()?, action: "report".into() }],
///     ..LoadOptions::new("builder", Workspace::open(".")?)
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LoadOptions {
    /// Its name. Processes belong to it together with the principal, so a capsule loaded again under the same name finds
    /// those it started before.
    pub capsule_id: String,
    /// Where its processes run.
    pub workspace: Workspace,
    /// What it may do.
    pub grants: Grants,
    /// What `get-config` answers from. Keys that begin with `_` are not shown to the capsule.
    pub config: BTreeMap<String, String>,
    /// Which messages start an instance of it. Being named here is the grant to hear them.
    pub interceptors: Vec<Interceptor>,
    /// Starts its `run` once it is loaded, in an instance of its own, on behalf of this principal; it goes on until it
    /// returns or the capsule is unloaded or dropped. Without it, an exported `run` means nothing.
    pub background: Option<Principal>,
}

impl LoadOptions {
    /// A capsule that may do nothing, is told nothing, and runs only when it is called.
    #[must_use]
    pub fn new(capsule_id: impl Into<String>, workspace: Workspace) -> Self {
        Self {
            capsule_id: capsule_id.into(),
            workspace,
            grants: Grants::default(),
            config: BTreeMap::new(),
            interceptors: Vec::new(),
            background: None,
        }
    }
}

impl fmt::Debug for LoadOptions {
    /// Leaves the configuration out: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("capsule_id", &self.capsule_id)
            .field("grants", &self.grants)
            .field("interceptors", &self.interceptors)
            .finish_non_exhaustive()
    }
}

/// A component, compiled and linked.
pub(super) struct Code {
    pub(super) component: InstancePre<State>,
    /// Where the entry point for actions is, or why there is none.
    pub(super) entry: Result<EntryIndices, String>,
    /// Where `run` is.
    pub(super) run: Option<ComponentExportIndex>,
}

impl Runtime {
    /// Compiles `component`, unless the cache has it, and links it; then starts its `run`, if it is to have one, and
    /// listens for its interceptors. Compiling takes place on a thread for blocking work; dropping the future lets it
    /// finish there to no effect.
    ///
    /// A component without the entry point for actions loads, and says so when called.
    ///
    /// # Errors
    /// [`LoadError`]: bytes that are no component, one that wants what is not served or lacks what it was declared to
    /// have, more that run in the background than may, a workspace that holds the cache.
    pub async fn load(&self, options: LoadOptions, component: &[u8]) -> Result<Capsule, LoadError> {
        let workspace = options.workspace.path();
        let overlaps = |dir: &&Path| dir.starts_with(workspace) || workspace.starts_with(dir);
        if let Some(cache_dir) = self.0.cache_dir.as_deref().filter(overlaps) {
            return Err(LoadError::Workspace {
                workspace: workspace.into(),
                cache_dir: cache_dir.into(),
            });
        }
        let code = self.compile(component).await?;
        Capsule::start(self.clone(), options, code)
    }

    pub(super) async fn compile(&self, component: &[u8]) -> Result<Code, LoadError> {
        if component.starts_with(CORE_MODULE) {
            return Err(LoadError::CoreModule);
        }
        let engine = self.0.engine.clone();
        let bytes = component.to_owned();
        let component = tokio::task::spawn_blocking(move || Component::new(&engine, bytes))
            .await
            .map_err(|error| LoadError::Host(error.to_string()))?
            .map_err(|error| LoadError::Compile(describe(&error)))?;
        let run = component.get_export_index(None, RUN);
        let component = self
            .0
            .linker
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Link(describe(&error)))?;
        let entry = EntryIndices::new(&component).map_err(|error| describe(&error));
        Ok(Code { component, entry, run })
    }
}
