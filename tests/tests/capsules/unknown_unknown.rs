//! A capsule built for `wasm32-unknown-unknown`, which imports no WASI at all, made a component with `wit-component`.

use serde_json::json;
use wit_component::ComponentEncoder;

use capsule_tests::capsules::{Host, TEST_GUEST_CORE, call};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_without_wasi_runs() {
    let module = std::fs::read(TEST_GUEST_CORE).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap();
    let host = Host::new();
    let capsule = host.load("bare", &component).await;
    let started = call(&capsule, "start", json!({ "cmd": "sh", "args": ["-c", "echo hello"] })).await;
    let followed = call(
        &capsule,
        "follow",
        json!({ "id": started["ok"], "count": 9, "ms": 30_000 }),
    )
    .await;
    assert_eq!(followed["ok"]["lines"], json!(["hello"]));
    host.registry.shutdown().await;
}
