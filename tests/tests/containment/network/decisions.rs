//! The audit of private networks: what is recorded of a tree's connections, in a real file.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use capsule_host::audit::{AuditSink, ChainSink, network_observer, verify};
use capsule_host::sandbox::{EgressPolicy, Policy, PrivateNetwork};
use serde_json::{Value, json};

use super::reach::asks;
use super::support::{ToTest, rules, shouts};
use crate::harness::{Host, PATIENCE};

async fn w4_one_record_tells_of_each_connection_and_each_refused_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("audit.jsonl");
    let log = Arc::new(ChainSink::open(&path).expect("a log"));
    let server = shouts();
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80"])))
        .connector(Arc::new(ToTest(server)));
    let policy = Policy::new()
        .network(network)
        .observe_network(network_observer(Arc::clone(&log) as Arc<dyn AuditSink>));
    let host = Host::with(policy);
    for (name, answer) in [("one.example", "HELLO\n"), ("other.example", "no name -2\n")] {
        assert_eq!(host.printed(asks(name, 80)).await, answer);
    }
    // The record of a connection is made when it has ended, at the latest with the network.
    host.registry.shutdown().await;
    let head = log.finish(PATIENCE).expect("it is written");
    let file = File::open(&path).expect("a log");
    let verified = verify(BufReader::new(file), Some(&head)).expect("a whole chain");

    let text = std::fs::read_to_string(&path).expect("a log");
    let mut records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line.get("event").is_some_and(|event| event == "call"))
        .collect();
    assert_eq!(verified.calls, records.len() as u64, "{text}");
    for record in &mut records {
        let record = record.as_object_mut().expect("an object");
        record.retain(|key, _| !["hash", "seq", "time", "event"].contains(&key.as_str()));
    }
    let of = |name: &str| {
        let (of, others): (Vec<_>, Vec<_>) = records
            .iter()
            .partition(|record| record.get("name") == Some(&json!(name)));
        (of, others)
    };
    let (connected, refused) = of("one.example");
    let expected = json!({
        "operation": "egress", "principal": "alice", "capsule": "editor", "outcome": "finished",
        "name": "one.example", "port": 80, "address": format!("127.0.0.1:{server}"), "sent": 5, "received": 5,
    });
    assert_eq!(connected, [&expected], "{text}");
    // The C library asks for an address of each family.
    assert!((1..=2).contains(&refused.len()), "{text}");
    let expected = json!({
        "operation": "egress", "principal": "alice", "capsule": "editor", "outcome": "not-allowed",
        "name": "other.example", "sent": 0, "received": 0,
    });
    assert!(refused.iter().all(|record| **record == expected), "{text}");
}

crate::who::each_user!(w4_one_record_tells_of_each_connection_and_each_refused_name);
