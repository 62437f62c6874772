//! Values that a capsule keeps between its instances: `capsule:store` (contract V1 to V4).

use std::sync::{Arc, Mutex};

use capsule_host::audit::{AuditSink, Record};
use capsule_host::keyvalue::Store;
use capsule_host::runtime::{LoadError, LoadOptions};
use capsule_host::sandbox::Workspace;
use capsule_host::supervisor::Principal;
use serde_json::{Value, json};
use tempfile::TempDir;

use capsule_tests::capsules::{Host, TEST_GUEST, call, call_as};

fn host(dir: &TempDir) -> Host {
    let store = Store::open(dir.path().join("store")).unwrap();
    Host::with(|runtime| runtime.store(Some(store)))
}

fn ok(value: Value) -> Value {
    json!({ "ok": value })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_v2_a_value_is_there_for_later_instances_and_hosts_of_its_owner_alone() {
    let dir = TempDir::new().unwrap();
    let before = host(&dir);
    let capsule = before.load_file("editor", TEST_GUEST).await;
    let entry = |value: &str| json!({ "key": "k", "value": value });
    assert_eq!(call(&capsule, "store-get", entry("")).await, ok(Value::Null));
    assert_eq!(call(&capsule, "store-set", entry("one")).await, ok(Value::Null));
    assert_eq!(call_as("bob", &capsule, "store-get", entry("")).await, ok(Value::Null));
    let other = before.load_file("other", TEST_GUEST).await;
    assert_eq!(call(&other, "store-list", json!({})).await, ok(json!([])));
    let swap = json!({ "key": "k", "expected": "zero", "value": "two" });
    let mismatch = json!({ "swapped": false, "present": "one" });
    assert_eq!(call(&capsule, "store-swap", swap).await, ok(mismatch));
    let swap = json!({ "key": "k", "expected": "one", "value": "two" });
    assert_eq!(call(&capsule, "store-swap", swap).await["ok"]["swapped"], true);
    before.registry.shutdown().await;
    drop(before);

    let after = host(&dir);
    let capsule = after.load_file("editor", TEST_GUEST).await;
    assert_eq!(call(&capsule, "store-get", entry("")).await, ok(json!("two")));
    assert_eq!(
        call(&capsule, "store-list", json!({ "key": "" })).await,
        ok(json!(["k"]))
    );
    assert_eq!(call(&capsule, "store-delete", entry("")).await, ok(json!(true)));
    assert_eq!(call(&capsule, "store-delete", entry("")).await, ok(json!(false)));
    after.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_v4_a_refusal_is_named() {
    let dir = TempDir::new().unwrap();
    let host = host(&dir);
    let capsule = host.load_file("editor", TEST_GUEST).await;
    for (entry, kind) in [
        (json!({ "key": "" }), "invalid-input"),
        (json!({ "key": "k".repeat(257) }), "invalid-input"),
        (json!({ "key": "a\u{0}" }), "invalid-input"),
        (json!({ "key": "k", "bytes": (64 << 10) + 1 }), "too-large"),
    ] {
        let refused = call(&capsule, "store-set", entry).await;
        assert_eq!(refused["err"]["kind"], kind, "{refused}");
    }
    // Sixteen are more than the 1 MiB, with their keys.
    for number in 0..16 {
        let set = json!({ "key": format!("{number}"), "bytes": 64 << 10 });
        let set = call(&capsule, "store-set", set).await;
        let expected = if number < 15 { Value::Null } else { json!("quota") };
        assert_eq!(set["err"]["kind"], expected, "{number}: {set}");
    }
    let anonymous = capsule.call(
        Principal::Anonymous,
        "store-get",
        json!({ "key": "0" }).to_string().into_bytes(),
    );
    let answer = anonymous.await.unwrap().data.unwrap();
    assert!(answer.contains("not-authenticated"), "{answer}");

    let without = Host::new();
    let capsule = without.load_file("editor", TEST_GUEST).await;
    let refused = call(&capsule, "store-get", json!({ "key": "k" })).await;
    assert_eq!(refused["err"]["kind"], "unavailable");
    host.registry.shutdown().await;
    without.registry.shutdown().await;
}

/// A process could change what every capsule keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_a_workspace_that_holds_the_store_is_refused() {
    let dir = TempDir::new().unwrap();
    let host = host(&dir);
    let component = std::fs::read(TEST_GUEST).unwrap();
    for path in [dir.path().to_owned(), dir.path().join("store")] {
        let workspace = Workspace::open(&path).unwrap();
        let refused = (host.runtime)
            .load(LoadOptions::new("editor", workspace), &component)
            .await;
        let refused = refused.err();
        assert!(
            matches!(refused, Some(LoadError::WorkspaceAndStore { .. })),
            "{path:?}: {refused:?}"
        );
    }
    host.registry.shutdown().await;
}

#[derive(Default)]
struct Ear(Mutex<Vec<Record>>);

impl AuditSink for Ear {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_the_record_of_a_call_has_its_key_and_not_its_value() {
    let dir = TempDir::new().unwrap();
    let ear = Arc::new(Ear::default());
    let (store, sink) = (Store::open(dir.path().join("store")).unwrap(), ear.clone());
    let host = Host::with(|runtime| runtime.store(Some(store)).audit(Some(sink)));
    let capsule = host.load_file("editor", TEST_GUEST).await;
    let swap = json!({ "key": "cursor", "expected": null, "value": "hush" });
    call(&capsule, "store-swap", swap).await;
    call(&capsule, "store-get", json!({ "key": "cursor" })).await;
    let records = serde_json::to_value(&*ear.0.lock().unwrap()).unwrap();
    let told = |at: usize, field: &str| records[at][field].clone();
    for (at, operation, bytes) in [(0, "compare-and-set", json!(4)), (1, "get", Value::Null)] {
        assert_eq!(told(at, "operation"), operation);
        assert_eq!((told(at, "key"), told(at, "value_bytes")), (json!("cursor"), bytes));
        assert_eq!(told(at, "outcome"), "ok");
    }
    assert!(!records.to_string().contains("hush"), "{records}");
    host.registry.shutdown().await;
}
