//! From bytes to a capsule: compile once, link once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use wasmtime::component::Component;

use super::bindings::EntryIndices;
use super::builder::Runtime;
use super::capsule::Capsule;
use super::error::{LoadError, describe};
use super::grants::Grants;
use crate::sandbox::Workspace;

/// Eight bytes that every core module begins with, and no component does.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// How a capsule is loaded.
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
}

impl fmt::Debug for LoadOptions {
    /// Leaves the configuration out: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("capsule_id", &self.capsule_id)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Compiles `component`, unless the cache has it, and links it. Nothing of it runs yet. Compiling takes place on a
    /// thread for blocking work; dropping the future lets it finish there to no effect.
    ///
    /// A component without the entry point for actions loads, and says so when called.
    ///
    /// # Errors
    /// [`LoadError`]: bytes that are no component, or one that wants what is not served; a workspace that holds the cache.
    pub async fn load(&self, options: LoadOptions, component: &[u8]) -> Result<Capsule, LoadError> {
        if component.starts_with(CORE_MODULE) {
            return Err(LoadError::CoreModule);
        }
        let workspace = options.workspace.path();
        let overlaps = |dir: &&Path| dir.starts_with(workspace) || workspace.starts_with(dir);
        if let Some(cache_dir) = self.0.cache_dir.as_deref().filter(overlaps) {
            return Err(LoadError::Workspace {
                workspace: workspace.into(),
                cache_dir: cache_dir.into(),
            });
        }
        let engine = self.0.engine.clone();
        let bytes = component.to_owned();
        let component = tokio::task::spawn_blocking(move || Component::new(&engine, bytes))
            .await
            .map_err(|error| LoadError::Host(error.to_string()))?
            .map_err(|error| LoadError::Compile(describe(&error)))?;
        let component = self
            .0
            .linker
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Link(describe(&error)))?;
        let entry = EntryIndices::new(&component).map_err(|error| describe(&error));
        Ok(Capsule::new(self.clone(), options, component, entry))
    }
}
