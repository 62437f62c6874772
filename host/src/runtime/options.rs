//! The embedder's options for a capsule that it loads.

use std::collections::BTreeMap;
use std::fmt;

use super::grants::Grants;
use crate::bus::Pattern;
use capsule_supervisor::Principal;
use capsule_supervisor::sandbox::Workspace;

/// How a capsule is loaded. The fields beyond the first two may come from [`LoadOptions::new`]:
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use capsule_host::runtime::{Grants, Interceptor, LoadOptions};
/// use capsule_host::sandbox::Workspace;
///
/// let options = LoadOptions {
///     grants: Grants { commands: vec!["make".into()], persistent: true, ..Grants::default() },
///     // Every build that ends starts `report`, also if no call waited for it.
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
    /// The capsule's grants.
    pub grants: Grants,
    /// The configuration from which `get-config` answers. Keys that begin with `_` are not shown to the capsule.
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

/// An action that is called for every message whose topic matches, each in a fresh instance, on behalf of the message's
/// principal. The payload is the message's.
///
/// It hears what happens to its own capsule's processes and messages of any principal, and beyond that what
/// [`Topics::reach`](super::Topics) says. Messages equal to one that waits are merged with it. What the action answers goes
/// nowhere; a failure is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interceptor {
    /// Which messages.
    pub topic: Pattern,
    /// Which action.
    pub action: String,
}
