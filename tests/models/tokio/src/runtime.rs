//! The runtime of the tasks, which is always the checker's.

/// [`tokio::runtime::Handle`].
#[derive(Clone, Debug, Default)]
pub struct Handle;

/// [`tokio::runtime::EnterGuard`].
#[derive(Debug)]
pub struct Entered;

impl Handle {
    /// Has no effect, because there is only one runtime.
    #[must_use]
    pub fn enter(&self) -> Entered {
        Entered
    }
}
