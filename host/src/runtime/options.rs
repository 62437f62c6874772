//! The embedder's options for a capsule that it loads.

use std::collections::BTreeMap;
use std::fmt;

use super::grants::Grants;
use crate::bus::Pattern;
use capsule_supervisor::Principal;
use capsule_supervisor::sandbox::Workspace;

/// The options with which a capsule is loaded. [`LoadOptions::new`] gives defaults for all fields but the first two:
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use capsule_host::runtime::{Grants, Interceptor, LoadOptions};
/// use capsule_host::sandbox::Workspace;
///
/// let options = LoadOptions {
///     grants: Grants { commands: vec!["make".into()], persistent: true, ..Grants::default() },
///     // Every build that ends starts `report`, even if no call waited for it.
///     interceptors: vec![Interceptor { topic: "astrid.process.v1.exited.*".parse()?, action: "report".into() }],
///     ..LoadOptions::new("builder", Workspace::open(".")?)
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LoadOptions {
    /// The capsule's name. Together with the principal it owns the processes, so a capsule that is loaded again under
    /// the same name finds the processes that it started before.
    pub capsule_id: String,
    /// The workspace of its processes.
    pub workspace: Workspace,
    /// The capsule's grants.
    pub grants: Grants,
    /// The values that `get-config` returns. Keys that begin with `_` are not shown to the capsule.
    pub config: BTreeMap<String, String>,
    /// The actions that messages start, each with its topic. An interceptor listed here needs no further grant to
    /// receive its messages.
    pub interceptors: Vec<Interceptor>,
    /// The principal on whose behalf `run` is called, in an instance of its own, once the capsule is loaded. `run`
    /// continues until it returns or the capsule is unloaded or dropped. With `None`, an exported `run` is not called.
    pub background: Option<Principal>,
}

impl LoadOptions {
    /// Options for a capsule that has no grant and no configuration, and runs only when it is called.
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
    /// Omits the configuration, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("capsule_id", &self.capsule_id)
            .field("grants", &self.grants)
            .field("interceptors", &self.interceptors)
            .finish_non_exhaustive()
    }
}

/// An action that is called for every message whose topic matches, each time in a fresh instance, on behalf of the
/// message's principal and with the message's payload.
///
/// It receives the events of its own capsule's processes and the messages of every capsule, under any principal, and in
/// addition the events that [`Topics::reach`](super::Topics) allows. A message that equals a waiting one is merged with
/// it. The result of the action is discarded; a failure is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interceptor {
    /// The topics of the messages.
    pub topic: Pattern,
    /// The name of the action.
    pub action: String,
}
