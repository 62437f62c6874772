//! The embedder's decision before a process is started.

use super::{CommandView, Owner};
use crate::sandbox::Network;

/// The requests to the embedder's gate, in the order of contract S4.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ask<'a> {
    /// May this capsule have processes at all?
    Process,
    /// May it run this command?
    Command(CommandView<'a>),
    /// May it have processes that outlive the instance?
    Persistent,
}

/// The embedder's decision. It is asked for during a spawn, so it must not block.
pub trait Gate: Send {
    /// Whether `owner` may do this. If it returns `false`, the spawn ends with `capability-denied`, and nothing ran.
    fn allows(&mut self, owner: &Owner, ask: Ask<'_>) -> bool;

    /// The network of the trees of `owner`. Asked after everything else was allowed. By default the launcher's own policy decides.
    ///
    /// Trees of one owner share a private network as long as it is the same policy, so an embedder keeps one
    /// [`EgressPolicy`](crate::sandbox::EgressPolicy) for each owner and returns its clones.
    fn network(&mut self, owner: &Owner) -> Option<Network> {
        let _ = owner;
        None
    }
}
