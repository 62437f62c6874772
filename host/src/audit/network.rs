//! The audit of private networks: a record of every decision about egress (contract W4).
//!
//! A decision is no call of a guest: a tree makes it happen, while no instance may be alive. It has a record like one all the same,
//! so that one chain tells what an owner did, and one rate bounds it.

use std::fmt;
use std::sync::Arc;

use super::record::{NetworkDetails, Outcome, Record};
use super::sink::AuditSink;
use capsule_supervisor::sandbox::{NetworkDecision, NetworkObserver};
use capsule_supervisor::{Owner, Principal};

/// The operation in the record of a decision.
const EGRESS: &str = "egress";

/// Has an audit sink keep a record of every decision about the egress of private networks:
///
/// ```
/// use std::sync::Arc;
///
/// use capsule_host::audit::{AuditSink, ChainSink, network_observer};
/// use capsule_host::sandbox::Policy;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("audit.jsonl");
/// let sink: Arc<dyn AuditSink> = Arc::new(ChainSink::open(&path)?);
/// let policy = Policy::new().observe_network(network_observer(sink));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// The operation is `egress`, and the outcome the decision's [name](capsule_supervisor::sandbox::NetworkOutcome::as_str). The record
/// of a connection is made when the connection has ended.
#[must_use]
pub fn network_observer(sink: Arc<dyn AuditSink>) -> Arc<dyn NetworkObserver> {
    Arc::new(Observer(sink))
}

struct Observer(Arc<dyn AuditSink>);

impl NetworkObserver for Observer {
    fn decided(&self, decision: &NetworkDecision) {
        // A trial has no owner.
        let host = Owner {
            principal: Principal::Anonymous,
            capsule: String::new(),
        };
        let mut record = Record::new(decision.owner.as_ref().unwrap_or(&host), EGRESS);
        record.outcome = Outcome::error(decision.outcome.as_str());
        record.network = Some(Box::new(NetworkDetails::of(decision)));
        self.0.record(&record);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use capsule_supervisor::sandbox::NetworkOutcome;

    #[derive(Default)]
    struct Keeps(Mutex<Vec<Record>>);

    impl AuditSink for Keeps {
        fn record(&self, record: &Record) {
            self.0.lock().unwrap().push(record.clone());
        }
    }

    #[test]
    fn w4_a_decision_about_the_network_is_one_object_with_all_that_is_asked_for() {
        let decision = NetworkDecision {
            owner: Some(Owner {
                principal: Principal::Named("alice".into()),
                capsule: "editor".into(),
            }),
            name: "x".repeat(1 << 20),
            port: Some(443),
            address: Some("192.0.2.1:443".parse().unwrap()),
            sent: 5,
            received: 7,
            outcome: NetworkOutcome::Finished,
        };
        let keeps = Arc::new(Keeps::default());
        network_observer(Arc::clone(&keeps) as Arc<dyn AuditSink>).decided(&decision);
        let refused = NetworkDecision {
            owner: None,
            name: "evil.example".into(),
            port: None,
            address: None,
            sent: 0,
            received: 0,
            outcome: NetworkOutcome::NotAllowed,
        };
        network_observer(Arc::clone(&keeps) as Arc<dyn AuditSink>).decided(&refused);
        let mut told: Vec<_> = keeps
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|record| serde_json::to_value(record).unwrap())
            .collect();
        for record in &mut told {
            record.as_object_mut().unwrap().remove("time").unwrap();
        }
        assert_eq!(
            told,
            [
                serde_json::json!({
                    "operation": "egress", "principal": "alice", "capsule": "editor", "outcome": "finished",
                    "name": "x".repeat(256), "port": 443, "address": "192.0.2.1:443", "sent": 5, "received": 7,
                }),
                serde_json::json!({
                    "operation": "egress", "principal": null, "capsule": "", "outcome": "not-allowed",
                    "name": "evil.example", "sent": 0, "received": 0,
                }),
            ]
        );
    }
}
