//! The metrics of private networks (contract U2). `crate::metrics` lists them with the others.

use metrics::{Unit, counter, describe_counter};

use super::decision::NetworkDecision;

/// Decisions about the egress of private networks, by their outcome
/// ([`NetworkOutcome::as_str`](crate::sandbox::NetworkOutcome::as_str)). A connection is counted when it has ended.
pub const NETWORK_DECISIONS: &str = "capsule_network_decisions_total";
/// Bytes of egress that was let through, by `direction`: `sent` by a tree, and `received` by one. Counted with the decision.
pub const NETWORK_BYTES: &str = "capsule_network_bytes_total";

pub(crate) fn describe() {
    describe_counter!(
        NETWORK_DECISIONS,
        Unit::Count,
        "Decisions about the egress of private networks, by outcome"
    );
    describe_counter!(
        NETWORK_BYTES,
        Unit::Bytes,
        "Bytes of egress that was let through, by direction"
    );
}

pub(super) fn count(decision: &NetworkDecision) {
    counter!(NETWORK_DECISIONS, "outcome" => decision.outcome.as_str()).increment(1);
    for (direction, bytes) in [("sent", decision.sent), ("received", decision.received)] {
        if bytes > 0 {
            counter!(NETWORK_BYTES, "direction" => direction).increment(bytes);
        }
    }
}
