//! The runtime that tasks belong to: the checker's, always.

/// [`tokio::runtime::Handle`].
#[derive(Clone, Debug, Default)]
pub struct Handle;

/// [`tokio::runtime::EnterGuard`].
#[derive(Debug)]
pub struct Entered;

impl Handle {
    /// Nothing to enter.
    #[must_use]
    pub fn enter(&self) -> Entered {
        Entered
    }
}
