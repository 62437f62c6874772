//! The runtime's hooks for the adapter: they apply the capsule's grants, and pass records to the embedder's audit.

use std::sync::Arc;

use super::denials::Denials;
use super::grants::Grants;
use crate::audit::{AuditSink, Record};
use crate::bus::{Pattern, Reach};
use crate::wit::{CapsuleHooks, Denial, TopicAsk};
use capsule_supervisor::sandbox::Network;
use capsule_supervisor::{Ask, Owner};

/// The hooks of one instance.
pub(super) struct Hooks {
    pub(super) grants: Grants,
    pub(super) audit: Option<Arc<dyn AuditSink>>,
    pub(super) denials: Option<Arc<Denials>>,
}

impl CapsuleHooks for Hooks {
    fn authorize(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        self.grants.authorize(owner, ask)
    }

    fn network(&mut self, owner: &Owner) -> Option<Network> {
        self.grants.network(owner)
    }

    fn authorize_topic(&mut self, owner: &Owner, ask: TopicAsk<'_>) -> bool {
        self.grants.authorize_topic(owner, ask)
    }

    fn reach(&mut self, owner: &Owner, pattern: &Pattern) -> Reach {
        self.grants.reach(owner, pattern)
    }

    fn denied(&mut self, owner: &Owner, denial: &Denial) {
        if let Some(denials) = &self.denials {
            denials.tell(owner, denial);
        }
    }

    fn wants_audit(&self) -> bool {
        self.audit.is_some()
    }

    fn audit(&mut self, record: &Record) {
        if let Some(audit) = &self.audit {
            audit.record(record);
        }
    }
}
