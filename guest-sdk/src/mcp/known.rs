//! What the store keeps of a server, for every instance of the capsule.
//!
//! The store outlives hosts, and several hosts may share it: so each process has an entry of its own, found by its id, and the entries
//! of hosts that were killed are bounded in number.

use super::Result;
use crate::{Cursor, Process, ProcessId, store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many processes of one server are remembered: those of as many hosts. All together must fit into a value of the store.
const MOST_KNOWN: usize = 8;
/// The most bytes that are kept of what a server says of itself.
const MOST_INFO: usize = 1024;

/// What is known of a process that was made ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) process: ProcessId,
    pub(super) revision: String,
    /// What it says of itself.
    pub(super) info: Value,
    /// Hashes of the ids of its own requests that were answered, the newest last.
    #[serde(default)]
    pub(super) served: Vec<u64>,
    /// A place in its output that was recent once.
    #[serde(default)]
    pub(super) place: Cursor,
}

impl Known {
    /// Of a process that speaks this revision, and says this of itself.
    pub(super) fn new(process: &Process, revision: &str, info: Value) -> Self {
        Self {
            process: process.id().clone(),
            revision: revision.chars().take(32).collect(),
            info: if info.to_string().len() <= MOST_INFO {
                info
            } else {
                Value::Null
            },
            served: Vec::new(),
            place: Cursor::default(),
        }
    }
}

fn key(label: &str) -> String {
    format!("mcp {label}")
}

/// The key that exists if the server ends at the question which tells the revision.
pub(super) fn ends_at_question(label: &str) -> String {
    format!("mcp-handshake {label}")
}

/// The key that exists while a request of several writes is being written, and after one that was not finished.
pub(super) fn long_write(label: &str) -> String {
    format!("mcp-write {label}")
}

/// What is known of this very process.
pub(super) fn known(label: &str, process: &ProcessId) -> Result<Option<Known>> {
    let all = store::get(&key(label))?;
    let all = all.as_deref().and_then(|all| serde_json::from_slice(all).ok());
    let all: Vec<Known> = all.unwrap_or_default();
    Ok(all.into_iter().find(|known| known.process == *process))
}

/// Keeps what is known of a process, in place of what was known before; forgets it if that is nothing. Another host that runs this
/// capsule has a process of its own, and the same store.
pub(super) fn keep(label: &str, process: &ProcessId, known: Option<&Known>) -> Result<()> {
    let key = key(label);
    loop {
        let before = store::get(&key)?;
        let all = before.as_deref().and_then(|all| serde_json::from_slice(all).ok());
        let mut all: Vec<Known> = all.unwrap_or_default();
        all.retain(|other| other.process != *process);
        all.extend(known.cloned());
        // Of hosts that were killed, entries stay.
        all.drain(..all.len().saturating_sub(MOST_KNOWN));
        let after = serde_json::to_vec(&all).map_err(|error| store::Error::Json(error.to_string()))?;
        if let store::Swap::Swapped = store::compare_and_set(&key, before.as_deref(), Some(&after))? {
            return Ok(());
        }
    }
}
