//! A component calls every function of every interface. Each leaves one record, except those listed here (contract U1).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use capsule_host::audit::{AuditSink, Record};
use capsule_host::keyvalue::Store;
use capsule_host::runtime::{Grants, LoadOptions, Topics};
use capsule_host::sandbox::Workspace;
use serde_json::json;
use tempfile::TempDir;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, TypeDefKind, WorldId, WorldItem};

use capsule_tests::capsules::{HOSTILE_GUEST, Host, call};

/// The functions that leave no record, because they act on no process, no message and no other capsule.
const UNRECORDED: [&str; 11] = [
    // Waits for an event to which a recorded call subscribed.
    "astrid:io/poll@1.0.0 [method]pollable.block",
    "astrid:io/poll@1.0.0 [method]pollable.ready",
    "astrid:io/poll@1.0.0 [resource-drop]pollable",
    "astrid:io/poll@1.0.0 poll",
    // Time and random bytes.
    "astrid:sys/host@1.0.0 clock-monotonic-ns",
    "astrid:sys/host@1.0.0 clock-ms",
    "astrid:sys/host@1.0.0 random-bytes",
    "astrid:sys/host@1.0.0 sleep-ns",
    // Informs the caller about itself.
    "astrid:sys/host@1.0.0 enumerate-capabilities",
    "astrid:sys/host@1.0.0 get-caller",
    // Has a log of its own.
    "astrid:sys/host@1.0.0 log",
];

/// The functions that no guest can call, because no function gives it an `error`.
const UNREACHABLE: [&str; 2] = [
    "astrid:io/error@1.0.0 [method]error.to-debug-string",
    "astrid:io/error@1.0.0 [resource-drop]error",
];

/// Keeps every record.
#[derive(Default)]
struct Ear(Mutex<Vec<Record>>);

impl AuditSink for Ear {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.clone());
    }
}

/// The functions that the host serves by the WIT files.
fn served() -> BTreeSet<String> {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("host")).unwrap();
    imports(&resolve, world)
}

/// The functions of this project's interfaces that a world imports, as `interface function`, the drops of resources
/// included.
fn imports(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = resolve.id_of(*id).unwrap();
        if !["astrid:", "capsule:"].iter().any(|ours| interface.starts_with(ours)) {
            continue;
        }
        let served = &resolve.interfaces[*id];
        functions.extend(served.functions.keys().map(|name| format!("{interface} {name}")));
        let resources =
            (served.types.iter()).filter(|(_, id)| matches!(resolve.types[**id].kind, TypeDefKind::Resource));
        functions.extend(resources.map(|(name, _)| format!("{interface} [resource-drop]{name}")));
    }
    functions
}

/// The name of a function in its record.
fn operation(function: &str) -> String {
    let (_, name) = function.split_once(' ').unwrap();
    match name.strip_prefix("[resource-drop]") {
        Some(resource) => format!("{resource}.drop"),
        None => name.trim_start_matches("[method]").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_every_function_leaves_one_record_or_is_listed() {
    let ear = Arc::new(Ear::default());
    let sink: Arc<dyn AuditSink> = ear.clone();
    let kept = TempDir::new().unwrap();
    let store = Store::open(kept.path().join("store")).unwrap();
    let host = Host::with(|runtime| runtime.audit(Some(sink)).store(Some(store)));
    let topic = || vec!["hostile.v1.*".parse().unwrap()];
    let options = LoadOptions {
        grants: Grants {
            commands: vec!["cat".into()],
            persistent: true,
            topics: Topics {
                publish: topic(),
                publish_as: topic(),
                subscribe: topic(),
                ..Topics::default()
            },
            ..Grants::default()
        },
        ..LoadOptions::new("hostile", Workspace::open(host.workspace.path()).unwrap())
    };
    let component = std::fs::read(HOSTILE_GUEST).unwrap();
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&component).unwrap() else {
        panic!("not a component");
    };
    let imported = imports(&resolve, world);
    let capsule = host.runtime.load(options, &component).await.unwrap();
    let called = call(&capsule, "every-function", json!({})).await;
    let called: Vec<&str> = called
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    capsule.unload().await;
    host.registry.shutdown().await;

    let reached: BTreeSet<String> = called.iter().chain(&UNREACHABLE).map(|&name| name.to_owned()).collect();
    let served = served();
    let different: Vec<_> = reached.symmetric_difference(&served).collect();
    assert!(different.is_empty(), "called or in wit/, and not both: {different:?}");

    let by_other_names: Vec<_> = called.iter().filter(|name| !imported.contains(**name)).collect();
    assert!(
        by_other_names.is_empty(),
        "not what the component imports: {by_other_names:?}"
    );

    let recorded = called.iter().filter(|name| !UNRECORDED.contains(name));
    let expected: Vec<String> = recorded.map(|name| operation(name)).collect();
    let records = ear.0.lock().unwrap();
    let operations: Vec<&str> = records.iter().map(|record| record.operation).collect();
    assert_eq!(operations, expected);
    let in_vain: Vec<_> = (records.iter())
        .filter(|record| {
            matches!(
                record.outcome.as_str(),
                "dropped" | "trap" | "capability-denied" | "unavailable"
            )
        })
        .collect();
    assert!(in_vain.is_empty(), "these calls did not do their work: {in_vain:?}");
}
