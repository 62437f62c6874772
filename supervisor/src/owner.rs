//! The owner of a process, by which the host keeps processes apart.

/// The principal on whose behalf a capsule runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A user whom the embedder has authenticated, by a unique name.
    Named(String),
    /// A caller without a name. Such callers may not have persistent processes, because the next anonymous caller would
    /// reach them.
    Anonymous,
}

/// The owner of a process: a principal, through one capsule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The principal on whose behalf the capsule runs.
    pub principal: Principal,
    /// The embedder's name for the capsule, which stays the same when the capsule is reloaded.
    pub capsule: String,
}
