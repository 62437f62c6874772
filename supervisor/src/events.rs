//! Publishes the lifecycle events of watched processes (contract E1, E2).
//!
//! The supervisor makes an event and names the owner of its process. The carrier of the events decides which subscribers receive
//! it.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Owner;

/// An event in the life of a process.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessEvent {
    /// The owner of the process. No other owner may receive the event unless the embedder grants it.
    pub owner: Owner,
    /// The topic that the owner chose.
    pub topic: String,
    /// The event as JSON. It contains the process's id.
    pub payload: String,
}

impl std::fmt::Debug for ProcessEvent {
    /// Omits topic and payload, which may contain the id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessEvent")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// Carries events to their subscribers.
pub trait Events: Send + Sync {
    /// Takes an event, or drops and counts it. It is called when a process starts or ends, so it must not block.
    fn publish(&self, event: ProcessEvent);
}

/// All carriers of events of one registry.
#[derive(Default)]
pub(crate) struct Carriers {
    all: RwLock<Vec<Arc<dyn Events>>>,
    /// The exits that become visible now.
    exits: TaskTracker,
}

impl Carriers {
    pub(crate) fn add(&self, events: Arc<dyn Events>) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(events);
    }

    pub(crate) fn publish(&self, event: ProcessEvent) {
        // A copy of the list: a carrier is the embedder's code, and must not run under this lock.
        let carriers = self.all.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Most often there is one topic, and it gets the event itself instead of a copy.
        if let Some((last, others)) = carriers.split_last() {
            for carrier in others {
                carrier.publish(event.clone());
            }
            last.publish(event);
        }
    }

    /// Taken before an exit becomes visible, and dropped when its event has been published. The event comes last, because an
    /// instance that it starts must find the exit. So a caller that sees an exit must not conclude that the event was published.
    pub(crate) fn exit(&self) -> TaskTrackerToken {
        self.exits.token()
    }

    /// Waits until the events of all exits that are visible by now were published.
    pub(crate) async fn exits_published(&self) {
        self.exits.close();
        self.exits.wait().await;
    }
}

impl std::fmt::Debug for Carriers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carriers").finish_non_exhaustive()
    }
}
