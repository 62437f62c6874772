//! Tokio's notifications and channels. Before each operation other tasks may run.

pub use tokio::sync::{futures, mpsc, oneshot, watch};

/// [`tokio::sync::Notify`].
#[derive(Debug, Default)]
pub struct Notify(tokio::sync::Notify);

#[expect(missing_docs, reason = "tokio's own")]
impl Notify {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_one(&self) {
        super::let_others_run();
        self.0.notify_one();
    }

    pub fn notify_waiters(&self) {
        super::let_others_run();
        self.0.notify_waiters();
    }

    pub fn notified(&self) -> futures::Notified<'_> {
        super::let_others_run();
        self.0.notified()
    }
}
