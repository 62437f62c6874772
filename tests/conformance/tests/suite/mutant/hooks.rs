//! The grants of a capsule, and the audit.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use capsule_conformance::AuditRecord;
use capsule_host::audit::Record;
use capsule_host::bus::{Pattern, Reach};
use capsule_host::runtime::Grants;
use capsule_host::supervisor::{Ask, Owner};
use capsule_host::{CapsuleHooks, TopicAsk};

use super::shared::Shared;

/// The decisions about one instance.
pub(super) struct Hooks {
    pub(super) grants: Grants,
    pub(super) shared: Arc<Shared>,
}

impl CapsuleHooks for Hooks {
    fn authorize(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        match (&ask, self.shared.change) {
            (Ask::Process, "the grant for processes is not asked for")
            | (Ask::Persistent, "the grant for persistent processes is not asked for")
            | (Ask::Command(_), "commands are not asked for") => true,
            _ => self.grants.authorize(owner, ask),
        }
    }

    fn authorize_topic(&mut self, owner: &Owner, ask: TopicAsk<'_>) -> bool {
        self.shared.is("all receive all events") || self.grants.authorize_topic(owner, ask)
    }

    fn reach(&mut self, owner: &Owner, pattern: &Pattern) -> Reach {
        if self.shared.is("all receive all events") {
            Reach::All
        } else {
            self.grants.reach(owner, pattern)
        }
    }

    fn audit(&mut self, record: &Record) {
        let since = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.shared.records().push(AuditRecord {
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            operation: record.operation.to_owned(),
            principal: record.principal.clone().unwrap_or_default(),
            capsule: record.capsule.clone(),
            outcome: record.outcome.as_str().to_owned(),
            id_hash: record.ids.first().cloned(),
            raw: serde_json::to_string(record).unwrap_or_default(),
        });
    }
}
