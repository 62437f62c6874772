//! Whose a process is. Everything that is kept apart is kept apart by this.

/// On whose behalf a capsule runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A user whom the embedder has authenticated, by a name that is theirs alone.
    Named(String),
    /// A caller without a name. Persistent processes are not for such callers: the next one would reach them.
    Anonymous,
}

/// Who may reach a process: a principal, through one capsule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The principal on whose behalf the capsule runs.
    pub principal: Principal,
    /// The embedder's name for the capsule, which stays the same when the capsule is reloaded.
    pub capsule: String,
}
