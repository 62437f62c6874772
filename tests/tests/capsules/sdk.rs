//! The promises of the SDK, with a real host.

use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call};

async fn start(capsule: &capsule_host::runtime::Capsule, spawn: Value) -> Value {
    let started = call(capsule, "start", spawn).await;
    assert!(started["ok"].is_string(), "{started}");
    started["ok"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_waits_and_returns_everything() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let ran = call(
        &capsule,
        "run",
        json!({ "cmd": "sh", "args": ["-c", "cat; echo err >&2; printf %s \"$A\"; pwd; exit 3"], "stdin": "in ", "env": [["A", "b "]] }),
    )
    .await;
    let workspace = host.workspace.path().canonicalize().unwrap();
    let expected =
        json!({ "code": 3, "signal": null, "stdout": format!("in b {}\n", workspace.display()), "stderr": "err\n" });
    assert_eq!(ran["ok"], expected);
    let missing = call(&capsule, "run", json!({ "cmd": "sh", "args": ["-c", "kill -9 $$"] })).await;
    assert_eq!(
        (&missing["ok"]["code"], &missing["ok"]["signal"]),
        (&json!(null), &json!(9))
    );
    host.registry.shutdown().await;
}

/// Each `follow` has an instance of its own, and passes only the cursor to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_l6_follow_survives_instance_changes_without_losing_or_repeating_a_line() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo \"line $i — ünï\"; done";
    let id = start(
        &capsule,
        json!({ "cmd": "sh", "args": ["-c", script], "backpressure": true }),
    )
    .await;
    let (mut all, mut cursor) = (Vec::new(), json!(""));
    loop {
        let mut ask = json!({ "id": id, "count": 70, "ms": 30_000 });
        if cursor != "" {
            ask["cursor"] = cursor.clone();
        }
        let got = call(&capsule, "follow", ask).await;
        let lines = got["ok"]["lines"].as_array().unwrap_or_else(|| panic!("{got}")).clone();
        cursor = got["ok"]["cursor"].clone();
        if lines.is_empty() {
            break;
        }
        all.extend(lines);
    }
    let expected: Vec<Value> = (1..=500).map(|i| json!(format!("line {i} — ünï"))).collect();
    assert_eq!(all, expected);
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_n4_a_dialogue_over_stdin_from_instance_to_instance() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let id = start(&capsule, json!({ "cmd": "cat", "keep_stdin_open": true })).await;
    for word in ["one\n", "two\n", "drei — ü\n"] {
        assert_eq!(
            call(&capsule, "write", json!({ "id": id, "text": word })).await,
            json!({ "ok": null })
        );
        let said = call(
            &capsule,
            "wait-for-output",
            json!({ "id": id, "text": word, "ms": 30_000 }),
        )
        .await;
        assert_eq!(said, json!({ "ok": word }));
    }
    assert_eq!(
        call(&capsule, "close", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    assert_eq!(
        call(&capsule, "wait", json!({ "id": id, "ms": 30_000 })).await,
        json!({ "ok": [0, null] })
    );
    assert_eq!(
        call(&capsule, "read-logs", json!({ "id": id })).await,
        json!({ "ok": ["one\ntwo\ndrei — ü\n", ""] })
    );
    assert_eq!(
        call(&capsule, "release", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_a_signal_reaches_the_process() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let id = start(&capsule, json!({ "cmd": "sh", "args": ["-c", script] })).await;
    call(
        &capsule,
        "wait-for-output",
        json!({ "id": id, "text": "ready", "ms": 30_000 }),
    )
    .await;
    assert_eq!(
        call(&capsule, "signal", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    assert_eq!(
        call(&capsule, "wait", json!({ "id": id, "ms": 30_000 })).await,
        json!({ "ok": [7, null] })
    );
    let lines = call(&capsule, "lines", json!({ "id": id })).await;
    assert_eq!(lines["ok"]["lines"], json!(["ready", "caught"]));
    host.registry.shutdown().await;
}
