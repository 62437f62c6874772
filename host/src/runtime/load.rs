//! Loads a capsule: compiles its component, and subscribes its interceptors.

use std::path::Path;

use super::builder::Runtime;
use super::capsule::Capsule;
use super::code::Code;
use super::error::LoadError;
use super::options::LoadOptions;
use crate::keyvalue::Store;

impl Runtime {
    /// Compiles `component`, unless the cache has it, and links it. Then starts its `run`, if the options name a
    /// principal for it, and subscribes its interceptors. Compiling takes place on a thread for blocking work. If the
    /// future is dropped, the compilation continues there, and its result is discarded.
    ///
    /// A component without the entry point for actions loads, and a call of it returns an error.
    ///
    /// # Errors
    /// [`LoadError`]: the bytes are not a component; the component imports functions that the runtime does not serve,
    /// or lacks an export that the options need; too many capsules run in the background; or the workspace contains the
    /// cache or the store.
    pub async fn load(&self, options: LoadOptions, component: &[u8]) -> Result<Capsule, LoadError> {
        let workspace = options.workspace.path();
        let overlaps = |dir: &&Path| dir.starts_with(workspace) || workspace.starts_with(dir);
        if let Some(cache_dir) = self.0.cache_dir.as_deref().filter(overlaps) {
            return Err(LoadError::Workspace {
                workspace: workspace.into(),
                cache_dir: cache_dir.into(),
            });
        }
        if let Some(store_dir) = self.0.store.as_ref().map(Store::path).filter(overlaps) {
            return Err(LoadError::WorkspaceAndStore {
                workspace: workspace.into(),
                store_dir: store_dir.into(),
            });
        }
        let code = Code::compile(&self.0, component).await?;
        Capsule::start(self.clone(), options, code)
    }
}
