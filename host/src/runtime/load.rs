//! Loads a capsule: compiles its component, and subscribes its interceptors.

use std::path::Path;

use super::builder::Runtime;
use super::capsule::Capsule;
use super::code::Code;
use super::error::LoadError;
use super::options::LoadOptions;

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
        let code = Code::compile(&self.0, component).await?;
        Capsule::start(self.clone(), options, code)
    }
}
