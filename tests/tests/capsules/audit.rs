//! The records of a real component's calls, in a real file (contract U1).

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capsule_host::audit::{AuditSink, ChainSink, verify};
use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call, try_call};

/// The records of the calls in a log.
fn calls(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "call")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_a_capsules_calls_are_in_the_log_and_nothing_that_is_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = Arc::new(ChainSink::open(&path).unwrap());
    let sink: Arc<dyn AuditSink> = log.clone();
    let host = Host::with(|runtime| runtime.audit(Some(sink)));
    let capsule = host.load_file("c", TEST_GUEST).await;

    let secret = "s3cret-value";
    let spawn = json!({
        "cmd": "sh", "args": ["-c", "cat; echo printed-$WORD"], "stdin": "typed-s3cret", "env": [["WORD", secret]],
    });
    let ran = call(&capsule, "run", spawn).await;
    assert_eq!(ran["ok"]["stdout"], format!("typed-s3cretprinted-{secret}\n"));
    let id = call(&capsule, "start", json!({ "cmd": "cat", "keep_stdin_open": true })).await["ok"].clone();
    call(&capsule, "write", json!({ "id": id, "text": "typed-later\n" })).await;
    call(
        &capsule,
        "wait-for-output",
        json!({ "id": id, "text": "typed-later", "ms": 30_000 }),
    )
    .await;
    // A capsule that uses its id in its arguments.
    call(&capsule, "run", json!({ "cmd": "sh", "args": ["-c", "true", id] })).await;
    call(&capsule, "stop", json!({ "id": id, "ms": 0 })).await;
    let gone = call(&capsule, "release", json!({ "id": id })).await;
    assert!(gone["ok"].is_null(), "{gone}");
    let denied = call(&capsule, "run", json!({ "cmd": "rm", "args": ["x"] })).await;
    assert_eq!(denied["err"]["kind"], "capability-denied", "{denied}");
    drop(try_call("ada", &capsule, "start-then-trap", json!({ "cmd": "cat" })).await);

    capsule.unload().await;
    host.registry.shutdown().await;
    let head = log.finish(Duration::from_secs(60)).unwrap();
    let verified = verify(BufReader::new(File::open(&path).unwrap()), Some(&head)).unwrap();
    let records = calls(&path);
    assert_eq!(
        (verified.calls, verified.lost, verified.finished),
        (records.len() as u64, 0, true)
    );

    let text = std::fs::read_to_string(&path).unwrap();
    for hidden in [secret, "typed", "printed-s", id.as_str().unwrap()] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let name = host.registry.audit_name(id.as_str().unwrap());
    let of = |operation: &str| -> Vec<&Value> {
        records
            .iter()
            .filter(|record| record["operation"] == operation)
            .collect()
    };
    let spawns = of("spawn");
    assert_eq!(spawns.len(), 3, "{spawns:?}");
    assert_eq!(spawns[0]["outcome"], "ok");
    assert_eq!(spawns[0]["principal"], "ada");
    assert_eq!(spawns[0]["capsule"], "c");
    assert_eq!(
        (&spawns[0]["cmd"], &spawns[0]["env_keys"]),
        (&json!("sh"), &json!(["WORD"]))
    );
    assert_eq!(spawns[0]["stdin_bytes"], "typed-s3cret".len());
    assert!(spawns[1]["args"][2].as_str().unwrap().contains(&name), "{}", spawns[1]);
    assert_eq!(
        (&spawns[2]["cmd"], &spawns[2]["outcome"]),
        (&json!("rm"), &json!("capability-denied"))
    );
    assert_eq!(of("spawn-persistent")[0]["ids"], json!([name]));
    for operation in ["write-stdin", "stop"] {
        assert_eq!(
            (&of(operation)[0]["ids"], &of(operation)[0]["outcome"]),
            (&json!([name]), &json!("ok"))
        );
    }
}
